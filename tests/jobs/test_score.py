"""`dailies score`: killed in the middle, damaged after the split, a scorer added, weights missing."""

import dataclasses

import pytest

from curation.records import Clip, UserError
from curation.score import ScoreSettings, scorer_versions
from curation.split import SplitSettings, split_video
from curation.tables import Workspace
from jobs.cli import main
from jobs.cluster import refuse_missing
from jobs.engine import EngineSettings, run
from jobs.score import score_job
from tests.footage import shots
from tests.jobs.faults import killing

ENGINE = EngineSettings(memory_gib_per_worker=0.3, items_per_part=1)
TWO = ScoreSettings(scorers=("sharpness", "motion"))


def clips_of(folder, num_films: int) -> list[Clip]:
    """Clips of films that differ in content; the same four shots in each."""
    folder.mkdir(exist_ok=True)
    first = shots(folder / "film00.mp4").path
    clips = []
    for number in range(num_films):
        path = folder / f"film{number:02d}.mp4"
        if number:
            path.write_bytes(first.read_bytes() + bytes([0, 0, 0, 9]) + b"free" + bytes([number]))
        clips += split_video(str(path), SplitSettings())[1]
    return clips


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_workers_killed_in_the_middle_of_score_lose_nothing(tmp_path):
    workspace, clips = Workspace(str(tmp_path / "ws")), clips_of(tmp_path / "footage", 8)
    with killing(2, lambda kills: len(workspace.table("scores").stems()) > kills) as killed:
        tally = run(score_job(clips, workspace, TWO), workspace, ENGINE)
    assert len(killed) == 2
    assert tally.holds and (tally.inputs, tally.results, tally.failures) == (32, 32, {})
    assert workspace.table("scores").read().num_rows == 64
    assert run(score_job(clips, workspace, TWO), workspace, ENGINE).new_results == 0


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_an_added_scorer_is_all_that_is_due(tmp_path):
    workspace, clips = Workspace(str(tmp_path / "ws")), clips_of(tmp_path / "footage", 1)
    run(score_job(clips, workspace, TWO), workspace, ENGINE)
    parts = workspace.table("scores").stems()
    three = ScoreSettings(scorers=("sharpness", "motion", "exposure"))
    assert [item.shared.names for item in score_job(clips, workspace, three).items] == [("exposure",)]
    run(score_job(clips, workspace, three), workspace, ENGINE)
    (new,) = workspace.table("scores").stems() - parts
    assert workspace.table("scores").distinct("scorer") == {("sharpness",), ("motion",), ("exposure",)}
    assert workspace.table("scores").read().num_rows == len(clips) * 3
    assert new


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_clip_without_frames_is_a_failure_and_its_neighbours_are_scored(tmp_path):
    workspace, clips = Workspace(str(tmp_path / "ws")), clips_of(tmp_path / "footage", 1)
    after_the_end = dataclasses.replace(
        clips[0], clip_id="beyond", start_pts=clips[-1].end_pts * 3, end_pts=clips[-1].end_pts * 4
    )
    tally = run(score_job([*clips, after_the_end], workspace, TWO), workspace, ENGINE)
    assert tally.holds and (tally.results, tally.failures) == (4, {"no decodable frame": 1})
    (failure,) = workspace.table("failures").records()
    assert failure.input_id == "beyond"


def test_missing_weights_stop_the_run_before_any_work(tmp_path, capsys):
    recipe = tmp_path / "r.toml"
    recipe.write_text('[score]\nscorers = ["sharpness", "aesthetic"]\n')
    assert main(["score", "--recipe", str(recipe), "--workspace", str(tmp_path / "ws")]) == 2
    message = capsys.readouterr().err
    assert message.startswith("dailies score: score cannot start:\n  - ")
    assert "aesthetic" in message


def test_nothing_missing_is_nothing_said():
    refuse_missing("score", [])
    with pytest.raises(UserError, match=r"score cannot start:\n  - a\n  - b"):
        refuse_missing("score", ["a", "b"])


def test_versions_name_every_wanted_scorer():
    assert scorer_versions(TWO).keys() == {"sharpness", "motion"}
