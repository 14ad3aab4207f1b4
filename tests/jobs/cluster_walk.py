"""A training in small for the tests of the launch: two processes share its weights, one of them may be told to die."""

import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from curation.records import UserError
from curation.tables import Workspace
from jobs.train_cluster import _train as train
from training.checkpoint import CheckpointStore
from training.parallel import close_ranks, open_ranks
from training.parallel_settings import ParallelSettings

STEPS, SAVE_EVERY = 12, 3


def walk(given: Mapping[str, Any]) -> None:
    """Twelve steps with a checkpoint at every third; rank 1 dies at `dies_at`, once; `fault` is the user's to mend."""
    torch.set_num_threads(1)
    folder = Path(given["folder"])
    ranks = open_ranks(ParallelSettings())
    mesh = init_device_mesh("cpu", (ranks.world_size,))
    store = CheckpointStore(Workspace(str(folder)), "run", "walk")
    weights = distribute_tensor(torch.linspace(0, 1, 40).reshape(10, 4), mesh, [Shard(0)])
    first = max(store.steps(), default=0)
    if first:
        store.load_into(first, {"model": {"weights": weights}})
    losses = list(store.state(first)["losses"]) if first else []
    if ranks.is_main:
        with (folder / "attempts").open("a") as file:
            file.write(f"{first}\n")
        print(f"walk: {ranks.world_size} processes from step {first}")
    for step in range(first + 1, STEPS + 1):
        if ranks.rank == 1 and step == given.get("dies_at") and not (folder / "died").exists():
            (folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if ranks.rank == 1 and step == given.get("fault_at"):
            raise UserError("the weights of process 1 went wrong: lower the rate")
        share = weights.to_local()
        share.copy_(torch.sin(share * step) + 0.1 * share)
        loss = share.square().sum()
        dist.all_reduce(loss)
        losses.append(loss.item())
        if step % SAVE_EVERY == 0:
            store.save(step, {"model": {"weights": weights}}, {"losses": losses})
    store.wait()
    close_ranks()


def train_and_die_once(given: Mapping[str, Any]) -> None:
    """The real curriculum; where `marker` names a file that is not there yet, process 1 dies after a checkpoint."""
    marker = Path(given["marker"]) if given.get("marker") else None
    if marker is not None and os.environ["RANK"] == "1" and not marker.exists():
        threading.Thread(target=_die_after_a_checkpoint, args=(marker, Path(given["workspace"])), daemon=True).start()
    train(given)


def _die_after_a_checkpoint(marker: Path, workspace: Path) -> None:
    while not list(workspace.glob("checkpoints/*/*/step-*/state.json")):
        time.sleep(0.005)
    marker.touch()
    os.kill(os.getpid(), signal.SIGKILL)
