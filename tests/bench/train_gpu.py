"""Training steps of the transformer on one GPU: utilisation by bucket, and fine-tuning all 12.8 G weights on one card.

    python -m tests.bench.train_gpu                              under 9 minutes on one H200
    python -m tests.bench.train_gpu --device cpu --preset tiny   every path, in seconds

A step is what the loop does: forward and backward, gradients clipped, weights updated by the stage's optimizer. First
the whole network (bfloat16 weights rounded at random, 8-bit moments, full checkpointing) takes steps of 30,360 tokens,
then of 118,800 with activations offloaded: what `training.memory` estimates stands beside the peak that was measured.
Then depth 4 + 8 at full width for MFU: 256 px images, 256 x 256 px of 65 frames, 30,360 and 118,800 tokens, each block
compiled, the last also with full checkpointing and with offload.

A line of JSON per measurement: seconds (median), tokens per second, MFU of 989 TFLOP/s and of the peak measured here,
GiB at the peak and estimated. What the budget or the memory does not allow is named and left out. Last line: JSON.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from model.dit import VideoDiT
from model.flops import count_flops
from model.presets import DIT_PRESETS, DiTConfig
from tests.bench.dit_gpu import DEPTH, FULL, SMALL, VALID_TEXT, Bucket, given
from training.memory import GIB, estimate_memory
from training.optim import apply_step, build_optimizers
from training.parallel import Ranks, parallelize
from training.parallel_settings import ParallelSettings
from training.stages import StageSettings
from training.throughput import PEAK_FLOPS, measured_peak_flops, synchronise

STAGE = StageSettings(name="bench", shards={"video": 1}, optimizer="adamw8bit", ema=0.0, learning_rate=1e-5)


@dataclass(frozen=True)
class Run:
    """One bucket, the whole network or one cut in depth, and how it is kept in memory."""

    bucket: Bucket
    whole: bool = False
    checkpointing: str = "none"
    offload: bool = False
    compiled: bool = True

    @property
    def name(self) -> str:
        """Bucket and modes."""
        modes = [("whole", self.whole), (self.checkpointing, self.checkpointing != "none")]
        modes += [("offload", self.offload), ("compiled", self.compiled)]
        return "_".join([self.bucket.name, *(word for word, on in modes if on)])

    def settings(self) -> ParallelSettings:
        """As a recipe states it."""
        return ParallelSettings.model_validate(
            {
                "precision": "bfloat16",
                "master_weights": False,
                "checkpointing": self.checkpointing,
                "offload_activations": self.offload,
                "compile": self.compiled,
            }
        )


def runs(buckets: Sequence[Bucket]) -> list[Run]:
    """The most telling first, since time may run out."""
    long, longest = buckets[-2], buckets[-1]
    found = [Run(long, whole=True, checkpointing="full", compiled=False)]
    found += [Run(bucket) for bucket in buckets[:-1]]
    found += [Run(longest, checkpointing="full"), Run(longest, checkpointing="selective", offload=True)]
    return [*found, Run(longest, whole=True, checkpointing="full", offload=True, compiled=False)]


def build(config: DiTConfig, run: Run, device: torch.device) -> VideoDiT:
    """A network of 16-bit weights that is never whole in 32: 12.8 G weights of them would not fit."""
    with torch.device("meta"):
        network = VideoDiT(config).to(torch.bfloat16)
    network.to_empty(device=device)
    generator = torch.Generator(device).manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(0, 0.02, generator=generator)
    compiler = "inductor" if device.type == "cuda" else "aot_eager"
    parallelize(network, Ranks(0, 1, 0, 1, device), run.settings(), compiler)
    return network


def measure(config: DiTConfig, run: Run, device: torch.device, rounds: int) -> dict[str, float]:
    """Seconds of a whole step, and memory at its peak beside the estimate."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    torch.compiler.reset()
    network, bucket = build(config, run, device), run.bucket
    optimizers, batch = build_optimizers(network, STAGE), given(config, bucket, device, torch.bfloat16)
    text, times_s = list(batch["text"][:, :VALID_TEXT]), []
    for step in range(rounds + 1):
        synchronise(device)
        started_s = time.perf_counter()
        velocities = network(list(batch["latents"]), batch["t"], text, batch["pooled"])
        losses = [
            (velocity.float() - latent).square().mean()
            for velocity, latent in zip(velocities, batch["latents"], strict=True)
        ]
        torch.stack(losses).mean().backward()
        apply_step(optimizers, network, STAGE, step)
        synchronise(device)
        times_s.append(time.perf_counter() - started_s)
    step_s = statistics.median(times_s[1:])
    flops = count_flops(config, [bucket.tokens] * bucket.batch, [VALID_TEXT] * bucket.batch).training()
    estimate = estimate_memory(config, STAGE, run.settings(), bucket.batch * (bucket.tokens + VALID_TEXT))
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
    return {
        "step_s": round(step_s, 4),
        "first_s": round(times_s[0], 2),
        "tokens_per_s": round(bucket.tokens * bucket.batch / step_s),
        "mfu": round(flops / step_s / PEAK_FLOPS["H200"], 4),
        "mfu_of_measured_peak": round(flops / step_s / measured_peak_flops(device, torch.bfloat16), 4),
        "peak_gib": round(peak / GIB, 2),
        "estimated_gib": round(estimate.total / GIB, 2),
    }


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.train_gpu", description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--preset", choices=("tiny", "full"), default="full")
    parser.add_argument("--budget", type=float, default=420.0, help="seconds, after which nothing new is begun")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args(arguments)
    started_s, device = time.perf_counter(), torch.device(options.device)
    small = options.preset == "tiny"
    whole = replace(DIT_PRESETS[options.preset], guidance=False)
    cut = whole if small else replace(whole, num_dual_blocks=DEPTH[0], num_single_blocks=DEPTH[1])
    results: dict[str, Any] = {}
    for run in runs(SMALL if small else FULL):
        row: dict[str, Any] = {"run": run.name}
        if time.perf_counter() - started_s > options.budget:
            row["left_out"] = f"the budget of {options.budget:.0f} s is spent"
        else:
            try:
                row |= measure(whole if run.whole else cut, run, device, options.rounds)
                results |= {f"mfu_{run.name}": row["mfu"], f"peak_gib_{run.name}": row["peak_gib"]}
            except (torch.OutOfMemoryError, RuntimeError) as error:
                row["left_out"] = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
        print(json.dumps(row), flush=True)
    print(json.dumps(results))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
