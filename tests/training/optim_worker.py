"""What each process of the optimizers' test does: the same steps on whole weights and on spread ones.

    python -m tests.training.optim_worker FOLDER RANK

The same gradients are given to both, so that a difference of one bit is the optimizer's. Some weights divide by the
number of processes and some do not, of one a process holds nothing; one is shared out by columns, as tensor parallelism
does, and one is whole on both.
"""

import json
import subprocess
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard, distribute_tensor

from training.optim import build_optimizers, load_optimizer_tensors, optimizer_tensors
from training.stages import StageSettings

WORLD = 2
STEPS = 3
ROOT = Path(__file__).resolve().parents[2]
CASES = [(name, dtype) for name in ("adamw", "adamw8bit", "muon") for dtype in ("float32", "bfloat16")]
WEIGHTS: dict[str, tuple[tuple[int, ...], Placement]] = {
    "uneven": ((7, 700), Shard(0)),
    "row": ((1, 5000), Shard(0)),
    "kernel": ((20, 16, 3, 3, 3), Shard(0)),
    "columns": ((16, 1024), Shard(1)),
    "copied": ((8, 600), Replicate()),
    "vector": ((5,), Shard(0)),
}


def launch(folder: Path) -> list[dict[str, dict[str, list[str]]]]:
    """Run both processes; for every case the names of tensors whose bits differ. A failure shows what was written."""
    command = [sys.executable, "-m", "tests.training.optim_worker", str(folder)]
    processes = [
        subprocess.Popen([*command, str(rank)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for rank in range(WORLD)
    ]
    try:
        for process in processes:
            output, _ = process.communicate(timeout=300)
            assert process.returncode == 0, output
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(WORLD)]


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


class _Pair:
    """A module of whole weights and one of the same weights spread, each with its optimizers."""

    def __init__(self, stage: StageSettings, dtype: torch.dtype) -> None:
        generator = torch.Generator().manual_seed(1)
        values = {name: torch.randn(shape, generator=generator).to(dtype) for name, (shape, _) in WEIGHTS.items()}
        mesh = init_device_mesh("cpu", (WORLD,))
        self.whole, self.spread = nn.Module(), nn.Module()
        for name, value in values.items():
            self.whole.register_parameter(name, nn.Parameter(value.clone()))
            part = distribute_tensor(value.clone(), mesh, [WEIGHTS[name][1]])
            self.spread.register_parameter(name, nn.Parameter(part))
        self.modules = (self.whole, self.spread)
        self.optimizers = [build_optimizers(module, stage) for module in self.modules]

    def step(self, number: int) -> None:
        for module, optimizers in zip(self.modules, self.optimizers, strict=True):
            generator = torch.Generator().manual_seed(100 + number)
            for name, weight in module.named_parameters():
                gradient = torch.randn(WEIGHTS[name][0], generator=generator).to(weight.dtype)
                if isinstance(weight, DTensor):
                    gradient = distribute_tensor(gradient, weight.device_mesh, weight.placements)
                weight.grad = gradient
            for optimizer in optimizers:
                optimizer.step()

    def tensors(self) -> list[dict[str, Tensor]]:
        return [
            {**dict(module.named_parameters()), **optimizer_tensors(optimizers, module)}
            for module, optimizers in zip(self.modules, self.optimizers, strict=True)
        ]

    def differences(self) -> list[str]:
        whole, spread = self.tensors()
        assert set(whole) == set(spread)
        return sorted(name for name, tensor in spread.items() if not torch.equal(_whole(tensor), whole[name]))


def _compare(name: str, dtype: torch.dtype) -> dict[str, list[str]]:
    stage = StageSettings(name="a", shards={"image": 1}, optimizer=name, weight_decay=0.1, learning_rate=1e-2)  # pyright: ignore[reportArgumentType]
    pair = _Pair(stage, dtype)
    for number in range(STEPS):
        pair.step(number)
    trained = pair.differences()
    # The state that two processes hold continues on one, as after a resume with another number of processes.
    resumed = _Pair(stage, dtype)
    spread = {key: _whole(tensor) for key, tensor in pair.tensors()[1].items()}
    with torch.no_grad():
        for key, weight in resumed.whole.named_parameters():
            weight.copy_(spread.pop(key))
    load_optimizer_tensors(resumed.optimizers[0], resumed.whole, spread)
    for each in (pair, resumed):
        each.step(STEPS)
    expected, found = pair.tensors()[0], resumed.tensors()[0]
    continued = sorted(key for key, tensor in found.items() if not torch.equal(tensor, expected[key]))
    return {"trained": trained, "continued": continued}


def main(folder: Path, rank: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'rendezvous'}", rank=rank, world_size=WORLD)
    found = {f"{name} {dtype}": _compare(name, getattr(torch, dtype)) for name, dtype in CASES}
    (folder / f"{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
