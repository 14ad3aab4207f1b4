"""Means by group, and what training wrote down, from rows made by hand and from a run that was trained."""

import json

import pytest

from curation.tables import Measurement
from jobs.measure_films import Film
from jobs.measure_settings import MeasureSettings
from jobs.measure_summary import DYNAMIC_DEGREE, summarise, training_measurements, write_anew
from training.checkpoint import CheckpointStore
from training.flow_objective import NOISE_LEVELS
from training.metrics import Metrics
from training.trained import CHECKPOINTS, newest_run

SETTINGS = MeasureSettings(scorers=("dynamics", "flicker", "sharpness"))


def film(name: str, group: str, steps: int = 2, kind: str = "system") -> Film:
    return Film(f"{group}-{name}", f"/{group}/{name}.mp4", name, group, kind, (("set", "trial"), ("steps", steps)))


def rows_of(*films: Film, **values: float | None) -> dict[str, dict[str, Measurement]]:
    return {
        each.subject: {
            name: Measurement(each.subject, "video", name, "1", "{}", value, 1, "" if value is not None else "too dark")
            for name, value in values.items()
        }
        for each in films
    }


def by_measure(rows: list[Measurement], subject: str) -> dict[str, Measurement]:
    return {row.measure: row for row in rows if row.subject == subject}


def test_dynamic_degree_is_the_share_of_videos_above_the_threshold_and_stands_beside_consistency():
    films = [film(name, "ours") for name in "abcd"]
    rows = rows_of(films[0], dynamics=0.5, flicker=0.9, sharpness=3.0) | rows_of(
        *films[1:], dynamics=0.1, flicker=0.98, sharpness=5.0
    )
    found = by_measure(summarise(films, rows, SETTINGS), "ours")
    assert (found[DYNAMIC_DEGREE].value, found[DYNAMIC_DEGREE].number) == (0.25, 4)
    assert json.loads(found[DYNAMIC_DEGREE].protocol)["dynamic_above"] == 0.1875
    assert found["flicker"].value == pytest.approx(0.96) and found["flicker"].note == "dynamic degree 0.25"
    assert found["sharpness"].value == pytest.approx(4.5) and found["sharpness"].note == ""


def test_systems_of_the_same_prompts_share_a_protocol_and_other_prompts_or_settings_do_not():
    same = [film("a", "ours"), film("a", "theirs")]
    other = [film("b", "others"), film("a", "slow", steps=50)]
    found = summarise([*same, *other], rows_of(*same, *other, sharpness=1.0), SETTINGS)
    protocol = {row.subject: row.protocol for row in found}
    assert protocol["ours"] == protocol["theirs"]
    assert len({protocol["ours"], protocol["others"], protocol["slow"]}) == 3


def test_one_checkpoint_sampled_with_two_settings_has_two_means():
    films = [film("a", "run/video", steps, "checkpoint") for steps in (2, 50)]
    films[1] = Film("other", "/other.mp4", "a", "run/video", "checkpoint", films[1].protocol)
    rows = rows_of(films[0], sharpness=1.0) | rows_of(films[1], sharpness=2.0)
    assert sorted(row.value or 0 for row in summarise(films, rows, SETTINGS)) == [1.0, 2.0]


def test_what_failed_or_has_no_value_is_left_out_of_the_mean_and_counted():
    films = [film(name, "ours") for name in "abc"]
    rows = rows_of(films[0], sharpness=4.0) | rows_of(films[1], sharpness=None)
    (found,) = summarise(films, rows, SETTINGS)
    assert (found.value, found.number) == (4.0, 1)
    assert found.note == "1 of 3 videos are not measured; 1 videos have no value, such as: too dark"
    (nothing,) = summarise(films, rows_of(*films, sharpness=None), SETTINGS)
    assert nothing.value is None and nothing.number == 0


def test_a_mean_is_replaced_when_there_are_more_videos(tmp_path):
    from curation.tables import Workspace

    workspace, films = Workspace(str(tmp_path)), [film("a", "ours"), film("b", "ours")]
    for count in (1, 2):
        write_anew(workspace, "means", summarise(films[:count], rows_of(*films[:count], sharpness=1.0), SETTINGS))
    (row,) = workspace.table("measurements").records()
    assert row.number == 2


def test_held_out_losses_of_a_run_are_rows_by_checkpoint_and_noise_level(trained_workspace):
    run_id = newest_run(trained_workspace)
    rows = training_measurements(trained_workspace, run_id)
    flow = {row.measure: row for row in rows if row.subject == f"{run_id}/image_256@2"}
    assert set(flow) == {"flow_loss", *(f"flow_loss@{level}" for level in NOISE_LEVELS)}
    held_out = Metrics(trained_workspace, CHECKPOINTS, run_id, "metrics.jsonl").held_out("image_256")[-1]
    assert flow["flow_loss@0.3"].value == held_out["parts"]["noise_0.3"]
    assert flow["flow_loss"].value == pytest.approx(sum(held_out["parts"].values()) / len(NOISE_LEVELS))
    store = CheckpointStore(trained_workspace, CHECKPOINTS, run_id, "vae")
    assert json.loads(flow["flow_loss"].protocol)["latents"] == store.state(2)["sha256"]["average"]
    vae = {row.measure for row in rows if row.subject == f"{run_id}/vae@0"}
    assert vae == {"vae_l1", "vae_psnr_db", "vae_ssim"}
    assert {row.subject_kind for row in rows} == {"checkpoint"}
    assert {row.number for row in rows} == {1}, "one of the six clips is held out"
