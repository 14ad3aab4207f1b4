"""The metrics file: rows, resuming, and losses that are no numbers."""

import json

import pytest
import torch

from curation.tables import Workspace
from training.metrics import LossSums, Metrics, NonFiniteLossError, StepFacts


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace(str(tmp_path))


def add_steps(metrics: Metrics, stage: str, losses: dict[int, float]) -> None:
    for step, loss in losses.items():
        metrics.add_step(StepFacts(stage, step, 0.001, samples=4), four(loss), torch.tensor(1.0))


def four(loss: float) -> LossSums:
    """Sums of four samples whose mean loss is this."""
    sums = LossSums()
    sums.add(torch.full((4,), loss), None, {})
    return sums


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


def test_losses_are_told_by_noise_and_by_part_over_all_micro_batches_that_count(workspace):
    sums = LossSums()
    sums.add(torch.tensor([1.0, 3.0]), torch.tensor([0.05, 0.95]), {"l1": torch.tensor(2.0)})
    sums.add(torch.tensor([5.0]), torch.tensor([0.999]), {"l1": torch.tensor(5.0)})
    sums.add(torch.tensor([99.0]), torch.tensor([0.5]), {"l1": torch.tensor(99.0)}, counts=False)
    metrics = Metrics(workspace, "metrics.jsonl")
    metrics.add_step(StepFacts("flow", 1, 0.001, samples=3, tokens=12), sums, torch.tensor(1.0))
    assert metrics.flush() == 3.0
    (row,) = metrics.rows
    assert row["noise"] == {"0.1": 1.0, "0.9": 4.0}
    assert row["parts"] == {"l1": 3.0}
    assert (row["samples"], row["tokens"]) == (3, 12)


def test_processes_add_up_to_what_one_would_have_written(workspace):
    def doubled(sums: torch.Tensor) -> torch.Tensor:  # as if another process had seen the same losses
        return 2 * sums

    metrics = Metrics(workspace, "metrics.jsonl", total=doubled)
    sums = LossSums()
    sums.add(torch.tensor([1.0, 3.0]), torch.tensor([0.3, 0.3]), {})
    metrics.add_step(StepFacts("flow", 1, 0.001, samples=4), sums, torch.tensor(1.0))
    assert metrics.flush() == 2.0
    assert metrics.rows[0]["noise"] == {"0.3": 2.0}


def test_a_process_that_does_not_write_leaves_the_file_alone(workspace):
    metrics = Metrics(workspace, "metrics.jsonl", writes=False)
    add_steps(metrics, "vae", {1: 0.5})
    assert metrics.flush() == 0.5
    metrics.drop_beyond("vae", -1)
    assert not workspace.exists("metrics.jsonl")


def test_utilisation_is_the_share_of_what_the_device_can_do(workspace):
    metrics = Metrics(workspace, "metrics.jsonl", peak_flops=4e9)
    metrics.add_step(StepFacts("flow", 1, 0.001, samples=4, tokens=100, flops=10**9), four(1.0), torch.tensor(1.0))
    metrics.flush()
    speed = metrics.rows[0]["speed"]
    assert speed["mfu"] == pytest.approx(speed["tflops"] / 4e-3, rel=1e-2)
    assert speed["tokens_per_s"] == pytest.approx(speed["samples_per_s"] * 25, rel=1e-2)
    assert speed["memory_gib"] > 0
