"""`dailies train`: walk the training stages over the packed shards, in order, from wherever the last run stopped.

    [train] + shards --> TrainingRun --stage by stage--> checkpoints, metrics.jsonl, table train_reads

A finished stage is not trained again; an interrupted one continues with the same bits as if nothing had happened.

    dailies train ...                                          one process
    torchrun --nproc-per-node 8 -m jobs train ...              several, on this machine (or on many: see torchrun)
    dailies train --processes 8 --restarts 3 ...               several, on a Ray cluster, started again when one dies

The first process speaks; another is heard only when it is the first that cannot go on.
"""

import argparse
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from curation.records import UserError
from jobs.progress import Progress

if TYPE_CHECKING:
    from jobs.config import Context
    from training.curriculum import StageResult, TrainingRun
    from training.stages import StageSettings


def train(context: "Context") -> "TrainingRun":
    """Train every stage of the recipe that is not finished yet, with the processes that were started together.

    The first of them prints a line per stage.

    Raises:
        UserError: no shards for a stage, clips or weights that do not fit, a damaged checkpoint, a loss that is NaN.
    """
    import torch

    from training.curriculum import TrainingRun
    from training.parallel import close_ranks, open_ranks

    torch.set_num_threads(context.recipe.train.threads)
    ranks = open_ranks(context.recipe.train.parallel)
    try:
        run = TrainingRun(context.workspace, context.recipe.train, ranks)
        if ranks.is_main:
            print(f"train: run {run.run_id}, {len(run.settings.stages)} stages, {len(run.shards)} shards", flush=True)
        reads = context.workspace.table("train_reads")
        for stage in run.settings.stages:
            result = _train_stage(run, stage, ranks.is_main)
            stem = f"{run.run_id}-{stage.name}"
            if ranks.is_main and stem not in reads.stems():
                reads.append(stem, run.reads(stage))
            if ranks.is_main:
                print(describe(result), flush=True)
    finally:
        close_ranks()
    return run


def _train_stage(run: "TrainingRun", stage: "StageSettings", speaks: bool) -> "StageResult":
    if run.finished(stage) or not speaks:
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
    parser.add_argument(
        "--processes", type=int, default=0, metavar="N", help="train on N processes of a Ray cluster (or a private one)"
    )
    parser.add_argument(
        "--restarts", type=int, default=0, metavar="K", help="with --processes: start again at most K times"
    )


def run(context: "Context") -> int:
    processes, restarts = getattr(context.args, "processes", 0), getattr(context.args, "restarts", 0)
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if processes < 0 or restarts < 0 or (restarts and not processes):
        raise UserError(
            f"--processes {processes} --restarts {restarts}: give --processes N of at least 1 with --restarts K; "
            "torchrun has --max-restarts for what it starts"
        )
    if not processes:
        return _among_started(context, started)
    if started > 1:
        raise UserError(f"--processes {processes} within {started} processes of torchrun: leave out one of the two")
    from jobs.train_cluster import Processes, run as run_on_cluster

    return run_on_cluster(context, Processes(processes, restarts))


def _among_started(context: "Context", started: int) -> int:
    try:
        train(context)
    except UserError:
        if started > 1 and not _is_first_to_fail():
            return 2  # the cause is told by the one that met it first
        raise
    return 0


def _is_first_to_fail() -> bool:
    """Whether this is the first of torchrun's processes that cannot go on; asked in torchrun's own store."""
    from torch._C._distributed_c10d import TCPStore

    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return TCPStore(address, port, is_master=False).add(f"dailies/failures/{attempt}", 1) == 1
