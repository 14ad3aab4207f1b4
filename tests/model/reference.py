"""The transformer beside diffusers' implementation of the released one, with the same random weights."""

import re
from collections.abc import Sequence

import torchvision_shim

torchvision_shim.install()

import torch  # noqa: E402
from diffusers.models.transformers.transformer_hunyuan_video import HunyuanVideoTransformer3DModel  # noqa: E402
from torch import Tensor  # noqa: E402

from model.dit import VideoDiT  # noqa: E402
from model.presets import DiTConfig  # noqa: E402

SIZES = {
    "hidden_size": 64,
    "num_heads": 4,
    "num_dual_blocks": 2,
    "num_single_blocks": 2,
    "rope_dims": (4, 6, 6),
    "text_width": 24,
    "pooled_width": 12,
}
# Facts about the two naming schemes, written for this test: released name -> the reference's names, with
# "split" for fused rows and "swap" for the one pair of halves stored the other way round.
_ATTENTION = ("attn.to_q", "attn.to_k", "attn.to_v")
_TOP = {
    "img_in.proj": "x_embedder.proj",
    "time_in.mlp.0": "time_text_embed.timestep_embedder.linear_1",
    "time_in.mlp.2": "time_text_embed.timestep_embedder.linear_2",
    "guidance_in.mlp.0": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.mlp.2": "time_text_embed.guidance_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "txt_in.input_embedder": "context_embedder.proj_in",
    "txt_in.t_embedder.mlp.0": "context_embedder.time_text_embed.timestep_embedder.linear_1",
    "txt_in.t_embedder.mlp.2": "context_embedder.time_text_embed.timestep_embedder.linear_2",
    "txt_in.c_embedder.linear_1": "context_embedder.time_text_embed.text_embedder.linear_1",
    "txt_in.c_embedder.linear_2": "context_embedder.time_text_embed.text_embedder.linear_2",
    "final_layer.linear": "proj_out",
    "final_layer.adaLN_modulation.1": "norm_out.linear",
}
_BLOCKS = {
    "txt_in.individual_token_refiner.blocks": (
        "context_embedder.token_refiner.refiner_blocks",
        {
            "norm1": "norm1",
            "norm2": "norm2",
            "self_attn_qkv": _ATTENTION,
            "self_attn_proj": "attn.to_out.0",
            "mlp.fc1": "ff.net.0.proj",
            "mlp.fc2": "ff.net.2",
            "adaLN_modulation.1": "norm_out.linear",
        },
    ),
    "double_blocks": (
        "transformer_blocks",
        {
            "img_mod.linear": "norm1.linear",
            "txt_mod.linear": "norm1_context.linear",
            "img_attn_qkv": _ATTENTION,
            "txt_attn_qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
            "img_attn_q_norm": "attn.norm_q",
            "img_attn_k_norm": "attn.norm_k",
            "txt_attn_q_norm": "attn.norm_added_q",
            "txt_attn_k_norm": "attn.norm_added_k",
            "img_attn_proj": "attn.to_out.0",
            "txt_attn_proj": "attn.to_add_out",
            "img_mlp.fc1": "ff.net.0.proj",
            "img_mlp.fc2": "ff.net.2",
            "txt_mlp.fc1": "ff_context.net.0.proj",
            "txt_mlp.fc2": "ff_context.net.2",
        },
    ),
    "single_blocks": (
        "single_transformer_blocks",
        {
            "linear1": (*_ATTENTION, "proj_mlp"),
            "linear2": "proj_out",
            "q_norm": "attn.norm_q",
            "k_norm": "attn.norm_k",
            "modulation.linear": "norm.linear",
        },
    ),
}


def to_reference(tensors: dict[str, Tensor], width: int) -> dict[str, Tensor]:
    """Tensors (weights or gradients) under released names, under the reference's names."""
    renamed: dict[str, Tensor] = {}
    for full_name, tensor in tensors.items():
        name, kind = full_name.rsplit(".", 1)
        match = re.fullmatch(r"(.+blocks)\.(\d+)\.(.+)", name)
        if match is None:
            target, prefix = _TOP[name], ""
        else:
            reference, table = _BLOCKS[match[1]]
            target, prefix = table[match[3]], f"{reference}.{match[2]}."
        if isinstance(target, tuple):
            rows = [width] * 3 + [tensor.shape[0] - 3 * width] * (len(target) - 3)
            for one, piece in zip(target, tensor.split(rows), strict=True):
                renamed[f"{prefix}{one}.{kind}"] = piece
        else:
            swap = name == "final_layer.adaLN_modulation.1"
            renamed[f"{prefix}{target}.{kind}"] = torch.cat(tensor.chunk(2)[::-1]) if swap else tensor
    return renamed


def randomised(config: DiTConfig) -> VideoDiT:
    """A network whose every parameter takes part: a fresh one would answer zero."""
    torch.manual_seed(0)
    model = VideoDiT(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.03)
    return model


def reference_of(ours: VideoDiT, token_replace: bool = False) -> HunyuanVideoTransformer3DModel:
    """diffusers' network with the weights of ours, for text-to-video or for image-to-video."""
    config = ours.config
    reference = HunyuanVideoTransformer3DModel(
        num_attention_heads=config.num_heads,
        attention_head_dim=config.head_dim,
        num_layers=config.num_dual_blocks,
        num_single_layers=config.num_single_blocks,
        guidance_embeds=config.guidance,
        text_embed_dim=config.text_width,
        pooled_projection_dim=config.pooled_width,
        rope_axes_dim=config.rope_dims,
        image_condition_type="token_replace" if token_replace else None,
    )
    reference.load_state_dict(to_reference(ours.state_dict(), config.hidden_size), strict=True)
    return reference


def inputs(
    config: DiTConfig, sizes: Sequence[tuple[int, int, int]], lengths: Sequence[int]
) -> tuple[list[Tensor], Tensor, list[Tensor], Tensor]:
    """Latents, times, texts and pooled vectors of seeded random numbers."""
    generator = torch.Generator().manual_seed(1)
    latents = [torch.randn(16, *size, generator=generator) for size in sizes]
    text = [torch.randn(length, config.text_width, generator=generator) for length in lengths]
    pooled = torch.randn(len(sizes), config.pooled_width, generator=generator)
    return latents, torch.rand(len(sizes), generator=generator) * 1000, text, pooled


def answer(
    reference: HunyuanVideoTransformer3DModel,
    latents: Sequence[Tensor],
    t: Tensor,
    text: Sequence[Tensor],
    pooled: Tensor,
    guidance: Tensor | None = None,
    padded_length: int = 12,
) -> list[Tensor]:
    """The reference's velocities of latents of one size, its text padded with what must not matter."""
    padded = torch.full((len(text), padded_length, text[0].shape[1]), 7.0)
    mask = torch.zeros(len(text), padded_length, dtype=torch.bool)
    for row, states in enumerate(text):
        padded[row, : len(states)] = states
        mask[row, : len(states)] = True
    return list(reference(torch.stack(list(latents)), t, padded, mask, pooled, guidance=guidance, return_dict=False)[0])
