"""Sizes of a network, found from the shapes of its weights, and what diffusers' `config.json` says of them.

Shapes tell width, blocks, MLP, patch, text widths, whether guidance is embedded, and, by the width of a query norm,
the heads. Three things do not show in shapes: how a head's channels are shared out over time, height and width, the
theta of the rotation, and the VAE's strides and number of norm groups. They are taken from the first that has them:

    the file's own metadata (what we export) > `config.json` beside it (what diffusers exports) > the preset with
    the same head width (DiT) or the same channels (VAE); with none of these, ValueError says what to give
"""

import json
import re
from dataclasses import asdict, replace
from typing import Any

from model.keys import Layout, Naming, Network, Shape, dit_names
from model.presets import DIT_PRESETS, VAE_PRESETS, DiTConfig, VAEConfig
from model.weight_files import StoredWeights

METADATA_KEY = "dailies_config"
DIFFUSERS_CLASSES = {
    Network.DIT: "HunyuanVideoTransformer3DModel",
    Network.VAE: "AutoencoderKLHunyuanVideo",
}

Config = DiTConfig | VAEConfig


def network_of(config: Config) -> Network:
    """Which network a configuration is of."""
    return Network.DIT if isinstance(config, DiTConfig) else Network.VAE


def preset_name(config: Config) -> str | None:
    """Name of the preset that equals a configuration; a DiT that differs in guidance alone is said to."""
    presets: dict[str, Any] = {**(DIT_PRESETS if isinstance(config, DiTConfig) else VAE_PRESETS)}
    for name, preset in presets.items():
        if preset == config:
            return name
        if isinstance(config, DiTConfig) and replace(preset, guidance=config.guidance) == config:
            return f"{name} {'with' if config.guidance else 'without'} guidance embedding"
    return None


def config_metadata(config: Config) -> dict[str, str]:
    """What an exported safetensors file says of its network in its header."""
    return {METADATA_KEY: json.dumps({"network": network_of(config).value, **asdict(config)})}


def config_from_row(row: dict[str, Any]) -> Config:
    """A configuration from JSON: its fields and `network`.

    Raises:
        TypeError: a field is unknown.
        ValueError: sizes that do not fit together.
    """
    fields = {name: _tuples(value) for name, value in row.items() if name != "network"}
    return DiTConfig(**fields) if row["network"] == Network.DIT else VAEConfig(**fields)


def find_config(weights: StoredWeights, naming: Naming) -> Config:
    """The configuration of a network by its shapes, and by metadata, `config.json` or presets where shapes are silent.

    Raises:
        ValueError: a tensor that decides a size is missing (names it), or what shapes do not show is not known.
    """
    if METADATA_KEY in weights.metadata:
        return config_from_row(json.loads(weights.metadata[METADATA_KEY]))
    said = weights.config or {}
    if said.get("_class_name") != DIFFUSERS_CLASSES[naming.network]:
        said = {}
    return _dit_config(weights, naming, said) if naming.network is Network.DIT else _vae_config(weights, naming, said)


def _dit_config(weights: StoredWeights, naming: Naming, said: Any) -> DiTConfig:
    def shape(name: str) -> Shape:
        return _shape(weights, dit_names(name, naming.layout, naming.prefix)[0])

    def count(blocks: str, module: str) -> int:
        first = dit_names(f"{blocks}.0.{module}.weight", naming.layout, naming.prefix)[0]
        return _count(weights, first.partition(".0.")[0] + ".")

    num_dual = count("double_blocks", "img_attn_proj")
    block = "double_blocks.0.img_attn" if num_dual else "single_blocks.0."
    norm = "double_blocks.0.img_attn_q_norm.weight" if num_dual else "single_blocks.0.q_norm.weight"
    width, channels, *patch = shape("img_in.proj.weight")
    head_dim = shape(norm)[0]
    hidden = shape("double_blocks.0.img_mlp.fc1.weight")[0] if num_dual else shape(f"{block}linear2.weight")[1] - width
    guidance = dit_names("guidance_in.mlp.0.weight", naming.layout, naming.prefix)[0] in weights.tensors
    rope_dims = said.get("rope_axes_dim") or _rope_dims(weights, head_dim)
    return DiTConfig(
        hidden_size=width,
        num_heads=width // head_dim,
        num_dual_blocks=num_dual,
        num_single_blocks=count("single_blocks", "linear2"),
        num_refiner_blocks=count("txt_in.individual_token_refiner.blocks", "self_attn_proj"),
        mlp_ratio=hidden // width,
        patch_size=_tuples(patch),
        latent_channels=channels,
        rope_dims=_tuples(rope_dims),
        rope_theta=said.get("rope_theta", DiTConfig.rope_theta),
        text_width=shape("txt_in.input_embedder.weight")[1],
        pooled_width=shape("vector_in.in_layer.weight")[1],
        guidance=guidance,
    )


