"""Kernels for packed samples of unequal length that need to know where each sample ends: varlen and flex.

Called through `model.attention.segment_attention`, which describes them. In a file of its own because torch's
FlexAttention and `torch.compiler.disable` import torch's whole compiler: 5 CPU-seconds more for every process.

Legend: S tokens of the row, B samples, H heads, E channels of one head.
"""

from functools import lru_cache
from itertools import accumulate

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from torch.nn.attention.varlen import varlen_attn

FLEX_BLOCK = 128


@torch.compiler.disable()
def by_varlen(q_SHE: Tensor, k_SHE: Tensor, v_SHE: Tensor, lengths: tuple[int, ...]) -> Tensor:
    """One flash-attention call. Raises ValueError for anything but CUDA tensors of 16 bits."""
    if q_SHE.device.type != "cuda" or q_SHE.dtype not in (torch.bfloat16, torch.float16):
        raise ValueError(
            f"attention backend 'varlen' needs CUDA tensors of 16 bits, got {q_SHE.dtype} on {q_SHE.device}; "
            f"'segments' takes anything"
        )
    bounds, longest = _bounds(lengths, q_SHE.device), max(lengths)
    attended = varlen_attn(q_SHE, k_SHE, v_SHE, bounds, bounds, longest, longest)
    assert isinstance(attended, Tensor)
    return attended.flatten(1)


@torch.compiler.disable()
def by_flex(q_SHE: Tensor, k_SHE: Tensor, v_SHE: Tensor, lengths: tuple[int, ...]) -> Tensor:
    """One FlexAttention kernel, compiled on CUDA; on a CPU its plain form, which has no gradients."""
    q, k, v = (rearrange(x, "s h e -> 1 h s e") for x in (q_SHE, k_SHE, v_SHE))
    call = _compiled_flex() if q.device.type == "cuda" else flex_attention
    attended = call(q, k, v, block_mask=block_mask(lengths, q.device))
    assert isinstance(attended, Tensor)
    return rearrange(attended, "1 h s e -> s (h e)")


@lru_cache(maxsize=1)
def _compiled_flex():
    return torch.compile(flex_attention)


# A forward asks for the same lengths in every block, and a training bucket in every step: 16 covers both.
@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _bounds(lengths: tuple[int, ...], device: torch.device) -> Tensor:
    """Where each sample begins, and where the last one ends: int32 [B + 1]."""
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def block_mask(lengths: tuple[int, ...], device: torch.device) -> BlockMask:
    """Which blocks of FLEX_BLOCK x FLEX_BLOCK tokens a query block visits, from the lengths alone.

    torch's own `create_block_mask` first makes the S x S mask (14 GB for a clip of 118,800 tokens); this holds numbers
    per block only.
    """
    total = sum(lengths)
    sample_S = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)).to(device)
    starts = torch.arange(0, total, FLEX_BLOCK, device=device)
    first, last = sample_S[starts], sample_S[(starts + FLEX_BLOCK - 1).clamp_max(total - 1)]
    # Two blocks share a sample where the ranges of samples they touch overlap.
    shared = (first[:, None] <= last) & (first <= last[:, None])
    whole = (first == last) & (starts + FLEX_BLOCK <= total)
    inside = shared & whole[:, None] & whole & (first[:, None] == first)

    def same_sample(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return sample_S[query] == sample_S[key]

    return BlockMask.from_kv_blocks(
        *_listed(shared & ~inside), *_listed(inside), FLEX_BLOCK, same_sample, seq_lengths=(total, total)
    )


def _listed(visited_QK: Tensor) -> tuple[Tensor, Tensor]:
    """How many key blocks each query block visits, and all with those first: int32 [1, 1, Q] and [1, 1, Q, K]."""
    order = torch.argsort(visited_QK.int(), dim=-1, descending=True, stable=True)
    return visited_QK.sum(-1, dtype=torch.int32)[None, None], order.int()[None, None]
