"""A small VAE of ours and diffusers' with the same random weights, for the tests of the VAE and its tiles."""

from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo

from model.presets import VAEConfig
from model.vae import CausalVideoVAE

SMALL = VAEConfig(block_out_channels=(8, 8, 16, 16), num_layers=2, num_groups=4)


def untiled_reference(config: VAEConfig) -> Any:
    """diffusers' VAE of these sizes, seeded; it tiles nothing until it is told to (else clips over 16 frames)."""
    torch.manual_seed(0)
    reference: Any = AutoencoderKLHunyuanVideo(
        block_out_channels=config.block_out_channels,  # pyright: ignore[reportArgumentType]
        layers_per_block=config.num_layers,
        norm_num_groups=config.num_groups,
        latent_channels=config.latent_channels,
    ).eval()
    reference.use_framewise_encoding = reference.use_framewise_decoding = False
    return reference


def vae_pair(config: VAEConfig = SMALL) -> tuple[CausalVideoVAE, Any]:
    """Ours and the reference with the same weights."""
    reference = untiled_reference(config)
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    ours = CausalVideoVAE(config).eval()
    ours.load_state_dict(reference.state_dict(), strict=True)
    return ours, reference
