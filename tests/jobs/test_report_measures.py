"""Measures in reports: what stands in one column compares, and consistency is read beside motion."""

import json
from xml.etree import ElementTree

from curation.tables import Measurement
from jobs.report_measures import NONE, measures


def row(subject: str, measure: str, value: float | None, kind: str = "system", **other) -> Measurement:
    fields = {"version": "1", "protocol": json.dumps({"set": "held out", "frames": 17}), **other}
    return Measurement(subject, kind, measure, value=value, **fields)


def test_values_of_different_protocols_never_share_a_column():
    wide = json.dumps({"set": "held out", "frames": 65})
    rows = [row("ours", "psnr_db", 30.1), row("theirs", "psnr_db", 28.0, protocol=wide)]
    (table,) = measures([*rows, row("ours", "ssim", 0.9), row("theirs", "ssim", 0.8)]).tables
    assert table.columns == ("psnr db (1)", "psnr db (2)", "ssim")
    assert table.rows == (("ours", ("30.10", NONE, "0.9000")), ("theirs", (NONE, "28.00", "0.8000")))
    assert dict(table.protocols)["psnr db (2)"] == "frames 65; set held out; version 1"


def test_subjects_without_a_column_in_common_are_in_tables_of_their_own():
    wide = json.dumps({"videos": 39})
    rows = [row("lacking", name, 0.3, protocol=wide) for name in ("flicker", "sharpness")]
    rows += [row(subject, name, 0.2) for subject in ("ours", "theirs") for name in ("flicker", "sharpness")]
    first, second = measures(rows).tables
    assert [subject for subject, _ in first.rows] == ["ours", "theirs"] and second.rows[0][0] == "lacking"
    assert first.columns == second.columns == ("flicker", "sharpness")
    bridge = row("lacking", "ssim", 0.9), row("ours", "ssim", 0.9)
    assert len(measures([*rows, *bridge]).tables) == 1


def test_dynamic_degree_stands_before_the_consistencies():
    names = ("subject_consistency", "sharpness", "flicker", "background_consistency", "dynamic_degree")
    (table,) = measures([row("ours", name, 0.5) for name in names]).tables
    assert table.columns == ("dynamic degree", "background consistency", "flicker", "subject consistency", "sharpness")


def test_a_value_that_is_not_defined_is_a_dash_with_its_reason():
    (table,) = measures([row("ours", "clip_similarity", None, note="dynamic degree 0.60; no weights")]).tables
    assert table.rows == (("ours", (NONE,)),) and table.notes == ("ours, clip similarity: no weights",)


def test_single_videos_and_other_subjects_are_not_shown():
    assert not measures([row("v1", "psnr_db", 1.0, kind="video")])
    assert not measures([row("theirs", "psnr_db", 1.0)], subjects=["ours"])


def test_checkpoints_stand_by_step_and_each_measure_of_several_has_its_panel():
    rows = [
        row(f"run/sft@{step}", measure, value + step / 1000, kind="checkpoint")
        for step in (100, 20, 1000)
        for measure, value in (("flow_loss@0.1", 0.2), ("flow_loss@0.9", 0.8), ("flicker", 0.5))
    ]
    found = measures([*rows, row("run/sft@20", "psnr_db", 1.0, kind="checkpoint")])
    assert [subject for subject, _ in found.tables[0].rows] == ["run/sft@20", "run/sft@100", "run/sft@1000"]
    (curve,) = found.curves
    assert curve.title == "run/sft"
    ElementTree.fromstring(curve.svg)
    assert all(f">{text}<" in curve.svg for text in ("flow loss", "at 0.1", "at 0.9", "flicker"))
    assert ">psnr db<" not in curve.svg, "one step is no curve"
    assert measures([*rows, row("run/sft@20", "psnr_db", 1.0, kind="checkpoint")]) == found


def test_subjects_stand_in_the_order_asked_for_and_points_under_points():
    rows = [row("a", "speed", 1234.5), row("b", "speed", 7.25), row("c", "speed", 0.0)]
    (table,) = measures(rows, ["c", "b", "a"]).tables
    assert table.rows == (("c", ("0",)), ("b", ("7",)), ("a", ("1,234",)))
    (still,) = measures([row("c", "speed", 0.0)]).tables
    assert still.rows == (("c", ("0",)),)
