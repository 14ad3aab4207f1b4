"""How well a VAE gives back what it was given: PSNR, SSIM and LPIPS of held-out clips under one written protocol.

    clip --first frames, centre square--> video --encode, posterior's mean, decode, clamp--> decoded, compared with it
         \\--too short or too small for that--> left out, and counted

Two VAEs compare where their protocol is the same to the letter: which clips, which frames, which size, which range of
colour, in tiles or whole. Published PSNR differs by decibels between sets, and between 256 and 720 lines of one set, so
`protocol_of` puts all of it beside the number. PSNR is of a whole clip, then the mean over clips; SSIM and LPIPS are
means over frames, then over clips.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from curation.records import content_id
from model.perceptual import LPIPS
from model.similarity import psnr_db, ssim
from model.tiling import TILINGS, Tiling
from model.vae import CausalVideoVAE
from training.clip_tensors import to_tensor
from training.data import PackedClip, seed_of

TilingName = Literal["none", "original", "diffusers"]


@dataclass(frozen=True)
class Protocol:
    """What of a clip is compared, and how; a video of `num_frames` and a square of `side_px`, or all of it where 0."""

    num_frames: int
    side_px: int
    max_clips: int
    tiling: TilingName

    def fits(self, clip: PackedClip) -> bool:
        return clip.num_frames >= self.num_frames and min(clip.width, clip.height) >= self.side_px

    def cut(self, frames: np.ndarray) -> np.ndarray:
        """The part of a clip's frames [T, H, W, 3] that is compared: the first ones, their centre."""
        side = self.side_px
        if not side:
            return frames[: self.num_frames or None]
        top, left = (frames.shape[1] - side) // 2, (frames.shape[2] - side) // 2
        return frames[: self.num_frames or None, top : top + side, left : left + side]


@dataclass(frozen=True)
class Reconstruction:
    """Means over clips by measure, and which clips they are."""

    values: dict[str, float]
    clips: tuple[PackedClip, ...]
    num_left_out: int  # of the held-out clips, shorter or smaller than the protocol


def compared(vae: CausalVideoVAE, video: Tensor, tiling: Tiling | None, lpips: LPIPS | None) -> dict[str, float]:
    """L1, PSNR, SSIM, and LPIPS where its weights are given, of one video [1, 3, T, H, W] in [-1, 1] and its decoding.

    Decoded from the posterior's mean and clamped to [-1, 1], not rounded to 8 bits.
    """
    latent = vae.encode(video.to(next(vae.parameters()).dtype), tiling).mode()
    decoded = vae.decode(latent, tiling).float().clamp(-1, 1)
    values = {
        "l1": (decoded - video).abs().mean().item(),
        "psnr_db": psnr_db(decoded, video).item(),
        "ssim": ssim(decoded, video).mean().item(),
    }
    return values if lpips is None else values | {"lpips": lpips(decoded, video).mean().item()}


@torch.no_grad()
def reconstruct(
    vae: CausalVideoVAE,
    clips: Sequence[PackedClip],
    pixels: Callable[[PackedClip], np.ndarray],
    protocol: Protocol,
    lpips: LPIPS | None = None,
) -> Reconstruction | None:
    """Measure a VAE on its own device with held-out clips; None where none of them is as large as the protocol.

    Which clips are taken, where there are more than `max_clips`, follows from their ids.
    """
    fitting = sorted(filter(protocol.fits, clips), key=lambda clip: seed_of("reconstruct", clip.clip_id))
    taken = tuple(sorted(fitting[: protocol.max_clips], key=lambda clip: clip.clip_id))
    if not taken:
        return None
    device = next(vae.parameters()).device
    tiling = None if protocol.tiling == "none" else TILINGS[protocol.tiling]
    of_clips = [
        compared(vae, to_tensor(np.ascontiguousarray(protocol.cut(pixels(clip))), device)[None], tiling, lpips)
        for clip in taken
    ]
    means = {name: sum(values[name] for values in of_clips) / len(of_clips) for name in of_clips[0]}
    return Reconstruction(means, taken, len(clips) - len(fitting))


def protocol_of(protocol: Protocol, measured: Reconstruction) -> dict[str, Any]:
    """All that must be the same for two numbers to be compared, in words where they are shorter than code."""
    side, num_frames = protocol.side_px, protocol.num_frames
    return {
        "set": "held-out clips of " + ", ".join(sorted({clip.source for clip in measured.clips})),
        "clips": content_id(*(f"{clip.source}/{clip.clip_id}" for clip in measured.clips)),
        "frames": f"the first {num_frames}" if num_frames else "all",
        "size": f"the centre {side}x{side} px" if side else "whole frames",
        "colour": "RGB in [0, 1] of full range, decoded values clamped and not rounded",
        "latent": "the posterior's mean",
        "tiling": protocol.tiling,
        "means": "PSNR of a clip's pixels, SSIM (Gaussian window of 11 px, each colour), LPIPS of frames; over clips",
    }
