"""Rows of metrics in TensorBoard's files, read back by TensorBoard's own reader."""

import sys
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from curation.records import UserError
from curation.tables import Workspace
from training.curves import TensorBoardCurves, WandbCurves, scalars
from training.metrics import LossSums, Metrics, StepFacts


def write(folder: Path, workspace: Workspace, losses: dict[int, float]) -> None:
    metrics = Metrics(workspace, "metrics.jsonl", curves=[TensorBoardCurves(folder)])
    for step, loss in losses.items():
        sums = LossSums()
        sums.add(torch.tensor([loss]), torch.tensor([0.5]), {"l1": torch.tensor(loss)})
        metrics.add_step(StepFacts("flow", step, 0.001, samples=1), sums, torch.tensor(1.0))
    metrics.add_held_out("flow", max(losses), 0.25, {"noise_0.5": 0.125})


def read(folder: Path, name: str) -> dict[int, float]:
    events = EventAccumulator(str(folder / "flow"))
    events.Reload()
    return {event.step: event.value for event in events.Scalars(name)}


def test_tensorboard_shows_every_number_of_a_row(tmp_path):
    write(tmp_path / "board", Workspace(str(tmp_path)), {1: 0.5, 2: 0.75})
    for name in ("loss", "noise/0.5", "parts/l1"):
        assert read(tmp_path / "board", name) == {1: 0.5, 2: 0.75}
    assert read(tmp_path / "board", "held_out/loss") == {2: 0.25}
    assert read(tmp_path / "board", "held_out/noise_0.5") == {2: 0.125}


def test_a_resumed_run_writes_over_the_steps_it_takes_again(tmp_path):
    write(tmp_path / "board", Workspace(str(tmp_path)), {1: 0.5, 2: 0.75, 3: 0.75})
    write(tmp_path / "board", Workspace(str(tmp_path)), {2: 0.625})
    assert read(tmp_path / "board", "loss") == {1: 0.5, 2: 0.625}


def test_weights_and_biases_is_asked_for_by_name_where_it_is_absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"wandb_project = 'mine' needs the package wandb.*pip install wandb"):
        WandbCurves("mine", "run", {})


def test_curves_are_named_by_stage():
    row = {"kind": "held_out", "stage": "vae", "step": 3, "loss": 0.5, "parts": {"psnr_db": 20.0}}
    assert dict(scalars(row)) == {"vae/held_out/loss": 0.5, "vae/held_out/psnr_db": 20.0}
