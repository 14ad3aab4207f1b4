"""Sizes that cannot work are refused where they are stated."""

import pytest
import torch

from model.dit import VideoDiT
from model.presets import DIT_PRESETS, VAE_PRESETS, DiTConfig, VAEConfig
from model.vae import CausalVideoVAE


@pytest.mark.parametrize("name", sorted(VAE_PRESETS))
def test_every_vae_preset_compresses_by_four_and_eight(name: str) -> None:
    config = VAE_PRESETS[name]
    assert (config.temporal_compression, config.spatial_compression, config.latent_channels) == (4, 8, 16)


@pytest.mark.parametrize("name", sorted(DIT_PRESETS))
def test_every_dit_preset_takes_what_the_vae_gives(name: str) -> None:
    assert DIT_PRESETS[name].latent_channels == 16


def test_tiny_presets_are_tiny() -> None:
    with torch.device("meta"):
        networks = [CausalVideoVAE(VAE_PRESETS["tiny"]), VideoDiT(DIT_PRESETS["tiny"])]
    counts = [sum(parameter.numel() for parameter in network.parameters()) for network in networks]
    assert counts == [1_780_083, 2_861_888]


def test_channels_that_do_not_split_into_groups_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[20\] are not multiples of num_groups 8"):
        VAEConfig(block_out_channels=(16, 20, 32, 32), num_groups=8)


def test_blocks_and_strides_must_match() -> None:
    with pytest.raises(ValueError, match="3 blocks need 2 strides, got 3"):
        VAEConfig(block_out_channels=(32, 32, 32))


def test_rope_must_fill_the_head_with_pairs() -> None:
    with pytest.raises(ValueError, match=r"rope_dims \(16, 56, 54\) must be even and sum to the head width 128"):
        DiTConfig(rope_dims=(16, 56, 54))
    with pytest.raises(ValueError, match="must be even"):
        DiTConfig(rope_dims=(15, 57, 56))


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="hidden_size 3072 is not a multiple of num_heads 23"):
        DiTConfig(num_heads=23)
