"""The catalogue: long rows become columns, whatever the parts look like, and facts are those of the single clip."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from curation import catalogue as catalogue_module
from curation.catalogue import FACTS, Catalogue, State, facts_of, read_catalogue
from curation.records import Clip, Crop, Score
from curation.tables import Workspace

VERSIONS = {"sharpness": "1", "camera": "2", "motion": "1"}


def clip(clip_id: str, splitter: str = "s", **changes) -> Clip:
    whole = Clip(clip_id, "v", "a.mp4", 10, 1000, 1, 90_000, 0.0, 0.011, 29, 1920, 1080, 29.97, splitter)
    return replace(whole, **changes)


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    workspace = Workspace(str(tmp_path))
    workspace.table("clips").append("b", [clip("c2"), clip("c1", width=640, height=480)])
    workspace.table("clips").append("a", [clip("c3", end_pts=5), clip("old", splitter="other"), clip("c1", width=2)])
    return workspace


def test_clips_of_the_splitter_come_once_in_order_the_first_part_first(workspace):
    found = read_catalogue(workspace, "s", {}, "1")
    assert found.clip_ids.to_pylist() == ["c1", "c2", "c3"]
    assert found.columns["aspect"].values[0] == 2 / 1080, "part a comes before part b"


def test_facts_are_those_of_the_single_clip_and_its_crop(workspace):
    crop = Crop("c2", "1", 0, 140, 1920, 800, "letterbox")
    others = [Crop("c2", "0", 0, 0, 8, 8, "letterbox"), Crop("c2", "2", 0, 0, 6, 6, "letterbox")]
    workspace.table("crops").append("a", [*others, crop])
    found = read_catalogue(workspace, "s", {}, "1")
    for name in FACTS:
        assert found.columns[name].values[1] == facts_of(clip("c2"), crop)[name]
        assert (found.columns[name].states == State.SCORED).all()
    assert facts_of(clip("c2"))["duration_s"] == clip("c2").duration_s
    assert facts_of(clip("c2"), crop)["short_side_px"] == 800
    assert facts_of(clip("c2"), crop)["picture_share"] == pytest.approx(800 / 1080)


def fill(workspace: Workspace) -> None:
    workspace.table("scores").append(
        "a",
        [
            Score("c1", "sharpness", "1", 5.0, None),
            Score("c1", "sharpness", "0", 99.0, None),  # another version
            Score("c2", "sharpness", "1", None, "broken"),
            Score("c3", "camera", "2", 0.9, None, "pan left"),
            Score("c3", "texture", "1", 1.0, None),  # a scorer that the recipe does not run
            Score("gone", "sharpness", "1", 7.0, None),  # a clip of another splitter
            Score("c3", "sharpness", "1", 3.0, None),
            Score("c3", "sharpness", "1", 4.0, None),  # repeated in its own part
        ],
    )
    workspace.table("scores").append(
        "b",
        [
            Score("c1", "sharpness", "1", 6.0, None),  # repeated in a later part
            Score("c2", "sharpness", "1", 8.0, None),  # repeats a failure
            Score("c1", "camera", "2", 0.5, None, "static"),
            Score("c2", "camera", "2", 0.6, None, "pan left"),
        ],
    )


@pytest.mark.parametrize("few", [1, 1000])
def test_long_rows_become_columns_and_the_first_of_a_repeated_key_counts(workspace, few, monkeypatch):
    """With binary search and with hashing."""
    monkeypatch.setattr(catalogue_module, "FEW", few)
    fill(workspace)
    columns = read_catalogue(workspace, "s", VERSIONS, "1").columns
    np.testing.assert_array_equal(columns["sharpness"].values, [5.0, np.nan, 3.0])
    assert columns["sharpness"].states.tolist() == [State.SCORED, State.FAILED, State.SCORED]
    assert columns["sharpness"].labels is None
    camera = columns["camera"]
    assert camera.labels is not None
    assert [camera.classes[label] for label in camera.labels] == ["static", "pan left", "pan left"]
    assert columns["motion"].states.tolist() == [State.MISSING] * 3 and np.isnan(columns["motion"].values).all()
    assert "texture" not in columns


def test_the_columns_hold_what_the_table_reads(workspace):
    fill(workspace)
    columns = read_catalogue(workspace, "s", VERSIONS, "1").columns
    for row in workspace.table("scores").records():
        if VERSIONS.get(row.scorer) == row.version and row.clip_id.startswith("c"):
            value = columns[row.scorer].values[int(row.clip_id[1]) - 1]
            assert np.isnan(value) if row.value is None else value == row.value


def test_places_leave_out_what_is_not_there(workspace):
    found = read_catalogue(workspace, "s", {}, "1")
    assert found.places(["c3", "nowhere", "c1"]).tolist() == [2, 0]


def test_few_ids_of_many_are_found_as_all_of_them_are():
    ids = pa.array(sorted(f"clip{number * number}" for number in range(500)))  # of different lengths
    catalogue = Catalogue(ids, {})
    for wanted in (["clip4", "clip5", "clip249001", "", "zzz"], ["clip0"], [], ids.slice(3, 7).to_pylist()):
        expected = [ids.to_pylist().index(each) if each in ids.to_pylist() else -1 for each in wanted]
        assert catalogue.find(wanted).tolist() == expected
        assert (
            catalogue.find(pa.chunked_array([wanted, ids.to_pylist()], pa.string())).tolist()[: len(wanted)] == expected
        )


@pytest.mark.parametrize("sharing", [1, 2, 4, 5, 40])
def test_ids_with_one_beginning_are_told_apart(sharing):
    ids = [f"{number // sharing:08x}{number % sharing:04d}" for number in range(400)]
    wanted = [ids[7], ids[399], ids[0], f"{ids[3][:8]}9999", "0", "ffffffffffff", ""]
    assert Catalogue(pa.array(ids), {}).find(wanted).tolist() == [7, 399, 0, -1, -1, -1, -1]


def test_an_empty_workspace_is_an_empty_catalogue(tmp_path):
    found = read_catalogue(Workspace(str(tmp_path)), "s", VERSIONS, "1")
    assert len(found) == 0 and set(found.columns) == {*FACTS, *VERSIONS}
