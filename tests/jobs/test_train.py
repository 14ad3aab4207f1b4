"""The verb `train`: what it prints, what it records, what it does not do twice."""

import argparse

import pytest

from curation.records import UserError
from curation.tables import Workspace
from jobs.config import Context, Recipe
from jobs.train import run
from tests.training.moving_shapes import pack_shapes
from training.stages import StageSettings, TrainSettings

STAGES = (
    StageSettings(name="vae", objective="vae", shards={"image": 1}, steps=2, batch=2, crop_px=16),
    StageSettings(name="image_256", shards={"image": 1}, steps=2, batch=2),
)


@pytest.fixture
def context(tmp_path) -> Context:
    workspace = Workspace(str(tmp_path / "workspace"))
    pack_shapes(workspace, "image", count=8)
    recipe = Recipe(train=TrainSettings(threads=1, held_out=0.2, stages=STAGES))
    return Context(recipe, workspace, argparse.Namespace())


def test_each_stage_says_what_it_did_and_which_clips_it_read_is_recorded(context, capsys):
    assert run(context) == 0
    printed = capsys.readouterr().out
    for stage in ("vae", "image_256"):
        (line,) = (line for line in printed.splitlines() if line.startswith(f"train {stage}:"))
        assert "8 clips packed = " in line
        assert "2 steps in " in line
        assert "held-out loss " in line
    reads = context.workspace.table("train_reads").records()
    assert sum(read.times for read in reads if read.stage == "vae") == 4
    assert {read.run_id for read in reads} == {printed.split()[2].rstrip(",")}

    assert run(context) == 0
    assert capsys.readouterr().out.count("2 steps, finished before") == 2
    assert context.workspace.table("train_reads").records() == reads


def test_missing_shards_are_the_users_to_pack(tmp_path):
    context = Context(
        Recipe(train=TrainSettings(threads=1, stages=STAGES)), Workspace(str(tmp_path)), argparse.Namespace()
    )
    with pytest.raises(UserError, match="dailies pack"):
        run(context)
