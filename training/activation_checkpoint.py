"""Trades memory for time: a block's activations are dropped after the forward and computed again in the backward.

Applied from outside, block by block, and undone by nothing: names, weights and results stay what they were.

    none        everything is kept
    selective   results of matrix products and of attention are kept; norms, modulation, activations and rotations,
                which cost little to compute and much to keep, are computed again
    full        only a block's inputs are kept; its forward runs a second time

The selective policy knows that a Linear with a bias, which all of HunyuanVideo's are, is `addmm` and not `mm`: a list
without it recomputes every product. Method: arXiv 1604.06174; selective, arXiv 2205.05198.

Nothing here is random (the networks have no dropout), so no generator is kept.
"""

from enum import StrEnum
from functools import partial
from typing import Any

import torch
import torch.nn.attention.varlen  # registers its operator
from torch import nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from model.dit import VideoDiT
from model.vae_layers import DownBlock, MidBlock, UpBlock

_KEPT = {
    torch.ops.aten.mm.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten.convolution.default,
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_cudnn_attention.default,
    torch.ops.aten._scaled_dot_product_efficient_attention.default,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
    torch.ops.torch_attn._varlen_attn.default,
    torch.ops.higher_order.flex_attention,
}


class Checkpointing(StrEnum):
    """What of a block is kept from the forward to the backward."""

    NONE = "none"
    SELECTIVE = "selective"
    FULL = "full"


def repeated_layers(model: nn.Module) -> list[nn.Module]:
    """What a network is mostly made of: a transformer's blocks, a VAE's layers; each is called as a module."""
    layers: list[nn.Module] = []
    for module in model.modules():
        if isinstance(module, VideoDiT):
            layers += [*module.double_blocks, *module.single_blocks]
        elif isinstance(module, DownBlock | MidBlock | UpBlock):
            layers += module.layers()
    return layers


def apply_checkpointing(model: nn.Module, mode: Checkpointing) -> None:
    """Let every repeated layer keep only what `mode` says. Takes effect where gradients are on.

    Raises ValueError if it was applied before: a block would be computed three times.
    """
    if mode is Checkpointing.NONE:
        return
    options: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}
    if mode is Checkpointing.SELECTIVE:
        options["context_fn"] = partial(create_selective_checkpoint_contexts, _policy)
    for block in repeated_layers(model):
        if getattr(block.forward, "func", None) is checkpoint:
            raise ValueError("activation checkpointing is applied already; build the network anew for another mode")
        block.forward = partial(checkpoint, block.forward, **options)


def _policy(context: Any, operator: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operator in _KEPT else CheckpointPolicy.PREFER_RECOMPUTE
