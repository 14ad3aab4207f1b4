"""The transformer beside diffusers' implementation of the released one, with the same random weights."""

from collections.abc import Sequence

import torchvision_shim

torchvision_shim.install()

import torch  # noqa: E402
from diffusers.models.transformers.transformer_hunyuan_video import HunyuanVideoTransformer3DModel  # noqa: E402
from torch import Tensor  # noqa: E402

from model.dit import VideoDiT  # noqa: E402
from model.keys import Layout  # noqa: E402
from model.presets import DiTConfig  # noqa: E402
from model.weights import layout_links  # noqa: E402

SIZES = {
    "hidden_size": 64,
    "num_heads": 4,
    "num_dual_blocks": 2,
    "num_single_blocks": 2,
    "rope_dims": (4, 6, 6),
    "text_width": 24,
    "pooled_width": 12,
}


def to_reference(tensors: dict[str, Tensor], config: DiTConfig) -> dict[str, Tensor]:
    """Tensors (weights or gradients) under released names, under the reference's names."""
    links = {link.name: link for link in layout_links(config, Layout.DIFFUSERS)}
    laid_out = ((links[name], links[name].split(tensor)) for name, tensor in tensors.items())
    return {part: piece for link, pieces in laid_out for part, piece in zip(link.parts, pieces, strict=True)}


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
    reference.load_state_dict(to_reference(ours.state_dict(), config), strict=True)
    return reference


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
