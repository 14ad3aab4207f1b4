"""What a study compares: files as benchmarks name them, manifests, own samples; and never one of several."""

import json

import pytest

from annotation.study.settings import SystemSettings
from curation.records import UserError
from curation.study_records import StudyPrompt
from curation.tables import Sample, Workspace
from jobs.study_inputs import find_videos

CAT, BOAT = "A cat, on a mat", "A boat in a storm / 35 mm"
LONG = "In a long corridor of an old hotel a child rides a tricycle, camera behind"


def prompt(prompt_id: str, text: str) -> StudyPrompt:
    return StudyPrompt("study", prompt_id, text)


PROMPTS = [prompt("cat", CAT), prompt("boat", BOAT), prompt("0007", LONG)]


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace(str(tmp_path / "ws"))


def folder_of(tmp_path, *names: str):
    folder = tmp_path / "system"
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def found_in(folder, workspace, **settings):
    videos = find_videos(SystemSettings(name="s", videos=str(folder), **settings), PROMPTS, workspace)
    return videos, {key: found.uri.rsplit("/", 1)[-1] or found.reason for key, found in videos.found.items()}


def test_files_are_found_by_id_by_number_and_by_the_prompt_as_benchmarks_write_it(tmp_path, workspace):
    folder = folder_of(tmp_path, "cat.mp4", "deep/a boat in a storm _ 35 mm-0.mp4", "7.webm", "notes.txt", "dog.mp4")
    videos, names = found_in(folder, workspace)
    assert names == {"cat": "cat.mp4", "boat": "a boat in a storm _ 35 mm-0.mp4", "0007": "7.webm"}
    assert [place.rsplit("/", 1)[-1] for place in videos.strangers] == ["dog.mp4"]


def test_a_name_that_was_cut_short_fits_the_only_prompt_that_begins_so(tmp_path, workspace):
    folder = folder_of(tmp_path, f"{LONG[:50]}-3.mp4", "a cat.mp4", "cat.mp4")
    videos, names = found_in(folder, workspace)
    assert names["0007"] == f"{LONG[:50]}-3.mp4"
    assert [place.rsplit("/", 1)[-1] for place in videos.strangers] == ["a cat.mp4"]
    twins = [prompt("x", f"{LONG}, slowly"), prompt("y", f"{LONG}, fast")]
    (tmp_path / "system/x.mp4").write_bytes(b"x")
    found = find_videos(SystemSettings(name="s", videos=str(folder)), twins, workspace).found
    assert (found["x"].uri.rsplit("/", 1)[-1], found["y"].reason) == ("x.mp4", "missing")


def test_of_several_videos_of_a_prompt_none_is_picked_unless_a_number_counts_for_all(tmp_path, workspace):
    folder = folder_of(tmp_path, "cat-0.mp4", "cat-1.mp4", "boat-1.mp4", "boat-2.mp4", "0007-0.mp4")
    videos, names = found_in(folder, workspace)
    assert names == {"cat": "several videos", "boat": "several videos", "0007": "0007-0.mp4"}
    assert videos.found["cat"].detail.startswith("2 videos, and one is judged: cat-0.mp4, cat-1.mp4; name the sample")
    videos, names = found_in(folder, workspace, seed=1)
    assert names == {"cat": "cat-1.mp4", "boat": "boat-1.mp4", "0007": "missing"}
    assert videos.found["0007"].detail == "1 videos, none of them is number 1: 0007-0.mp4"


def test_a_manifest_names_files_beside_it_and_addresses_anywhere(tmp_path, workspace):
    rows = [
        {"prompt_id": "cat", "video": "cats/1.mp4"},
        {"prompt": BOAT.lower(), "video": "s3://bucket/boat.mp4"},
        {"prompt_id": "dog", "video": "/videos/dog.mp4"},
    ]
    manifest = tmp_path / "made.jsonl"
    manifest.write_text("\n".join(map(json.dumps, rows)))
    videos, _ = found_in(manifest, workspace)
    uris = {key: found.uri for key, found in videos.found.items()}
    assert uris == {"cat": f"{tmp_path}/cats/1.mp4", "boat": "s3://bucket/boat.mp4", "0007": ""}
    assert videos.strangers == ("/videos/dog.mp4",)
    manifest.write_text('{"video": "a.mp4"}')
    with pytest.raises(UserError, match=r"made\.jsonl:1: a manifest's row needs `video`, and `prompt_id` or `prompt`"):
        found_in(manifest, workspace)


def test_samples_of_a_run_or_of_one_of_its_stages_are_found_by_their_prompt(workspace):
    rows = [
        Sample("a", "samples/a.mp4", CAT, 0, "{}", "run1/first"),
        Sample("b", "samples/b.mp4", CAT, 0, "{}", "run1/second"),
        Sample("c", "samples/c.mp4", CAT, 1, "{}", "run1/second"),
        Sample("d", "samples/d.mp4", BOAT, 0, "{}", "run10/first"),
    ]
    workspace.table("samples").append("x", rows)
    assert found_in("samples", workspace, run="run1/first")[0].found["cat"].uri == f"{workspace.uri}/samples/a.mp4"
    assert found_in("samples", workspace, run="run1/second", seed=1)[1]["cat"] == "c.mp4"
    assert found_in("samples", workspace, run="run1", seed=0)[1] == {
        "cat": "several videos",
        "boat": "missing",
        "0007": "missing",
    }
    with pytest.raises(UserError, match="no sample of run 'other'; there are samples of: run1/first, run1/second"):
        found_in("samples", workspace, run="other")


def test_a_place_without_videos_of_these_prompts_is_refused(tmp_path, workspace):
    with pytest.raises(UserError, match=r"none of the 1 videos of .* fits a prompt, such as .*dog\.mp4; name files by"):
        found_in(folder_of(tmp_path, "dog.mp4"), workspace)
    with pytest.raises(UserError, match="is neither a folder nor a manifest"):
        found_in(tmp_path / "nowhere", workspace)
