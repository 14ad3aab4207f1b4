"""The verb `train`: what it prints, what it records, what it does not do twice."""

import argparse
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from curation.records import UserError
from curation.tables import Workspace
from jobs.config import Context, Recipe
from jobs.train import run
from tests.training.moving_shapes import pack_shapes
from training.stages import StageSettings, TrainSettings

ROOT = Path(__file__).resolve().parents[2]
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


@pytest.mark.slow
def test_what_stops_all_processes_of_torchrun_is_told_once(tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        '[train]\nthreads = 1\n[[train.stages]]\nname = "vae"\nobjective = "vae"\nshards = { image = 1 }\nsteps = 2\n'
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "jobs"]
    command += ["train", "--recipe", str(recipe), "--workspace", str(tmp_path / "workspace")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode != 0
    assert done.stderr.count("then `dailies pack` writes them") == 1, done.stderr


def test_restarts_without_processes_and_processes_within_torchrun_are_refused(context, monkeypatch):
    with pytest.raises(UserError, match="give --processes N"):
        run(replace(context, args=argparse.Namespace(processes=0, restarts=2)))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="leave out one of the two"):
        run(replace(context, args=argparse.Namespace(processes=2, restarts=0)))
