"""What training wrote down, for the report: the newest run's curves, and its held-out losses before and after.

checkpoints/<run_id>/metrics.jsonl + run.json + train_reads --> Training
"""

import base64
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from pyarrow import fs as pafs

from curation.records import UserError
from curation.tables import TrainRead, Workspace
from jobs.report_charts import Curve

if TYPE_CHECKING:
    from jobs.config import Recipe

CHECKPOINTS = "checkpoints"
MEANINGS = {
    "vae": "Loss: L1 distance between a crop and its reconstruction, plus the weighted KL, perceptual and adversarial "
    "terms of the recipe. Held out: L1 of whole clips, by the averaged weights",
    "flow": "Loss: squared error of the predicted velocity at random noise levels. Held out: the same error at fixed "
    "levels with noise fixed per clip, by the averaged weights, so that only learning can move it",
    "distill": "Loss: squared distance between the student's one forward, told a guidance scale, and its teacher's "
    "guided two. Held out: the same at fixed noise levels and scales, by the averaged weights",
}


@dataclass(frozen=True)
class Measured:
    """One quantity on the held-out clips, before the stage's first step and after its last."""

    name: str
    before: float
    after: float


@dataclass(frozen=True)
class TrainedStage:
    """One training stage as far as it came."""

    curve: Curve
    steps_done: int
    steps_wanted: int | None  # None where the recipe has no stage of this name
    meaning: str
    reads_from: tuple[str, ...]
    num_clips_read: int
    num_reads: int
    held_out: tuple[Measured, ...]
    speed: str = ""
    sheet: str = ""  # data URI of the newest sample videos' contact sheet; empty where the stage wrote none


@dataclass(frozen=True)
class Training:
    """The newest run; `run_id` None means that nothing was trained."""

    run_id: str | None
    stages: tuple[TrainedStage, ...] = ()
    num_held_out: int = 0
    other_runs: tuple[str, ...] = ()


def training(workspace: Workspace, recipe: "Recipe", reads: Iterable[TrainRead]) -> Training:
    """Read the newest run's metrics."""
    run_id = _newest_run(workspace)
    if run_id is None:
        return Training(None)
    rows = _rows(workspace, run_id)
    by_stage: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_stage[row["stage"]].append(row)
    clips: dict[str, dict[str, int]] = defaultdict(dict)
    runs = set()
    for read in reads:
        runs.add(read.run_id)
        if read.run_id == run_id:
            clips[read.stage][read.clip_id] = read.times
    stages = tuple(
        replace(_stage(name, recipe, own, clips[name]), sheet=_sheet(workspace, run_id, name))
        for name, own in by_stage.items()
    )
    return Training(run_id, stages, _num_held_out(workspace, run_id), tuple(sorted(runs - {run_id})))


def _newest_run(workspace: Workspace) -> str | None:
    if not workspace.exists(CHECKPOINTS):
        return None
    from training.trained import newest_run  # brings torch, which an untrained workspace does not need

    try:
        return newest_run(workspace)
    except UserError:
        return None


def _rows(workspace: Workspace, run_id: str) -> list[dict[str, Any]]:
    from training.metrics import Metrics

    return Metrics(workspace, CHECKPOINTS, run_id, "metrics.jsonl").rows


def _num_held_out(workspace: Workspace, run_id: str) -> int:
    if not workspace.exists(CHECKPOINTS, run_id, "run.json"):
        return 0
    return len(json.loads(workspace.read_bytes(CHECKPOINTS, run_id, "run.json")).get("held_out", []))


def _stage(name: str, recipe: "Recipe", rows: list[dict[str, Any]], clips: Mapping[str, int]) -> TrainedStage:
    steps = [row for row in rows if row["kind"] == "step"]
    held_out = sorted((row for row in rows if row["kind"] == "held_out"), key=lambda row: row["step"])
    settings = next((stage for stage in recipe.train.stages if stage.name == name), None)
    curve = Curve(
        stage=name,
        steps=[row["step"] for row in steps],
        losses=[row["loss"] for row in steps],
        held_out_steps=[row["step"] for row in held_out],
        held_out_losses=[row["loss"] for row in held_out],
    )
    return TrainedStage(
        curve=curve,
        steps_done=max(curve.steps, default=0),
        steps_wanted=settings.steps if settings else None,
        meaning=MEANINGS.get(settings.objective, "") if settings else "",
        reads_from=tuple(settings.shards) if settings else (),
        num_clips_read=len(clips),
        num_reads=sum(clips.values()),
        held_out=tuple(_measured(held_out)),
        speed=_speed([row["speed"] for row in steps if "speed" in row]),
    )


def _speed(windows: list[dict[str, float]]) -> str:
    """The median of the stage: what the step before and the step after have in common, whatever a machine was doing."""
    if not windows:
        return ""
    typical = {name: median(window.get(name, 0.0) for window in windows) for name in windows[0]}
    parts = [f"{typical['tokens_per_s']:,.0f} video tokens a second"]
    if "mfu" in typical:
        parts.append(f"{typical['mfu']:.0%} of the device's peak")
    return ", ".join([*parts, f"{typical['stall']:.1%} of the time waiting for data"])


def _sheet(workspace: Workspace, run_id: str, stage: str) -> str:
    """The contact sheet of the stage's newest sample videos, as a picture that lies in the page."""
    folder = (CHECKPOINTS, run_id, stage, "samples")
    selector = pafs.FileSelector(workspace.path(*folder), allow_not_found=True)
    steps = sorted(info.base_name for info in workspace.fs.get_file_info(selector))
    written = [step for step in steps if workspace.exists(*folder, step, "sheet.png")]
    if not written:
        return ""
    picture = base64.b64encode(workspace.read_bytes(*folder, written[-1], "sheet.png")).decode()
    return f"data:image/png;base64,{picture}"


def _measured(rows: list[dict[str, Any]]) -> list[Measured]:
    if not rows:
        return []
    first, last = rows[0], rows[-1]
    parts = [name for name in first.get("parts", {}) if name in last.get("parts", {})]
    return [
        Measured("loss", first["loss"], last["loss"]),
        *(Measured(name, first["parts"][name], last["parts"][name]) for name in parts),
    ]
