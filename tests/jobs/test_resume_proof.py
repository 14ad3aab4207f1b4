"""A stage taken up in its middle ends with the same bits, a difference is seen, and the run itself is not touched."""

import dataclasses
from pathlib import Path

import pytest
import torch

from curation.records import UserError
from curation.tables import Workspace
from jobs.resume_proof import Resumed, resume
from tests.training.moving_shapes import pack_shapes
from training.curriculum import TrainingRun
from training.stages import StageSettings, TrainSettings

VAE = StageSettings(name="vae", objective="vae", shards={"image": 1}, steps=3, batch=2, crop_px=16, checkpoint_every=2)
FLOW = StageSettings(name="image_256", shards={"image": 1}, steps=2, batch=2, learning_rate=1e-2, checkpoint_every=5)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    torch.set_num_threads(1)
    workspace = Workspace(str(tmp_path_factory.mktemp("workspace")))
    pack_shapes(workspace, "image", count=6)
    run = TrainingRun(workspace, TrainSettings(threads=1, stages=(VAE, FLOW), tensorboard=False))
    for stage in run.settings.stages:
        run.train(stage, lambda step, loss: None)
    return run


def test_a_stage_taken_up_ends_with_the_same_bits_and_the_run_stays_as_it_was(trained: TrainingRun, tmp_path: Path):
    before = {path: path.read_bytes() for path in Path(trained.workspace.root).rglob("*") if path.is_file()}
    found = resume(trained, "vae", tmp_path / "second")
    assert found == Resumed("vae", 2, 3, same_losses=True, same_files=True)
    assert found.is_exact and "at step 2 of 3: the same 1 losses" in str(found)
    after = {path: path.read_bytes() for path in Path(trained.workspace.root).rglob("*") if path.is_file()}
    assert after == before
    assert resume(trained, "vae", tmp_path / "second") == found


def test_a_run_that_goes_on_otherwise_is_seen(trained: TrainingRun, tmp_path: Path) -> None:
    rows = trained.metrics.rows
    other = [dict(row, loss=row["loss"] * (1 + 1e-7)) if row["kind"] == "step" else row for row in rows]
    trained.metrics.rows = other
    try:
        found = resume(trained, "vae", tmp_path / "second")
    finally:
        trained.metrics.rows = rows
    assert dataclasses.astuple(found)[3:] == (False, True)
    assert not found.is_exact and "OTHER 1 losses" in str(found)


def test_what_cannot_be_taken_up_is_told(trained: TrainingRun, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="'image_256' kept no checkpoint before its last: set its checkpoint_every below 2"
    ):
        resume(trained, "image_256", tmp_path)
    with pytest.raises(UserError, match=r"'sft' cannot be taken up.*stages: vae, image_256"):
        resume(trained, "sft", tmp_path)
