"""Sizes that cannot work are refused where they are stated."""

import pytest
import torch

import model.presets
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


def _count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_presets_have_the_sizes_that_their_table_states() -> None:
    with torch.device("meta"):
        dits = {name: _count(VideoDiT(config)) for name, config in DIT_PRESETS.items()}
        vaes = {name: _count(CausalVideoVAE(config)) for name, config in VAE_PRESETS.items()}
    assert dits == {
        "tiny": 2_861_888,
        "50m": 47_728_448,
        "300m": 300_244_544,
        "1b": 1_029_792_832,
        "full": 12_821_012_544,
    }
    assert vaes == {"tiny": 1_780_083, "shapes": 751_323, "full": 246_478_803}
    assert model.presets.__doc__ is not None
    for count in (*dits.values(), *vaes.values()):
        assert f"{count:,}" in model.presets.__doc__


@pytest.mark.parametrize("name", sorted(set(DIT_PRESETS) - {"tiny"}))
def test_presets_between_tiny_and_full_keep_the_released_head_and_text_widths(name: str) -> None:
    config, full = DIT_PRESETS[name], DIT_PRESETS["full"]
    assert (config.head_dim, config.rope_dims) == (128, (16, 56, 56))
    assert (config.text_width, config.pooled_width) == (full.text_width, full.pooled_width)
    assert config.num_single_blocks == 2 * config.num_dual_blocks


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
