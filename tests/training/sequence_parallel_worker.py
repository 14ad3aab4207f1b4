"""What each process of the sequence-parallel test does: the same network alone and with others, and how they differ.

python -m tests.training.sequence_parallel_worker FOLDER RANK
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from model.dit import VideoDiT
from model.presets import DiTConfig
from model.sampler import sample
from tests.model.seeded import inputs, randomised
from training.sequence_parallel import sequence_parallel, sum_gradients

WORLD = 4
DEGREES = (2, 4)
ROOT = Path(__file__).resolve().parents[2]
CONFIG = DiTConfig(
    hidden_size=64,
    num_heads=4,
    num_dual_blocks=2,
    num_single_blocks=1,
    rope_dims=(4, 6, 6),
    text_width=24,
    pooled_width=12,
)
# 45 + 7 tokens of one video divide by neither 2 nor 4; the row below has a clean frame of 6 tokens, an image and texts
# of 1 and 2 tokens, of which some processes hold none.
ALONE = ([(3, 6, 10)], [7], [0])
PACKED = ([(3, 4, 6), (1, 4, 4), (2, 2, 6)], [2, 1, 5], [1, 0, 0])
SHAPE = (16, 3, 4, 6)


def launch(folder: Path) -> list[dict[str, Any]]:
    """Run all processes and return what each found; a failure shows what the process wrote."""
    command = [sys.executable, "-m", "tests.training.sequence_parallel_worker", str(folder)]
    processes = [
        subprocess.Popen([*command, str(rank)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for rank in range(WORLD)
    ]
    for process in processes:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(WORLD)]


def _inputs(sizes: list[tuple[int, int, int]], lengths: list[int], clean: list[int]) -> tuple[Any, ...]:
    return *inputs(CONFIG, sizes, lengths), torch.full((len(sizes),), 6000.0), clean


def _step(model: VideoDiT, given: tuple[Any, ...]) -> list[Tensor]:
    model.zero_grad()
    velocities = model(*given)
    torch.stack([velocity.square().mean() for velocity in velocities]).mean().backward()
    return [velocity.detach() for velocity in velocities]


def _gradients(model: VideoDiT) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def _farthest(ours: list[Tensor], expected: list[Tensor]) -> float:
    return max((a - b).abs().max().item() for a, b in zip(ours, expected, strict=True))


def _compare(model: VideoDiT, group: dist.ProcessGroup, given: tuple[Any, ...]) -> dict[str, float]:
    """Velocities (largest difference) and gradients (largest relative one) of the group against this process alone."""
    expected, alone = _step(model, given), _gradients(model)
    rows: list[int] = []
    hook = (
        model.double_blocks[0]
        .get_submodule("img_mlp")
        .register_forward_pre_hook(lambda _, values: rows.append(len(values[0])))
    )
    with sequence_parallel(model, group):
        velocities = _step(model, given)
    hook.remove()
    sum_gradients(model, group)
    together = _gradients(model)
    assert together.keys() == alone.keys() and len(alone) == len(list(model.parameters()))
    errors = [((together[name] - alone[name]).norm() / alone[name].norm()).item() for name in alone]
    return {"forward": _farthest(velocities, expected), "gradients": max(errors), "tokens": rows[0]}


def _compare_samples(model: VideoDiT, group: dist.ProcessGroup) -> float:
    """Three steps of image-to-video here and in the group."""
    _, _, text, pooled, *_ = _inputs(*ALONE)
    image = torch.randn(16, 1, 4, 6, generator=torch.Generator().manual_seed(2))

    def walk() -> list[Tensor]:
        generator = torch.Generator().manual_seed(3)
        return sample(model, [SHAPE], text, pooled, 3, 7.0, generator, guidance=6.0, first=[image])

    expected = walk()
    with sequence_parallel(model, group):
        return _farthest(walk(), expected)


def main(folder: Path, rank: int) -> None:
    """Compare at every degree that this process takes part in."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=WORLD)
    model, found = randomised(CONFIG), {}
    for degree in DEGREES:
        group = dist.new_group(list(range(degree)))
        if isinstance(group, dist.ProcessGroup):
            found[str(degree)] = {
                "alone": _compare(model, group, _inputs(*ALONE)),
                "packed": _compare(model, group, _inputs(*PACKED)),
                "sample": _compare_samples(model, group),
            }
    (folder / f"{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
