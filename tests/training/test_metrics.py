"""The metrics file: rows, resuming, and losses that are no numbers."""

import json

import pytest
import torch

from curation.tables import Workspace
from training.metrics import Metrics, NonFiniteLossError


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace(str(tmp_path))


def add_steps(metrics: Metrics, stage: str, losses: dict[int, float]) -> None:
    for step, loss in losses.items():
        metrics.add_step(stage, step, torch.tensor(loss), torch.tensor(1.0), 0.001, num_samples=4)


def rows(workspace: Workspace) -> list[tuple[str, str, int]]:
    lines = workspace.read_bytes("metrics.jsonl").decode().splitlines()
    return [(row["stage"], row["kind"], row["step"]) for row in map(json.loads, lines)]


def test_steps_are_written_at_the_next_flush(workspace):
    metrics = Metrics(workspace, "metrics.jsonl")
    add_steps(metrics, "vae", {1: 0.5, 2: 0.25})
    assert not workspace.exists("metrics.jsonl")
    assert metrics.flush() == 0.25
    assert metrics.flush() is None
    assert rows(workspace) == [("vae", "step", 1), ("vae", "step", 2)]


def test_a_resumed_run_forgets_what_lies_beyond_its_checkpoint(workspace):
    metrics = Metrics(workspace, "metrics.jsonl")
    metrics.add_held_out("vae", 0, 0.9, {"l1": 0.9})
    add_steps(metrics, "vae", {1: 0.5, 2: 0.4, 3: 0.3})
    metrics.add_held_out("vae", 3, 0.2, {"l1": 0.2})
    add_steps(metrics, "image", {1: 0.1})
    metrics.flush()
    resumed = Metrics(workspace, "metrics.jsonl")
    resumed.drop_beyond("vae", 2, later_stages=("image",))
    assert rows(workspace) == [("vae", "held_out", 0), ("vae", "step", 1), ("vae", "step", 2)]
    resumed.drop_beyond("vae", -1)
    assert rows(workspace) == []


def test_a_line_torn_by_a_kill_is_left_out(workspace):
    metrics = Metrics(workspace, "metrics.jsonl")
    add_steps(metrics, "vae", {1: 0.5})
    metrics.flush()
    workspace.write_bytes(workspace.read_bytes("metrics.jsonl") + b'{"kind": "st', "metrics.jsonl")
    resumed = Metrics(workspace, "metrics.jsonl")
    resumed.drop_beyond("vae", 1)
    add_steps(resumed, "vae", {2: 0.4})
    resumed.flush()
    assert rows(workspace) == [("vae", "step", 1), ("vae", "step", 2)]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_the_first_step_that_is_no_number_is_named_and_not_written(workspace, bad):
    metrics = Metrics(workspace, "metrics.jsonl")
    add_steps(metrics, "vae", {1: 0.5, 2: bad, 3: bad})
    with pytest.raises(NonFiniteLossError, match=rf"stage 'vae', step 2: loss {bad}") as caught:
        metrics.flush()
    assert caught.value.step == 2
    assert rows(workspace) == [("vae", "step", 1)]


def test_held_out_rows_come_in_order_of_steps(workspace):
    metrics = Metrics(workspace, "metrics.jsonl")
    for step, loss in ((0, 2.0), (50, 1.5), (100, 1.0)):
        metrics.add_held_out("image", step, loss, {"noise_0.5": loss})
    again = Metrics(workspace, "metrics.jsonl").held_out("image")
    assert [(row["step"], row["loss"], row["parts"]) for row in again] == [
        (0, 2.0, {"noise_0.5": 2.0}),
        (50, 1.5, {"noise_0.5": 1.5}),
        (100, 1.0, {"noise_0.5": 1.0}),
    ]
