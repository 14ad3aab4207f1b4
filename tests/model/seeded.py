"""Networks and inputs of seeded random numbers; imports no reference, which takes seconds."""

from collections.abc import Sequence

import torch
from torch import Tensor

from model.dit import VideoDiT
from model.presets import DiTConfig, VAEConfig
from model.vae import CausalVideoVAE


def randomised(config: DiTConfig | VAEConfig, spread: float = 0.03, seed: int = 0) -> VideoDiT | CausalVideoVAE:
    """A network whose every parameter takes part: a fresh transformer would answer zero."""
    torch.manual_seed(seed)
    network = VideoDiT(config) if isinstance(config, DiTConfig) else CausalVideoVAE(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * spread)
    return network


def inputs(
    config: DiTConfig, sizes: Sequence[tuple[int, int, int]], lengths: Sequence[int]
) -> tuple[list[Tensor], Tensor, list[Tensor], Tensor]:
    """Latents, times, texts and pooled vectors of a transformer."""
    generator = torch.Generator().manual_seed(1)
    latents = [torch.randn(16, *size, generator=generator) for size in sizes]
    text = [torch.randn(length, config.text_width, generator=generator) for length in lengths]
    pooled = torch.randn(len(sizes), config.pooled_width, generator=generator)
    return latents, torch.rand(len(sizes), generator=generator) * 1000, text, pooled
