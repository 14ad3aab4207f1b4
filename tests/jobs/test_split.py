"""`dailies split` on real files: whole, broken, killed in the middle, run twice, one video under two names."""

import shutil

import pytest

from curation.split import SplitSettings, splitter_version
from curation.tables import Workspace
from jobs.engine import EngineSettings, run
from jobs.footage import FootageSettings, list_footage
from jobs.split import split_job
from tests.footage import broken_files, shots
from tests.jobs.faults import killing

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("local_ray")]

ENGINE = EngineSettings(memory_gib_per_worker=0.3, items_per_part=2)
SETTINGS = SplitSettings()


def job_over(folder, workspace, settings=SETTINGS):
    return split_job(list_footage(FootageSettings(path=str(folder))), workspace, settings)


def outcome(workspace):
    results = {row.uri.rsplit("/", 1)[-1] for row in workspace.table("sources").records()}
    failures = {row.label: row.reason for row in workspace.table("failures").records() if row.job == "split"}
    return results, failures


def test_broken_files_end_as_failures_and_whole_ones_as_results(tmp_path):
    footage, workspace = tmp_path / "footage", Workspace(str(tmp_path / "ws"))
    broken_files(footage)
    shots(footage / "four shots.mp4")
    tally = run(job_over(footage, workspace), workspace, ENGINE)
    results, failures = outcome(workspace)
    assert results == {"four shots.mp4", "truncated-tail.mp4"}
    assert failures == {
        "empty.mp4": "empty file",
        "truncated.mp4": "not a video",
        "text.mp4": "not a video",
        "noise.mp4": "not a video",
        "audio-only.mp4": "no video stream",
    }
    assert tally.holds and (tally.inputs, tally.results, tally.pending) == (7, 2, 0)
    assert len([clip for clip in workspace.table("clips").records() if "four shots" in clip.uri]) == 4

    before = {name: workspace.table(name).read().to_pylist() for name in ("sources", "videos", "clips", "failures")}
    again = run(job_over(footage, workspace), workspace, ENGINE)
    assert again.new_results == 0
    assert {name: workspace.table(name).read().to_pylist() for name in before} == before


def test_workers_killed_in_the_middle_of_split_lose_nothing(tmp_path):
    footage, workspace = tmp_path / "footage", Workspace(str(tmp_path / "ws"))
    footage.mkdir()
    first = shots(footage / "film00.mp4", seconds_each=4).path
    for number in range(1, 12):
        with (footage / f"film{number:02d}.mp4").open("wb") as film:
            film.write(first.read_bytes() + bytes([0, 0, 0, 9]) + b"free" + bytes([number]))  # own content, same cuts
    with killing(2, lambda kills: len(workspace.table("sources").stems()) > kills) as killed:
        tally = run(job_over(footage, workspace), workspace, ENGINE)
    assert len(killed) == 2
    assert tally.holds and (tally.results, tally.failures) == (12, {})
    assert workspace.table("clips").read().num_rows == 12 * 4
    assert run(job_over(footage, workspace), workspace, ENGINE).new_results == 0


def test_one_video_under_two_names_is_one_video_with_one_set_of_clips(tmp_path):
    footage, workspace = tmp_path / "footage", Workspace(str(tmp_path / "ws"))
    footage.mkdir()
    original = shots(footage / "a.mp4").path
    shutil.copy(original, footage / "b.mp4")
    tally = run(job_over(footage, workspace), workspace, ENGINE)
    assert (tally.results, workspace.table("videos").read().num_rows) == (2, 1)
    assert workspace.table("clips").read().num_rows == 4


def test_other_settings_make_every_video_due_again(tmp_path):
    footage, workspace = tmp_path / "footage", Workspace(str(tmp_path / "ws"))
    footage.mkdir()
    shots(footage / "a.mp4")
    run(job_over(footage, workspace), workspace, ENGINE)
    shorter = SplitSettings(max_clip_s=2.0)
    assert run(job_over(footage, workspace, shorter), workspace, ENGINE).new_results == 1
    splitters = {clip.splitter for clip in workspace.table("clips").records()}
    assert splitters == {splitter_version(SETTINGS), splitter_version(shorter)}
