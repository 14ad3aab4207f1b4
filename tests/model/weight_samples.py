"""Small networks with random weights, and what diffusers' own classes call the same, for the tests of weights."""

import functools
from typing import Any

from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from diffusers.models.transformers.transformer_hunyuan_video import HunyuanVideoTransformer3DModel
from torch import Tensor, nn

from model.presets import DiTConfig, VAEConfig
from model.weight_config import Config, diffusers_config
from tests.model.seeded import randomised

DIT = DiTConfig(
    hidden_size=64,
    num_heads=2,
    num_dual_blocks=2,
    num_single_blocks=2,
    rope_dims=(8, 12, 12),
    text_width=24,
    pooled_width=12,
)
VAE = VAEConfig(block_out_channels=(16, 32, 48, 48), num_layers=1, num_groups=8)


def random_network(config: Config, seed: int = 0) -> nn.Module:
    """Every parameter random, so that a wrong place shows; a new DiT has many zeros."""
    return randomised(config, seed=seed).eval()


@functools.cache
def _state(config: Config, seed: int) -> dict[str, Tensor]:
    return random_network(config, seed).state_dict()


def random_state(config: Config, seed: int = 0) -> dict[str, Tensor]:
    """The weights of `random_network`, to do with as one likes."""
    return {name: tensor.clone() for name, tensor in _state(config, seed).items()}


def reference(config: Config) -> Any:
    """diffusers' network of the same sizes, by diffusers' own reading of a configuration."""
    said = {name: value for name, value in diffusers_config(config).items() if name != "_class_name"}
    kind = HunyuanVideoTransformer3DModel if isinstance(config, DiTConfig) else AutoencoderKLHunyuanVideo
    return kind.from_config(said)
