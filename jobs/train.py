"""`dailies train`: walk the training stages over the packed shards, in order, from wherever the last run stopped.

    [train] + shards --> TrainingRun --stage by stage--> checkpoints, metrics.jsonl, table train_reads

A finished stage is not trained again; an interrupted one continues with the same bits as if nothing had happened.
"""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from jobs.progress import Progress

if TYPE_CHECKING:
    from jobs.config import Context
    from training.curriculum import StageResult, TrainingRun
    from training.stages import StageSettings


def train(context: "Context") -> "TrainingRun":
    """Train every stage of the recipe that is not finished yet; prints a line per stage.

    Raises:
        UserError: no shards for a stage, clips or weights that do not fit, a damaged checkpoint, a loss that is NaN.
    """
    import torch

    from training.curriculum import TrainingRun

    torch.set_num_threads(context.recipe.train.threads)
    run = TrainingRun(context.workspace, context.recipe.train)
    print(f"train: run {run.run_id}, {len(run.settings.stages)} stages, {len(run.shards)} shards", flush=True)
    reads = context.workspace.table("train_reads")
    for stage in run.settings.stages:
        result = _train_stage(run, stage)
        stem = f"{run.run_id}-{stage.name}"
        if stem not in reads.stems():
            reads.append(stem, run.reads(stage))
        print(describe(result), flush=True)
    return run


def _train_stage(run: "TrainingRun", stage: "StageSettings") -> "StageResult":
    if run.finished(stage):
        return run.train(stage, lambda step, loss: None)
    with Progress(f"train {stage.name}", total=stage.steps, unit="steps") as progress:
        return run.train(stage, _show(progress))


def _show(progress: Progress) -> Callable[[int, float | None], None]:
    def show(step: int, loss: float | None) -> None:
        progress.advance(step - progress.done, note=None if loss is None else f"loss {loss:.3f}")

    return show


def describe(result: "StageResult") -> str:
    """One line about a stage: every packed clip is accounted for as trained on, not reached or held out."""
    unread = result.num_trainable - result.num_read
    clips = f"{result.num_packed} clips packed = {result.num_read} trained on + {result.num_held_out} held out"
    clips += f" + {unread} not reached" if unread else ""
    if result.began_at_step == result.steps:
        work = f"{result.steps} steps, finished before"
    else:
        resumed = f" from {result.began_at_step}" if result.began_at_step else ""
        work = f"{result.steps} steps{resumed} in {result.seconds:.0f} s"
    if result.before is None or result.after is None:
        losses = "no clip held out, so no held-out loss"
    else:
        losses = f"held-out loss {result.before['loss']:.3f} -> {result.after['loss']:.3f}"
    return f"train {result.stage}: {clips}; {work}; {losses}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # train has no flags of its own: --set train.seed=1 and the like do it all


def run(context: "Context") -> int:
    train(context)
    return 0