def _rope_dims(weights: StoredWeights, head_dim: int) -> tuple[int, int, int]:
    for preset in DIT_PRESETS.values():
        if preset.head_dim == head_dim:
            return preset.rope_dims
    raise ValueError(
        f"{weights.path}: no preset has heads of {head_dim} channels, so how they turn over time, height and width is "
        f"not known; give the configuration, or a config.json with rope_axes_dim beside the file"
    )


def _vae_config(weights: StoredWeights, naming: Naming, said: Any) -> VAEConfig:
    prefix, comfyui = naming.prefix, naming.layout is Layout.COMFYUI
    blocks, layers = ("encoder.down.", "block") if comfyui else ("encoder.down_blocks.", "resnets")
    num_blocks = _count(weights, prefix + blocks)
    channels = tuple(_shape(weights, f"{prefix}{blocks}{i}.{layers}.0.conv1.conv.weight")[0] for i in range(num_blocks))
    in_channels = _shape(weights, f"{prefix}encoder.conv_in.conv.weight")[1]
    latent_channels = _shape(weights, f"{prefix}decoder.conv_in.conv.weight")[1]
    num_layers = _count(weights, f"{prefix}{blocks}0.{layers}.")
    like = [preset for preset in VAE_PRESETS.values() if preset.block_out_channels == channels]
    if not like and "norm_num_groups" not in said:
        raise ValueError(
            f"{weights.path}: no preset has blocks of {list(channels)} channels, so its norm groups are not known; "
            f"give the configuration, or a config.json with norm_num_groups beside the file"
        )
    known = like[0] if like else VAEConfig(channels, num_groups=said["norm_num_groups"])
    return replace(
        known,
        num_layers=num_layers,
        num_groups=said.get("norm_num_groups", known.num_groups),
        in_channels=in_channels,
        latent_channels=latent_channels,
        scaling_factor=said.get("scaling_factor", known.scaling_factor),
    )


def _shape(weights: StoredWeights, name: str) -> Shape:
    if name not in weights.tensors:
        raise ValueError(f"{weights.path}: tensor '{name}' is missing, which says the size of the network")
    return weights.tensors[name].shape


def _count(weights: StoredWeights, before: str) -> int:
    """One more than the largest number that follows `before` in a name."""
    found = (re.match(rf"{re.escape(before)}(\d+)\.", name) for name in weights.tensors)
    return max((int(match[1]) + 1 for match in found if match), default=0)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def diffusers_config(config: Config, image_to_video: bool = False) -> dict[str, Any]:
    """What `config.json` must say so that diffusers builds the same network.

    `image_to_video` marks a DiT trained with a clean first latent frame (token replace).

    Raises:
        ValueError: diffusers' class cannot express the network.
    """
    if isinstance(config, VAEConfig):
        return _diffusers_vae(config)
    time, height, width = config.patch_size
    if height != width:
        raise ValueError(f"diffusers knows square patches only, this network has {config.patch_size}")
    return {
        "_class_name": DIFFUSERS_CLASSES[Network.DIT],
        "in_channels": config.latent_channels,
        "out_channels": config.latent_channels,
        "num_attention_heads": config.num_heads,
        "attention_head_dim": config.head_dim,
        "num_layers": config.num_dual_blocks,
        "num_single_layers": config.num_single_blocks,
        "num_refiner_layers": config.num_refiner_blocks,
        "mlp_ratio": float(config.mlp_ratio),
        "patch_size": height,
        "patch_size_t": time,
        "qk_norm": "rms_norm",
        "guidance_embeds": config.guidance,
        "text_embed_dim": config.text_width,
        "pooled_projection_dim": config.pooled_width,
        "rope_theta": config.rope_theta,
        "rope_axes_dim": list(config.rope_dims),
        "image_condition_type": "token_replace" if image_to_video else None,
    }


def _diffusers_vae(config: VAEConfig) -> dict[str, Any]:
    if config.strides != VAEConfig.strides:
        raise ValueError(f"diffusers' VAE has the strides {VAEConfig.strides}, this network has {config.strides}")
    num_blocks = len(config.block_out_channels)
    return {
        "_class_name": DIFFUSERS_CLASSES[Network.VAE],
        "in_channels": config.in_channels,
        "out_channels": config.in_channels,
        "latent_channels": config.latent_channels,
        "down_block_types": ["HunyuanVideoDownBlock3D"] * num_blocks,
        "up_block_types": ["HunyuanVideoUpBlock3D"] * num_blocks,
        "block_out_channels": list(config.block_out_channels),
        "layers_per_block": config.num_layers,
        "act_fn": "silu",
        "norm_num_groups": config.num_groups,
        "scaling_factor": config.scaling_factor,
        "spatial_compression_ratio": config.spatial_compression,
        "temporal_compression_ratio": config.temporal_compression,
        "mid_block_add_attention": True,
    }
