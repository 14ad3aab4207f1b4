"""What each process of the equality tests does: the same training alone and spread over all, and how they differ.

    python -m tests.training.parallel_worker FOLDER RANK WORLD

Every case trains three steps, once on this process alone without any of training/parallel.py, once by its recipe. What
is compared: the loss of every step, the gradients of the first (largest relative norm of a difference), the norm that
clipping saw, and the weights after the last step.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.distributed.tensor import DTensor

from model.presets import VAE_PRESETS, DiTConfig
from model.vae import CausalVideoVAE
from tests.model.seeded import inputs, randomised
from training.parallel import (
    Ranks,
    accumulate,
    clip_gradients,
    close_ranks,
    open_ranks,
    parallelize,
    sum_over_data,
    whole_tensors,
)
from training.parallel_settings import ParallelSettings

ROOT = Path(__file__).resolve().parents[2]
STEPS = 3
CONFIG = DiTConfig(
    hidden_size=64,
    num_heads=4,
    num_dual_blocks=2,
    num_single_blocks=2,
    rope_dims=(4, 6, 6),
    text_width=24,
    pooled_width=12,
)
# Neither 45 + 7 tokens nor 24 + 2 divide by 2 or 4; two of the texts are shorter than a group of four processes.
SIZES, TEXTS, CLEAN = [(3, 6, 10), (3, 4, 6), (1, 4, 4), (2, 2, 6)], [7, 2, 1, 5], [0, 1, 0, 0]
COMPILER = "aot_eager"
"""Captures, joins and differentiates graphs as any backend of torch.compile; only does not generate code for them."""
NOISE = 1e-7
"""Norm of a gradient that is rounding: that of a key bias without a key norm, which softmax ignores."""


@dataclass(frozen=True)
class Case:
    """A recipe, the number of processes it is for, and how the samples of a process are cut into micro-batches."""

    name: str
    world: int
    settings: ParallelSettings
    micro_batches: int = 1
    network: str = "dit"


def _case(name: str, world: int, micro_batches: int = 1, network: str = "dit", **settings: Any) -> Case:
    return Case(name, world, ParallelSettings(**settings), micro_batches, network)


CASES = (
    _case("fsdp 2, micro-batches", 2, 2),
    _case("replicas 2, micro-batches", 2, 2, replicas=2),
    _case("ulysses 2, recomputed, offloaded", 2, ulysses=2, checkpointing="full", offload_activations=True),
    _case("ring 2, selective, compiled", 2, ring=2, checkpointing="selective", compile=True),
    _case("vae, fsdp 2", 2, network="vae"),
    _case("vae in a context of 2", 2, network="vae", ulysses=2),
    _case("fsdp 4", 4),
    _case("replicas 2 x shards 2", 4, replicas=2),
    _case("ulysses 4", 4, ulysses=4),
    _case("ring 4", 4, ring=4),
    _case("ulysses 2 x ring 2", 4, ulysses=2, ring=2),
    _case("fsdp 2 x ulysses 2, micro-batches", 4, 2, ulysses=2),
    _case("replicas 2 x ring 2", 4, replicas=2, ring=2),
)


def launch(folder: Path, world: int) -> list[dict[str, dict[str, float]]]:
    """Run all processes and return what each found; a failure shows what the process wrote."""
    command = [sys.executable, "-m", "tests.training.parallel_worker", str(folder)]
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(world)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for rank in range(world)
    ]
    for process in processes:
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0, output
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(world)]


Loss = Callable[[nn.Module, Sequence[int]], Tensor]
"""Sum of the losses of the samples named, as parts of the whole batch."""


def _flow_loss(model: nn.Module, samples: Sequence[int]) -> Tensor:
    latents, t, text, pooled = inputs(CONFIG, SIZES, TEXTS)
    guidance = torch.full((len(SIZES),), 6000.0)
    chosen = list(samples)
    velocities = model(
        [latents[i] for i in chosen],
        t[chosen],
        [text[i] for i in chosen],
        pooled[chosen],
        guidance[chosen],
        [CLEAN[i] for i in chosen],
    )
    pairs = zip(velocities, (latents[i] for i in chosen), strict=True)
    return torch.stack([(velocity - latent).square().mean() for velocity, latent in pairs]).sum() / len(SIZES)


def _video_loss(model: nn.Module, samples: Sequence[int]) -> Tensor:
    assert isinstance(model, CausalVideoVAE)
    videos = torch.randn(len(SIZES), 3, 5, 16, 16, generator=torch.Generator().manual_seed(4)).clamp(-1, 1)
    chosen = videos[list(samples)]
    posterior = model.encode(chosen)
    error = (model.decode(posterior.mean) - chosen).square().flatten(1).mean(1)
    return (error + 1e-6 * posterior.kl()).sum() / len(SIZES)


def build(network: str) -> tuple[nn.Module, Loss]:
    """A seeded network and its loss."""
    if network == "vae":
        return randomised(VAE_PRESETS["tiny"]), _video_loss
    return randomised(CONFIG), _flow_loss


@dataclass
class Trained:
    """What a training is compared by."""

    losses: list[Tensor]
    gradients: dict[str, Tensor]
    norm: Tensor
    weights: dict[str, Tensor]


def _whole(named: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor.clone())
        for name, tensor in named.items()
    }


def _train(model: nn.Module, loss: Loss, micro_batches: Sequence[Sequence[int]], ranks: Ranks) -> Trained:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, eps=1e-4)
    losses, gradients, norm = [], {}, torch.zeros(())
    for step in range(STEPS):
        total = torch.zeros(())
        for number, samples in enumerate(micro_batches):
            with accumulate(model, last=number == len(micro_batches) - 1):
                part = loss(model, samples)
                part.backward()
            total += part.detach()
        losses.append(sum_over_data(total, ranks))
        if not step:
            gradients = _whole({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
        found = clip_gradients(model, 0.5)
        norm = norm if step else found
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            loss(model, micro_batches[0])  # a measurement between steps must not hide the next weights
    return Trained(losses, gradients, norm, _whole(dict(model.named_parameters())))


def _differences(ours: Trained, alone: Trained) -> dict[str, float]:
    assert ours.gradients.keys() == alone.gradients.keys() == alone.weights.keys() == ours.weights.keys()
    loud = [name for name, gradient in alone.gradients.items() if gradient.norm() > NOISE]
    assert len(loud) > 0.9 * len(alone.gradients)
    gradients = [(ours.gradients[name] - alone.gradients[name]).norm() / alone.gradients[name].norm() for name in loud]
    weights = [(ours.weights[name] - alone.weights[name]).abs().max() for name in alone.weights]
    return {
        "loss": max(abs(a - b).item() for a, b in zip(ours.losses, alone.losses, strict=True)),
        "gradients": max(gradients).item(),
        "norm": (abs(ours.norm - alone.norm) / alone.norm).item(),
        "weights": max(weights).item(),
        "learned": (alone.losses[0] - alone.losses[-1]).item(),
    }


def _compare(case: Case) -> dict[str, float]:
    model, loss = build(case.network)
    alone = _train(model, loss, [range(len(SIZES))], Ranks(0, 1, 0, 1, torch.device("cpu")))
    ranks = open_ranks(case.settings)
    model, loss = build(case.network)
    released = {name: weight.clone() for name, weight in model.state_dict().items()}
    parallelize(model, ranks, case.settings, compiler=COMPILER)
    samples = list(range(len(SIZES)))[ranks.data_rank :: ranks.num_data_ranks]
    cut = -(-len(samples) // case.micro_batches)
    micro_batches = [samples[start : start + cut] for start in range(0, len(samples), cut)]
    assert len(micro_batches) == case.micro_batches
    gathered = dict(whole_tensors(model.state_dict()))
    assert list(gathered) == list(released)
    same = all(torch.equal(gathered[name], released[name]) for name in released) if ranks.is_main else True
    assert same, "a gathered weight is not the one that was shared out"
    differences = _differences(_train(model, loss, micro_batches, ranks), alone)
    held = sum(_local(weight).numel() for weight in model.parameters())
    if case.settings.compile:
        frames = counters["frames"]
        assert frames["total"] == frames["ok"] > 0, "a block was not compiled"
    return differences | {"held": held / sum(weight.numel() for weight in released.values())}


def _local(weight: Tensor) -> Tensor:
    return weight.to_local() if isinstance(weight, DTensor) else weight


def main(folder: Path, rank: int, world: int) -> None:
    """Go through all cases of this number of processes."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    found = {case.name: _compare(case) for case in CASES if case.world == world and _wanted(case.name)}
    (folder / f"{rank}.json").write_text(json.dumps(found))
    close_ranks()


def _wanted(name: str) -> bool:
    return os.environ.get("CASE", "") in name


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
