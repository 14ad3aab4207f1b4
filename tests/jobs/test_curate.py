"""`dailies curate` is `split` and then `score`: the same rows, resumed by each other, whatever is killed meanwhile."""

import argparse
from pathlib import Path

import pytest

from curation.score import ScoreSettings
from curation.split import SplitSettings
from curation.tables import Workspace
from jobs.cli import main
from jobs.config import Context, Recipe
from jobs.curate import curate
from jobs.engine import EngineSettings
from jobs.footage import FootageSettings
from jobs.score import current_crops, score
from jobs.split import split
from tests.footage import broken_files, shots
from tests.jobs.faults import killing

TABLES = ("sources", "videos", "clips", "crops", "scores", "embeddings")
SCORE = ScoreSettings(scorers=("sharpness", "motion", "exposure"), options={"exposure": {"fps": 0.5}})


def context_of(footage: Path, workspace: Path, settings: SplitSettings | None = None) -> Context:
    recipe = Recipe(
        footage=FootageSettings(path=str(footage)),
        engine=EngineSettings(memory_gib_per_worker=0.3, items_per_part=1),
        split=settings or SplitSettings(),
        score=SCORE,
    )
    return Context(recipe, Workspace(str(workspace)), argparse.Namespace())


def stems(context: Context) -> dict[str, set[str]]:
    return {name: context.workspace.table(name).stems() for name in TABLES}


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_the_rows_are_those_of_split_and_then_score_with_what_is_left_over_scored_last(tmp_path):
    footage = tmp_path / "footage"
    broken_files(footage)
    shots(footage / "quick.mp4", seconds_each=0.7)  # too short for a frame every two seconds
    shots(footage / "letterboxed.mp4", num_shots=3, bar_px=24)
    settings = SplitSettings(min_clip_s=0.2, trim_frames=1)
    together, apart = (context_of(footage, tmp_path / name, settings) for name in ("together", "apart"))
    of_split, of_score = curate(together)
    assert of_split.holds and (of_split.inputs, of_split.results, of_split.pending) == (8, 3, 0)
    assert of_score.holds and of_score.results == of_score.inputs >= 7
    assert 0 < of_score.new_results < of_score.inputs
    assert (split(apart).results, score(apart).results) == (of_split.results, of_score.results)
    for name in TABLES:
        rows = together.workspace.table(name).read()
        assert rows.num_rows and rows.equals(apart.workspace.table(name).read()), name
    assert sum(crop.reason == "letterbox" for crop in current_crops(together).values()) == 3
    reasons = [
        {row.label: row.reason for row in each.workspace.table("failures").records()} for each in (together, apart)
    ]
    assert reasons[0] == reasons[1] and len(reasons[0]) == 5


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_killed_workers_lose_nothing_and_a_second_run_adds_nothing(tmp_path):
    footage = tmp_path / "footage"
    first = shots(footage / "film00.mp4", seconds_each=2.5).path.read_bytes()
    for number in range(1, 10):
        (footage / f"film{number:02d}.mp4").write_bytes(first + bytes([0, 0, 0, 9]) + b"free" + bytes([number]))
    context = context_of(footage, tmp_path / "ws")
    with killing(2, lambda kills: len(context.workspace.table("sources").stems()) > kills) as killed:
        tallies = curate(context)
    assert len(killed) == 2
    assert [(tally.holds, tally.results, tally.failures, tally.pending) for tally in tallies] == [
        (True, 10, {}, 0),
        (True, 40, {}, 0),
    ]
    assert context.workspace.table("scores").read().num_rows == 40 * len(SCORE.scorers)
    parts = stems(context)
    assert [tally.new_results for tally in curate(context)] == [0, 0]
    assert stems(context) == parts


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_what_was_split_before_is_only_scored(tmp_path):
    shots(tmp_path / "footage/a.mp4")
    context = context_of(tmp_path / "footage", tmp_path / "ws")
    split(context)
    parts = stems(context)
    of_split, of_score = curate(context)
    assert (of_split.results, of_split.new_results) == (1, 0)
    assert (of_score.results, of_score.new_results) == (4, 4)
    for name in ("sources", "videos", "clips"):
        assert context.workspace.table(name).stems() == parts[name]


def test_missing_weights_are_refused_before_footage_is_even_looked_for(tmp_path, capsys):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'[footage]\npath = "{tmp_path}/nowhere"\n[score]\nscorers = ["sharpness", "aesthetic"]\n')
    assert main(["curate", "--recipe", str(recipe), "--workspace", str(tmp_path / "ws")]) == 2
    message = capsys.readouterr().err
    assert message.startswith("dailies curate: curate cannot start:\n  - aesthetic lacks ")
    assert "sharpness" not in message and not (tmp_path / "ws/sources").exists()
