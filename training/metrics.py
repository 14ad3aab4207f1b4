"""What a run wrote down: JSON lines, one per step and one per held-out measurement.

    {"kind": "step", "stage": "video", "step": 40, "loss": 0.61, "gradient_norm": 0.8, "learning_rate": 0.001,
     "samples": 16, "tokens": 5120, "parts": {}, "noise": {"0.1": 0.9, "0.3": 0.6, ...},
     "speed": {"tokens_per_s": 4100.0, "tflops": 0.07, "mfu": 0.41, "stall": 0.004, "imbalance": 0.03}}
    {"kind": "held_out", "stage": "vae", "step": 0, "clips": 9, "loss": 0.58, "parts": {"l1": 0.58, "psnr_db": 7.1}}

Losses stay on the device between two writings: one transfer, and one sum over the processes, then brings them all,
where peers wait for every step. `noise` is the loss by fifth of the flow's time. All but `speed` follows from the seed.
A resumed run drops the rows beyond its checkpoint, so the file reads as if nothing had happened.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import psutil
import torch
from torch import Tensor

from curation.tables import Workspace
from training.throughput import Throughput

NUM_NOISE_BINS = 5
NOISE_BINS = tuple(f"{(2 * i + 1) / (2 * NUM_NOISE_BINS):.1f}" for i in range(NUM_NOISE_BINS))


class NonFiniteLossError(ArithmeticError):
    """A loss or gradient norm that is NaN or infinite; `step` is the first such step, from 1."""

    def __init__(self, stage: str, step: int, loss: float, gradient_norm: float) -> None:
        super().__init__(f"stage {stage!r}, step {step}: loss {loss}, gradient norm {gradient_norm}")
        self.stage, self.step = stage, step


class LossSums:
    """Sums of one process over the samples of one step, on the device: the loss, its noise bins, its named parts."""

    def __init__(self) -> None:
        self._loss: Tensor | None = None
        self._noise: Tensor | None = None  # [2, NUM_NOISE_BINS]: losses and samples per bin
        self._parts: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self, losses_B: Tensor, noise_B: Tensor | None, parts: Mapping[str, Tensor], counts: bool = True) -> None:
        """Take in one micro-batch; `parts` are its means. One that does not count adds zeros under its names."""
        losses_B = losses_B.detach().float()
        if not counts:
            losses_B, noise_B = losses_B[:0], None if noise_B is None else noise_B[:0]
        zero, count = losses_B.new_zeros(()), len(losses_B)
        self._loss = losses_B.sum() + (zero if self._loss is None else self._loss)
        for name, value in parts.items():
            self._parts[name] = self._parts.get(name, zero) + value.detach().float() * count
        if noise_B is not None:
            bins_B = (noise_B.to(losses_B.device) * NUM_NOISE_BINS).long().clamp(0, NUM_NOISE_BINS - 1)
            if self._noise is None:
                self._noise = losses_B.new_zeros(2, NUM_NOISE_BINS)
            self._noise.index_add_(1, bins_B, torch.stack((losses_B, torch.ones_like(losses_B))))

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._parts))

    def stacked(self) -> Tensor:
        """[loss, parts by name, and where there is noise its losses and samples per bin]."""
        assert self._loss is not None
        noise = [] if self._noise is None else list(self._noise.flatten())
        return torch.stack([self._loss, *(self._parts[name] for name in self.names()), *noise])


@dataclass(frozen=True)
class StepFacts:
    """What is known of one step beside its sums; `samples` and `tokens` over all processes, the others of this one."""

    stage: str
    step: int
    learning_rate: float
    samples: int
    tokens: int = 0
    flops: int = 0
    stall_s: float = 0.0
    imbalance: float = 0.0


class Curves(Protocol):
    """Another place that rows go to, as TensorBoard."""

    def write(self, row: Mapping[str, Any]) -> None: ...


class Metrics:
    """The metrics file of one run.

    Args:
        workspace: where it lies; on an object store, which cannot append, the file is rewritten at every flush.
        path: its parts within the workspace.
        total: sums a small tensor over the processes that see other samples.
        writes: whether this process writes; the others only take part in the sums.
        peak_flops: floating-point operations per second that the device can do at most; None = not known.
        curves: told every row that is written.
    """

    def __init__(
        self,
        workspace: Workspace,
        *path: str,
        total: Callable[[Tensor], Tensor] = lambda sums: sums,
        writes: bool = True,
        peak_flops: float | None = None,
        curves: Sequence[Curves] = (),
    ) -> None:
        self.workspace, self.path = workspace, path
        self.rows: list[dict[str, Any]] = _read(workspace, path)
        self._total, self._writes, self._curves = total, writes, tuple(curves)
        self._pending: list[tuple[StepFacts, tuple[str, ...], Tensor]] = []
        self._throughput = Throughput(peak_flops)

    def drop_beyond(self, stage: str, step: int, later_stages: tuple[str, ...] = ()) -> None:
        """Forget rows of `stage` after `step` and all rows of the stages after it; -1 forgets the whole stage."""
        self.rows = [
            row
            for row in self.rows
            if row["stage"] not in later_stages and (row["stage"] != stage or row["step"] <= step)
        ]
        if self._writes:  # a torn line goes, too
            self.workspace.write_bytes("".join(map(_line, self.rows)).encode(), *self.path)
        self._start_window()

    def add_step(self, facts: StepFacts, sums: LossSums, norm: Tensor) -> None:
        """Note one step without waiting for the device; `norm` is 0-d and the same on all processes."""
        self._throughput.add(facts.flops, facts.tokens, facts.stall_s)
        self._pending.append((facts, sums.names(), torch.cat((sums.stacked(), norm.detach().float().reshape(1)))))

    def flush(self) -> float | None:
        """Write the noted steps. Returns the last loss.

        Raises:
            NonFiniteLossError: a loss or a gradient norm is not finite; the rows up to that step are written.
        """
        if not self._pending:
            return None
        norms = torch.stack([values[-1] for *_, values in self._pending]).tolist()
        summed = self._total(torch.cat([values[:-1] for *_, values in self._pending])).tolist()
        speed = self._speed()
        rows, fault, start = [], None, 0
        for (facts, names, values), norm in zip(self._pending, norms, strict=True):
            row = _step_row(facts, names, summed[start : start + len(values) - 1], norm)
            start += len(values) - 1
            if not (math.isfinite(row["loss"]) and math.isfinite(norm)):
                fault = NonFiniteLossError(facts.stage, facts.step, row["loss"], norm)
                break
            rows.append({**row, "speed": {**speed, "imbalance": round(facts.imbalance, 4)}})
        self._append(rows)
        self._start_window()
        if fault is not None:
            raise fault
        return rows[-1]["loss"]

    def add_held_out(self, stage: str, step: int, loss: float, parts: Mapping[str, float], clips: int = 1) -> None:
        """Write one held-out measurement after `step` steps, a mean over so many clips."""
        self.flush()
        row = {"kind": "held_out", "stage": stage, "step": step, "clips": clips, "loss": loss, "parts": dict(parts)}
        self._append([row])
        self._start_window()

    def held_out(self, stage: str) -> list[dict[str, Any]]:
        """The held-out rows of a stage, in order of steps."""
        rows = [row for row in self.rows if row["kind"] == "held_out" and row["stage"] == stage]
        return sorted(rows, key=lambda row: row["step"])

    def _speed(self) -> dict[str, float]:
        """Of the window since the last writing."""
        report = self._throughput.report()
        speed = {
            "samples_per_s": sum(facts.samples for facts, *_ in self._pending) / report.seconds,
            "tokens_per_s": report.tokens_per_s,
            "tflops": report.flops_per_s / 1e12,
            "stall": report.stall_share,
            "memory_gib": _memory_bytes() / 2**30,
        }
        if report.mfu is not None:
            speed["mfu"] = report.mfu
        return {name: float(f"{value:.4g}") for name, value in speed.items()}

    def _start_window(self) -> None:
        self._pending = []
        self._throughput.report()

    def _append(self, rows: list[dict[str, Any]]) -> None:
        self.rows += rows
        if not self._writes:
            return
        for curve in self._curves:
            for row in rows:
                curve.write(row)
        if not self.workspace.is_local:
            self.workspace.write_bytes("".join(map(_line, self.rows)).encode(), *self.path)
            return
        path = self.workspace.local_path(*self.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.writelines(map(_line, rows))


def _step_row(facts: StepFacts, names: Sequence[str], sums: Sequence[float], norm: float) -> dict[str, Any]:
    parts, bins = sums[1 : 1 + len(names)], sums[1 + len(names) :]
    noise = zip(NOISE_BINS, bins[:NUM_NOISE_BINS], bins[NUM_NOISE_BINS:], strict=True) if bins else ()
    return {
        "kind": "step",
        "stage": facts.stage,
        "step": facts.step,
        "loss": sums[0] / facts.samples,
        "gradient_norm": norm,
        "learning_rate": facts.learning_rate,
        "samples": facts.samples,
        "tokens": facts.tokens,
        "parts": {name: value / facts.samples for name, value in zip(names, parts, strict=True)},
        "noise": {name: value / count for name, value, count in noise if count},
    }


def _memory_bytes() -> int:
    """The most that this process held on its device; of a CPU, what it holds now."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return psutil.Process().memory_info().rss


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row) + "\n"


def _read(workspace: Workspace, path: tuple[str, ...]) -> list[dict[str, Any]]:
    """The rows of the file; a torn last line is what a kill leaves, and lies beyond every checkpoint."""
    if not workspace.exists(*path):
        return []
    lines = workspace.read_bytes(*path).decode().split("\n")
    return [json.loads(line) for line in lines[:-1]]
