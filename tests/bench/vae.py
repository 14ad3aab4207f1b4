"""What the VAE costs beside diffusers' AutoencoderKLHunyuanVideo, with the same weights: CPU seconds, and peak memory.

    python -m tests.bench.vae                    images and clips, encoded and decoded, and the peak of one clip each
    python -m tests.bench.vae --curve 17 65 257  the peak against length as well, whole and tiled, of both
    python -m tests.bench.vae --widths full      with 246 million parameters (minutes)

Both sides run in one process, in turn; a ratio is of the least CPU time of the rounds, on one thread. Every output of
ours is held to the reference's. A peak is measured in a process of its own: the most resident memory while encoding
and decoding, less what was resident after a first small clip (weights and libraries). Whole clips on both sides unless
it says tiled. The last line is JSON: ours over diffusers', of images' time, clips' time, and peak.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import torchvision_shim
from model.presets import VAEConfig
from model.tiling import TILINGS, Tiling
from model.vae import CausalVideoVAE

WIDTHS = {
    "full": VAEConfig(),
    "half": VAEConfig(block_out_channels=(64, 128, 256, 256)),
    "eighth": VAEConfig(block_out_channels=(16, 32, 64, 64), num_groups=16),
}
MIB = 1 << 20


def pair(config: VAEConfig) -> tuple[CausalVideoVAE, Any]:
    """Ours and diffusers' with the same random weights, ready to infer and tiling nothing."""
    torchvision_shim.install()
    from tests.model.vae_pair import untiled_reference

    reference = untiled_reference(config)
    ours = CausalVideoVAE(config)
    ours.load_state_dict(reference.state_dict(), assign=True)
    return ours.eval().requires_grad_(False), reference.eval().requires_grad_(False)


def clip_of(num_frames: int, side_px: int) -> Tensor:
    """A smooth moving pattern: random pixels would be no harder, but this is what a video is."""
    coarse = torch.rand(1, 3, num_frames // 8 + 2, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return torch.nn.functional.interpolate(coarse, (num_frames, side_px, side_px), mode="trilinear")


@torch.no_grad()
def cpu_s(ours: CausalVideoVAE, reference: Any, video: Tensor, rounds: int) -> tuple[float, float]:
    """Least CPU seconds of ours and of the reference, for encoding and decoding; every output is compared."""
    config = ours.config
    sides_px = video.shape[3:]
    cells = (video.shape[2] // config.temporal_compression + 1, *(px // config.spatial_compression for px in sides_px))
    latent = torch.randn(1, config.latent_channels, *cells, generator=torch.Generator().manual_seed(2))
    sides: tuple[Callable[[], tuple[Tensor, Tensor]], ...] = (
        lambda: (ours.encode(video).mean, ours.decode(latent)),
        lambda: (reference.encode(video).latent_dist.mean, reference.decode(latent).sample),
    )
    allowed = (1e-5, 2e-5)  # of float32 at these widths: either side is 5e-6 and 8e-6 from float64
    least = [float("inf"), float("inf")]
    for _ in range(rounds):
        results = []
        for at, side in enumerate(sides):
            started_s = time.process_time()
            results.append(side())
            least[at] = min(least[at], time.process_time() - started_s)
        for found, expected, most in zip(*results, allowed, strict=True):
            error = ((found - expected).norm() / expected.norm()).item()
            assert error < most, f"off by {error:.1e} of the reference's output"
    return least[0], least[1]


@torch.no_grad()
def peak_bytes(who: str, widths: str, num_frames: int, side_px: int) -> int:
    """Of this process; `who` is ours or diffusers, with `-tiled` after it to tile in time (and stream, where ours)."""
    ours, reference = pair(WIDTHS[widths])
    tiled = who.endswith("-tiled")
    tiling = Tiling(0, 0, TILINGS["diffusers"].tile_frames, TILINGS["diffusers"].overlap_frames) if tiled else None
    reference.use_framewise_encoding = reference.use_framewise_decoding = tiled
    _encode_and_decode(who, ours, reference, clip_of(5, 32), tiling)  # what libraries set up once is nobody's
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again from here
    _encode_and_decode(who, ours, reference, clip_of(num_frames, side_px), tiling)
    return _resident("VmHWM") - before


def _encode_and_decode(who: str, ours: CausalVideoVAE, reference: Any, video: Tensor, tiling: Tiling | None) -> None:
    if who.startswith("diffusers"):
        reference.decode(reference.encode(video).latent_dist.mean)
    elif tiling:
        for _ in ours.decode_pieces(ours.encode_pieces(video.split(1, dim=2), tiling).mean, tiling):
            pass
    else:
        ours.decode(ours.encode(video).mean)


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def peak_of(who: str, widths: str, num_frames: int, side_px: int) -> float:
    """`peak_bytes` of a process of its own, in MiB."""
    command = [sys.executable, "-m", "tests.bench.vae", "--widths", widths, "--peak", who]
    outcome = subprocess.run(
        [*command, "--frames", str(num_frames), "--side", str(side_px)], check=True, capture_output=True, text=True
    )
    return int(outcome.stdout.split()[-1]) / MIB


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.vae", description=__doc__)
    parser.add_argument("--widths", choices=list(WIDTHS), default="half", help="channels; the released model: full")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--frames", type=int, default=17, help="of a clip")
    parser.add_argument("--side", type=int, default=64, help="px of a clip; an image has twice as many")
    parser.add_argument("--curve", type=int, nargs="*", default=[], help="lengths to measure peaks at, at `eighth`")
    parser.add_argument("--peak-frames", type=int, default=33, help="of the clip whose peak is measured")
    parser.add_argument("--peak-side", type=int, default=128, help="px of that clip")
    parser.add_argument("--peak", default="", help="measure the peak of ours, diffusers, ours-tiled, diffusers-tiled")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.peak:
        print(peak_bytes(options.peak, options.widths, options.frames, options.side))
        return 0
    ours, reference = pair(WIDTHS[options.widths])
    found = {}
    for name, video in (("image", clip_of(1, 2 * options.side)), ("clip", clip_of(options.frames, options.side))):
        our_s, their_s = cpu_s(ours, reference, video, options.rounds)
        print(f"{name} {list(video.shape)}: ours {our_s:.2f} s of CPU, diffusers {their_s:.2f} s", flush=True)
        found[f"ratio_{name}"] = our_s / their_s
    peaks = [peak_of(who, options.widths, options.peak_frames, options.peak_side) for who in ("ours", "diffusers")]
    size = f"{options.peak_frames} frames of {options.peak_side} px"
    print(f"peak of {size}: ours {peaks[0]:.0f} MiB, diffusers {peaks[1]:.0f} MiB", flush=True)
    found["memory_ratio"] = peaks[0] / peaks[1]
    for num_frames in options.curve:
        sides = ("ours-tiled", "diffusers-tiled", "ours", "diffusers")
        row = {who: round(peak_of(who, "eighth", num_frames, options.peak_side)) for who in sides}
        print(f"{num_frames} frames of {options.peak_side} px, MiB: {row}", flush=True)
    print(json.dumps({name: round(value, 3) for name, value in found.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
