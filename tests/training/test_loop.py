"""The loop with the smallest objective there is: a line through points. It must not need to know more."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from curation.records import UserError
from curation.tables import Workspace
from training.checkpoint import CheckpointStore
from training.data import PackedClip, Sample, SampleStream
from training.loop import StageRun
from training.metrics import Metrics
from training.parallel import open_ranks
from training.parallel_settings import ParallelSettings
from training.planner import StepPlanner
from training.stages import StageSettings

CLIPS = [PackedClip(f"clip{i}", "image", "a.tar", 64, 64, 1, {"short": "x"}, 8.0, {}) for i in range(10)]
STAGE = StageSettings(
    name="line", shards={"image": 1}, steps=12, batch=4, learning_rate=0.05, warmup_steps=2, log_every=5,
    checkpoint_every=4, measure_every=6,
)  # fmt: skip


class Line:
    """Learns y = 2 x at points that follow from the samples' seeds; broken from `broken_at` samples on."""

    def __init__(self, broken_at: int | None = None) -> None:
        torch.manual_seed(0)
        self.model: nn.Module = nn.Linear(1, 1)
        self.broken_at = broken_at

    critic = None

    def fetch(self, sample: Sample) -> float:
        broken = self.broken_at is not None and sample.number >= self.broken_at
        return float("nan") if broken else sample.seed % 1000 / 1000

    def prepare(self, samples: Sequence[Sample], fetched: Sequence[float]) -> Any:
        return torch.tensor(fetched)[:, None]

    def noise(self, batch: Any) -> None:
        return None

    def parts(self) -> dict[str, Tensor]:
        return {}

    def flops(self, batch: Any) -> int:
        return 4 * len(batch)

    def critic_loss(self, batch: Any) -> Tensor:
        raise AssertionError

    def loss(self, batch: Any, step: int) -> Tensor:
        return (self.model(batch) - 2 * batch).square().flatten()

    def measure(self, clips: Sequence[PackedClip]) -> tuple[float, dict[str, float]]:
        with torch.no_grad():
            value = self.loss(torch.linspace(0, 1, len(clips))[:, None], 0).mean().item()
        return value, {"line": value}

    def result(self) -> dict[str, Any]:
        return {"slope": next(self.model.parameters()).item()}


class Run:
    """One attempt at the stage in a folder."""

    def __init__(self, workspace: Workspace, objective: Line, stop_after: int | None = None) -> None:
        self.store = CheckpointStore(workspace, "line", keep_last=3)
        self.metrics = Metrics(workspace, "metrics.jsonl")
        self.metrics.drop_beyond("line", max(self.store.steps(), default=-1))
        self.objective, self.seen = objective, []
        self.stop_after = stop_after

    def go(self) -> int:
        planner = StepPlanner(SampleStream({"image": CLIPS}, STAGE, seed=0), STAGE, lambda clip: 1.0, 1)
        ranks = open_ranks(ParallelSettings())
        stage_run = StageRun(STAGE, self.objective, planner, CLIPS[:5], self.store, self.metrics, ranks, self.on_step)
        return stage_run.run()

    def on_step(self, step: int, loss: float | None) -> None:
        self.seen.append((step, loss is not None))
        if step == self.stop_after:
            raise InterruptedError

    def losses(self) -> list[tuple[str, int, float]]:
        return [(row["kind"], row["step"], row["loss"]) for row in self.metrics.rows]


def test_any_objective_is_trained_measured_and_saved(tmp_path):
    run = Run(Workspace(str(tmp_path)), Line())
    assert run.go() == 0
    assert [step for step, _ in run.seen] == list(range(1, 13))
    assert [step for step, has_loss in run.seen if has_loss] == [4, 5, 8, 10, 12]
    assert [row["step"] for row in run.metrics.held_out("line")] == [0, 6, 12]
    assert run.store.steps() == [4, 8, 12]
    checkpoint = run.store.load(12)
    assert checkpoint.state["result"]["slope"] == pytest.approx(checkpoint.tensors["average"]["weight"].item())
    assert not torch.equal(checkpoint.tensors["average"]["weight"], checkpoint.tensors["model"]["weight"])


@pytest.mark.parametrize("stop_after", range(1, 12))
def test_a_stop_anywhere_changes_nothing(tmp_path, stop_after):
    straight = Run(Workspace(str(tmp_path / "straight")), Line())
    straight.go()
    workspace = Workspace(str(tmp_path / "stopped"))
    with pytest.raises(InterruptedError):
        Run(workspace, Line(), stop_after).go()
    resumed = Run(workspace, Line())
    assert resumed.go() == stop_after // 4 * 4
    assert resumed.losses() == straight.losses()
    assert resumed.store.state(12) == straight.store.state(12)  # with the sha256 of every file


def test_a_loss_that_is_no_number_names_the_step_and_the_last_good_checkpoint(tmp_path):
    run = Run(Workspace(str(tmp_path)), Line(broken_at=38))
    with pytest.raises(UserError, match=r"stage 'line', step 10: loss nan.*last good checkpoint is step 8 in .*line"):
        run.go()
    assert run.store.steps() == [4, 8]
    assert torch.isfinite(run.store.load(8).tensors["model"]["weight"]).all()


def test_a_run_that_breaks_at_once_says_that_nothing_is_kept(tmp_path):
    with pytest.raises(UserError, match=r"step 1: loss nan.*no checkpoint of this stage yet.*learning_rate \(0.05\)"):
        Run(Workspace(str(tmp_path)), Line(broken_at=0)).go()


def test_a_file_that_cannot_be_written_stops_the_run_with_the_cause_and_the_last_good_checkpoint(tmp_path):
    class Blocked(Run):
        def on_step(self, step: int, loss: float | None) -> None:
            super().on_step(step, loss)
            if step == 9:
                (tmp_path / "metrics.jsonl").unlink()
                (tmp_path / "metrics.jsonl").mkdir()

    expected = (
        r"training stopped: stage 'line': .*[Ii]s a directory.*; the last good checkpoint is step 8 in .*line, from"
    )
    with pytest.raises(UserError, match=expected):
        Blocked(Workspace(str(tmp_path)), Line()).go()
    (tmp_path / "metrics.jsonl").rmdir()
    assert Run(Workspace(str(tmp_path)), Line()).go() == 8
