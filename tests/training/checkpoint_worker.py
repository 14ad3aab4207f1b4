"""What each process of the checkpoint tests does; two processes on gloo, and one that is killed while it writes.

python -m tests.training.checkpoint_worker pair FOLDER RANK     load, save, a full disk, a killed process
python -m tests.training.checkpoint_worker soak FOLDER KILLS    steps, in children that are killed as they write
"""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor, zeros

from curation.records import UserError
from curation.tables import Workspace
from training.checkpoint import CheckpointStore

ROOT = Path(__file__).resolve().parents[2]
WORLD = 2
SMALL_BYTES = 512  # a file may grow to this size where a full disk is played by the kernel's limit
STEPS = 12

SHAPES: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
    "model/matrix": ((7, 5), torch.float32),  # divides by neither 2 nor 3
    "model/kernel": ((4, 3, 2), torch.bfloat16),
    "model/row": ((1, 6), torch.float32),  # one process holds nothing of it
    "optimizer/step": ((), torch.float32),
    "optimizer/moment": ((7, 5), torch.uint8),
}


def values(step: int) -> dict[str, dict[str, Tensor]]:
    """Tensors by stem and name that follow from the step."""
    generator = torch.Generator().manual_seed(step)
    found: dict[str, dict[str, Tensor]] = {}
    for key, (shape, dtype) in SHAPES.items():
        stem, name = key.split("/")
        found.setdefault(stem, {})[name] = torch.randint(0, 255, shape, generator=generator).to(dtype)
    return found


def equal(found: dict[str, dict[str, Tensor]], step: int) -> bool:
    wanted = values(step)
    whole = {
        stem: {name: tensor.full_tensor() if isinstance(tensor, DTensor) else tensor for name, tensor in named.items()}
        for stem, named in found.items()
    }
    return all(
        whole[stem][name].dtype == tensor.dtype and torch.equal(whole[stem][name], tensor)
        for stem, named in wanted.items()
        for name, tensor in named.items()
    )


def walk(store: CheckpointStore, losses: Path) -> None:
    """A training that is all checkpoints: every step follows from the one before, to the bit."""
    first = max(store.steps(), default=0)
    weights = torch.full((256, 1024), 0.5)
    moments = torch.zeros(256, 1024)
    tensors = {"model": {"weights": weights}, "optimizer": {"moments": moments}}
    rows = losses.read_text().splitlines()[:first] if losses.exists() else []
    if first:
        store.load_into(first, tensors)
    for step in range(first + 1, STEPS + 1):
        moments.mul_(0.9).add_(torch.sin(weights * step))
        weights.sub_(moments, alpha=0.01)
        rows.append(f"{weights.sum().item()!r}")
        aside = losses.with_suffix(".aside")
        aside.write_text("\n".join(rows) + "\n")
        aside.replace(losses)  # a kill leaves the old rows or the new ones, never none
        store.save(step, tensors, {"losses": len(rows)})
    store.wait()


def launch_pair(folder: Path) -> tuple[list[dict[str, Any]], list[int]]:
    """What both processes found, and how they ended."""
    command = [sys.executable, "-m", "tests.training.checkpoint_worker", "pair", str(folder)]
    with (folder / "output").open("w") as log:
        processes = [
            subprocess.Popen([*command, str(rank)], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
            for rank in range(WORLD)
        ]
        codes = [process.wait(timeout=300) for process in processes]
    reports = [folder / f"{rank}.json" for rank in range(WORLD)]
    assert all(report.exists() for report in reports), (folder / "output").read_text()
    return [json.loads(report.read_text()) for report in reports], codes


def _pair(folder: Path, rank: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=WORLD)
    mesh = init_device_mesh("cpu", (WORLD,))
    store = CheckpointStore(Workspace(str(folder)), "run", "pair", keep_last=3)
    found: dict[str, Any] = {}

    def report(**facts: Any) -> None:
        found.update(facts)
        (folder / f"{rank}.json").write_text(json.dumps(found))

    def laid_out(dimension: int, step: int | None) -> dict[str, dict[str, Tensor]]:
        """Shards along a dimension where there is one; empty where no step is named."""
        tensors: dict[str, dict[str, Tensor]] = {}
        for stem, named in values(step or 0).items():
            for name, tensor in named.items():
                place = [Shard(dimension)] if tensor.ndim > dimension else [Replicate()]
                whole = distribute_tensor(tensor, mesh, place)
                empty = zeros(*tensor.shape, dtype=tensor.dtype, device_mesh=mesh, placements=place)
                tensors.setdefault(stem, {})[name] = whole if step else empty
        return tensors

    from_one = laid_out(0, None)
    store.load_into(1, from_one)
    report(from_one_process=equal(from_one, 1))

    store.save(2, laid_out(0, 2), {"seed": 7}, result={"matrix": laid_out(0, 2)["model"]["matrix"]})
    store.wait()
    across = laid_out(1, None)
    store.load_into(2, across)
    report(along_another_dimension=equal(across, 2), files=sorted(store.state(2)["sha256"]))

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    large = {"model": {"wide": distribute_tensor(torch.arange(2000.0), mesh, [Shard(0)])}}
    if rank == 1:
        resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL_BYTES, limits[1]))
    store.save(3, large, {})
    try:
        store.wait()
    except UserError as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        report(full_disk=str(error), steps_after_full_disk=store.steps())
    store.save(4, large, {}, wait=True)
    report(steps=store.steps())

    if rank == 1:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # the kernel ends the process within its first large write
        resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL_BYTES, limits[1]))
    store.save(5, large, {})
    try:
        store.wait()
    except UserError as error:
        report(killed=str(error))


def _soak(folder: Path, kills: int) -> None:
    """Children of this process do the work: forked, so that torch is imported once; killed while a folder is torn."""
    draws = random.Random(0)
    store = CheckpointStore(Workspace(str(folder)), "run", "soak")
    place, torn = folder / "run" / "soak", 0
    for _ in range(kills):
        child = os.fork()
        if child == 0:
            torch.set_num_threads(1)
            walk(store, folder / "losses")
            os._exit(0)
        _see_a_torn_folder(place, child)
        time.sleep(draws.random() * 0.03)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        torn += bool(_torn(place))
        if STEPS in store.steps():
            break
    torch.set_num_threads(1)
    walk(store, folder / "losses")
    (folder / "torn.json").write_text(json.dumps({"torn": torn}))


def _torn(place: Path) -> list[Path]:
    return [path for path in place.glob("step-*") if not (path / "state.json").exists()]


def _see_a_torn_folder(place: Path, child: int) -> None:
    while not _torn(place) and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        time.sleep(0.001)


if __name__ == "__main__":
    {"pair": _pair, "soak": _soak}[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
