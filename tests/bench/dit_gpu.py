"""A training step of the transformer on one GPU: ours, diffusers eager and diffusers compiled, with the same weights.

    python -m tests.bench.dit_gpu                              under 9 minutes on one H200
    python -m tests.bench.dit_gpu --device cpu --preset tiny   every path, in seconds

Full width, depth cut to 4 + 8 blocks so that weights and gradients leave room for activations; bfloat16; 64 valid text
tokens, padded to 256 with a mask for diffusers as its users do. Four buckets: 256 px images, batch 64; 256 x 256 px of
65 frames, batch 8; 30,360 and 118,800 tokens, batch 1, the last with every block recomputed on both sides. Ours runs
once with every attention backend that the device has. The measured peak is that of a matrix product in the same run.

A line of JSON per measurement: seconds (median), tokens per second, utilisation by model/flops.py (MFU, of the peak
measured; recomputing not counted), peak memory, seconds until the first step was done (compiling included). What the
budget or the memory does not allow is named and left out. The last line is JSON: for every bucket, the best of ours
over diffusers eager and over diffusers compiled, and the MFU of ours.
"""

import argparse
import json
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from model.dit import VideoDiT
from model.flops import count_flops
from model.presets import DIT_PRESETS, DiTConfig
from model.rows import WholeRows
from tests.model.reference import reference_of
from tests.model.seeded import randomised
from training.activation_checkpoint import Checkpointing, apply_checkpointing
from training.throughput import measured_peak_flops, synchronise

VALID_TEXT, PADDED_TEXT = 64, 256
DEPTH = (4, 8)
BLOCK = re.compile(r"(double_blocks|single_blocks|transformer_blocks|single_transformer_blocks)\.\d+")


@dataclass(frozen=True)
class Bucket:
    """A batch of samples of one latent size (time, height, width)."""

    name: str
    size: tuple[int, int, int]
    batch: int
    recomputed: bool = False

    @property
    def tokens(self) -> int:
        """Video tokens of one sample."""
        return prod(self.size) // 4


FULL = (
    Bucket("image_256", (1, 32, 32), 64),
    Bucket("video_256_65", (17, 32, 32), 8),
    Bucket("tokens_30k", (33, 46, 80), 1),
    Bucket("tokens_119k", (33, 90, 160), 1, recomputed=True),
)
SMALL = (Bucket("image_256", (1, 8, 8), 2), Bucket("tokens_119k", (2, 8, 8), 1, recomputed=True))


@dataclass(frozen=True)
class Variant:
    """One way to take a step: the network of ours under a backend, or diffusers'."""

    name: str
    ours: bool
    compiled: bool = False
    backend: Any = None
    kernel: SDPBackend | None = None

    def context(self) -> AbstractContextManager[Any]:
        """The SDPA kernel that this variant insists on."""
        return sdpa_kernel(self.kernel) if self.kernel else nullcontext()


def variants(cuda: bool) -> Iterator[Variant]:
    """What is compared, the most telling first, since time may run out."""
    yield Variant("ours", ours=True)
    yield Variant("diffusers", ours=False)
    yield Variant("ours_compiled", ours=True, compiled=True)
    yield Variant("diffusers_compiled", ours=False, compiled=True)
    if cuda:
        yield Variant("ours_cudnn", ours=True, kernel=SDPBackend.CUDNN_ATTENTION)
        yield Variant("ours_flash", ours=True, kernel=SDPBackend.FLASH_ATTENTION)
        yield Variant("ours_varlen", ours=True, backend="varlen")
        yield Variant("ours_flex", ours=True, backend="flex")
    else:
        yield Variant("ours_segments", ours=True, backend="segments")


