"""What a run wrote down: JSON lines, one per step and one per held-out measurement.

    {"kind": "step", "stage": "vae", "step": 40, "loss": 0.21, "learning_rate": 0.001, "gradient_norm": 0.8, ...}
    {"kind": "held_out", "stage": "vae", "step": 0, "loss": 0.58, "parts": {"l1": 0.58, "psnr_db": 7.1}}

Losses stay on the device between two writings: one transfer then brings them all, where peers wait for every step.
A resumed run drops the rows beyond its checkpoint, so the file reads as if nothing had happened.
"""

import json
import math
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from curation.tables import Workspace


class NonFiniteLossError(ArithmeticError):
    """A loss or gradient norm that is NaN or infinite; `step` is the first such step, from 1."""

    def __init__(self, stage: str, step: int, loss: float, gradient_norm: float) -> None:
        super().__init__(f"stage {stage!r}, step {step}: loss {loss}, gradient norm {gradient_norm}")
        self.stage, self.step = stage, step


class Metrics:
    """The metrics file of one run.

    Args:
        workspace: where it lies; on an object store, which cannot append, the file is rewritten at every flush.
        path: its parts within the workspace.
    """

    def __init__(self, workspace: Workspace, *path: str) -> None:
        self.workspace, self.path = workspace, path
        self.rows: list[dict[str, Any]] = _read(workspace, path)
        self._pending: list[tuple[str, int, float, Tensor]] = []
        self._flushed_s = time.perf_counter()
        self._num_samples = 0

    def drop_beyond(self, stage: str, step: int, later_stages: tuple[str, ...] = ()) -> None:
        """Forget rows of `stage` after `step` and all rows of the stages after it; -1 forgets the whole stage."""
        self.rows = [
            row
            for row in self.rows
            if row["stage"] not in later_stages and (row["stage"] != stage or row["step"] <= step)
        ]
        self.workspace.write_bytes("".join(map(_line, self.rows)).encode(), *self.path)  # a torn line goes, too
        self._start_window()

    def add_step(self, stage: str, step: int, loss: Tensor, norm: Tensor, rate: float, num_samples: int) -> None:
        """Note one step (from 1) without waiting for the device; `loss` and `norm` are 0-d."""
        self._pending.append((stage, step, rate, torch.stack((loss.detach().float(), norm.detach().float()))))
        self._num_samples += num_samples

    def flush(self) -> float | None:
        """Write the noted steps. Returns the last loss.

        Raises:
            NonFiniteLossError: a loss or a gradient norm is not finite; the rows up to that step are written.
        """
        if not self._pending:
            return None
        values = torch.stack([values for *_, values in self._pending]).tolist()
        samples_per_s = self._num_samples / max(1e-9, time.perf_counter() - self._flushed_s)
        rows, fault = [], None
        for (stage, step, rate, _), (loss, norm) in zip(self._pending, values, strict=True):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                fault = NonFiniteLossError(stage, step, loss, norm)
                break
            row = {"kind": "step", "stage": stage, "step": step, "loss": loss, "learning_rate": rate}
            rows.append({**row, "gradient_norm": norm, "samples_per_s": round(samples_per_s, 3)})
        self._append(rows)
        self._start_window()
        if fault is not None:
            raise fault
        return rows[-1]["loss"]

    def add_held_out(self, stage: str, step: int, loss: float, parts: Mapping[str, float]) -> None:
        """Write one held-out measurement after `step` steps."""
        self.flush()
        self._append([{"kind": "held_out", "stage": stage, "step": step, "loss": loss, "parts": dict(parts)}])
        self._start_window()

    def held_out(self, stage: str) -> list[dict[str, Any]]:
        """The held-out rows of a stage, in order of steps."""
        rows = [row for row in self.rows if row["kind"] == "held_out" and row["stage"] == stage]
        return sorted(rows, key=lambda row: row["step"])

    def _start_window(self) -> None:
        self._pending, self._num_samples, self._flushed_s = [], 0, time.perf_counter()

    def _append(self, rows: list[dict[str, Any]]) -> None:
        self.rows += rows
        if not self.workspace.is_local:
            self.workspace.write_bytes("".join(map(_line, self.rows)).encode(), *self.path)
            return
        path = self.workspace.local_path(*self.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.writelines(map(_line, rows))


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row) + "\n"


def _read(workspace: Workspace, path: tuple[str, ...]) -> list[dict[str, Any]]:
    """The rows of the file; a torn last line is what a kill leaves, and lies beyond every checkpoint."""
    if not workspace.exists(*path):
        return []
    lines = workspace.read_bytes(*path).decode().split("\n")
    return [json.loads(line) for line in lines[:-1]]
