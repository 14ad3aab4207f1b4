"""Latents and texts that follow from a clip's name: what objectives are tested with, without a VAE or encoders."""

import torch
from torch import Tensor

from model.presets import DIT_PRESETS
from model.text import TextState
from training.clip_tensors import generator_of
from training.data import PackedClip, seed_of

TINY = DIT_PRESETS["tiny"]


class SeededSource:
    """Latents with a small deviation and texts, all told apart by clip and variant."""

    may_fork = True

    def latent(self, clip: PackedClip, seed: int | None) -> Tensor:
        shape = (16, (clip.num_frames - 1) // 4 + 1, clip.height // 8, clip.width // 8)
        mean = torch.randn(shape, generator=generator_of(seed_of("mean", clip.clip_id)))
        return mean if seed is None else mean + 0.1 * torch.randn(shape, generator=generator_of(seed))

    def text(self, clip: PackedClip, variant: int) -> TextState:
        generator = generator_of(seed_of("text", clip.clip_id, variant))
        states = torch.randn(3 + variant, TINY.text_width, generator=generator).half()
        return TextState(states, torch.randn(TINY.pooled_width, generator=generator).half())

    def empty_text(self, clip: PackedClip) -> TextState:
        value = 1.0 if clip.num_frames == 1 else 2.0
        return TextState(torch.full((1, TINY.text_width), value), torch.full((TINY.pooled_width,), value))


def clip_of(name: str, num_frames: int = 1, size_px: int = 32) -> PackedClip:
    """An image or a video of a curation stage of that name."""
    source = "image" if num_frames == 1 else "video"
    return PackedClip(name, source, "shard", size_px, size_px, num_frames, {"short": name}, 8.0, {})


CLIPS = [clip_of("a"), clip_of("b", 5), clip_of("c", size_px=48), clip_of("d", 9)]