def given(config: DiTConfig, bucket: Bucket, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    """Seeded random inputs, as stacked tensors."""
    generator = torch.Generator(device).manual_seed(0)
    shapes = {
        "latents": (bucket.batch, config.latent_channels, *bucket.size),
        "text": (bucket.batch, PADDED_TEXT, config.text_width),
        "pooled": (bucket.batch, config.pooled_width),
    }
    tensors = {
        name: torch.randn(shape, generator=generator, device=device, dtype=dtype) for name, shape in shapes.items()
    }
    mask = torch.arange(PADDED_TEXT, device=device) < VALID_TEXT
    t = torch.rand(bucket.batch, generator=generator, device=device) * 1000
    return {**tensors, "t": t, "mask": mask.expand(bucket.batch, -1)}


def velocity_of(network: nn.Module, variant: Variant, batch: dict[str, Tensor]) -> Tensor:
    """One forward, as the users of each network call it."""
    if variant.ours:
        text = list(batch["text"][:, :VALID_TEXT])
        return torch.stack(network(list(batch["latents"]), batch["t"], text, batch["pooled"]))
    inputs = (batch["latents"], batch["t"], batch["text"], batch["mask"], batch["pooled"])
    return network(*inputs, return_dict=False)[0]


def prepare(network: nn.Module, variant: Variant, bucket: Bucket) -> Callable[[], None]:
    """Set the network up for the variant and bucket; returns how to undo it."""
    blocks = [block for name, block in network.named_modules() if BLOCK.fullmatch(name)]
    if isinstance(network, VideoDiT):
        network.row_split = WholeRows(variant.backend)
        apply_checkpointing(network, Checkpointing.FULL if bucket.recomputed else Checkpointing.NONE)
    elif bucket.recomputed:
        network.enable_gradient_checkpointing()  # pyright: ignore[reportCallIssue]
    if variant.compiled:
        torch.compiler.reset()
        # On a CPU only the tracing is of interest, which is what can fail; generating C++ would take minutes.
        backend = "inductor" if next(network.parameters()).device.type == "cuda" else "aot_eager"
        for block in blocks:
            block.compile(backend=backend)

    def undo() -> None:
        for block in blocks:
            vars(block).pop("forward", None)
            block._compiled_call_impl = None
        if not variant.ours:
            network.disable_gradient_checkpointing()  # pyright: ignore[reportCallIssue]
        network.zero_grad()

    return undo


def measure(network: nn.Module, variant: Variant, bucket: Bucket, batch: dict[str, Tensor], rounds: int) -> dict:
    """Seconds, memory and the velocity of a variant in a bucket."""
    device = batch["t"].device
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    undo, times, velocity = prepare(network, variant, bucket), [], torch.empty(0)
    try:
        with variant.context():
            for _ in range(rounds + 1):
                network.zero_grad()
                synchronise(device)
                started_s = time.perf_counter()
                velocity = velocity_of(network, variant, batch)
                velocity.float().square().mean().backward()
                synchronise(device)
                times.append(time.perf_counter() - started_s)
    finally:
        undo()
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
    return {
        "step_s": statistics.median(times[1:]),
        "first_s": times[0],
        "peak_gib": peak / 2**30,
        "velocity": velocity.detach().float(),
    }


def reported(config: DiTConfig, bucket: Bucket, found: dict, peak_flops: float) -> dict[str, float]:
    """A measurement as figures; the operations are those that the task needs, whatever was wasted on padding."""
    flops = count_flops(config, [bucket.tokens] * bucket.batch, [VALID_TEXT] * bucket.batch).training()
    return {
        "step_s": round(found["step_s"], 4),
        "tokens_per_s": round(bucket.tokens * bucket.batch / found["step_s"]),
        "mfu": round(flops / found["step_s"] / peak_flops, 4),
        "tflop_per_s": round(flops / found["step_s"] / 1e12, 3),
        "peak_gib": round(found["peak_gib"], 2),
        "first_s": round(found["first_s"], 2),
    }


def ratios_of(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """For every bucket: the best of ours over each of diffusers', and its MFU."""
    ratios: dict[str, float] = {}
    for bucket in dict.fromkeys(row["bucket"] for row in rows):
        times = {row["variant"]: row for row in rows if row["bucket"] == bucket and "step_s" in row}
        ours = [row for name, row in times.items() if name.startswith("ours")]
        if not ours:
            continue
        best = min(ours, key=lambda row: row["step_s"])
        ratios[f"mfu_{bucket}"] = best["mfu"]
        for rival in ("diffusers", "diffusers_compiled"):
            if rival in times:
                ratios[f"ratio_{bucket}_{rival}"] = round(best["step_s"] / times[rival]["step_s"], 3)
    return ratios


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.dit_gpu", description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--preset", choices=("tiny", "full"), default="full")
    parser.add_argument("--budget", type=float, default=500.0, help="seconds, after which nothing new is begun")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    started_s, device = time.perf_counter(), torch.device(options.device)
    small = options.preset == "tiny"
    config = replace(DIT_PRESETS[options.preset], guidance=False)
    if not small:
        config = replace(config, num_dual_blocks=DEPTH[0], num_single_blocks=DEPTH[1])
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    with torch.device(device):
        ours = randomised(config)
        theirs = reference_of(ours)
    for network in (ours, theirs):
        nn.Module.to(network, dtype)
    peak_flops = measured_peak_flops(device, dtype)
    print(json.dumps({"peak_tflop_per_s": round(peak_flops / 1e12, 2), "set_up_s": round(_since(started_s), 1)}))
    rows: list[dict[str, Any]] = []
    for bucket in SMALL if small else FULL:
        batch = given(config, bucket, device, dtype)
        expected: Tensor | None = None
        for variant in variants(device.type == "cuda"):
            row: dict[str, Any] = {"bucket": bucket.name, "variant": variant.name}
            if _since(started_s) > options.budget:
                row["left_out"] = f"the budget of {options.budget:.0f} s is spent"
            else:
                try:
                    found = measure(ours if variant.ours else theirs, variant, bucket, batch, options.rounds)
                    expected = found["velocity"] if expected is None else expected
                    error = (found["velocity"] - expected).abs().max() / expected.abs().max()
                    row |= reported(config, bucket, found, peak_flops) | {"error": round(error.item(), 6)}
                except (torch.OutOfMemoryError, RuntimeError) as error:
                    row["left_out"] = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
            rows.append(row)
            print(json.dumps(row), flush=True)
    print(json.dumps(ratios_of(rows)))
    return 0


def _since(started_s: float) -> float:
    return time.perf_counter() - started_s


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
