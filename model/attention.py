"""Attention of packed samples: every token attends to all tokens of its own sample, and no S x S mask ever exists.

    row_SHE    [ sample 0 ........ | sample 1 .. | sample 2 .. ]
    segments     one SDPA call       one SDPA call for the run of equal lengths     any device and dtype
    varlen       one flash-attention call; the kernel reads where samples end       CUDA, 16 bits
    flex         one FlexAttention kernel; blocks of 128 x 128 tokens that two      compiled on CUDA; on a CPU in its
                 samples do not share are never visited                             plain form, for tests

Without a name the choice is `segments` where it takes one call, since SDPA has the fastest kernels of a device, and
everywhere but on CUDA in 16 bits; `varlen` for the rest. On a CPU in float32, SDPA's flash kernel reached 60-65 of the
75 GFLOP/s of a matrix product, at 320 and at 1,344 tokens; plain softmax(q k^T) v was no faster forward and backward.

FlexAttention: arXiv 2412.05496. Legend: S tokens of the row, B samples, H heads, E channels of one head.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, groupby
from typing import Literal, get_args

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from torch.nn.attention.varlen import varlen_attn

Backend = Literal["segments", "varlen", "flex"]
FLEX_BLOCK = 128


def segment_attention(
    q_SHE: Tensor, k_SHE: Tensor, v_SHE: Tensor, lengths: Sequence[int], backend: Backend | None = None
) -> Tensor:
    """Softmax attention of every token to all tokens of its own sample; returns [S, H * E].

    Neighbours of equal length share one SDPA call, so callers sort samples by length. Raises ValueError for a backend
    that is not there, or that the device or dtype rules out.
    """
    lengths = tuple(lengths)
    chosen = backend or choose_backend(q_SHE.device, q_SHE.dtype, lengths)
    if chosen == "segments":
        return _by_segments(q_SHE, k_SHE, v_SHE, lengths)
    if chosen == "varlen":
        return _by_varlen(q_SHE, k_SHE, v_SHE, lengths)
    if chosen == "flex":
        return _by_flex(q_SHE, k_SHE, v_SHE, lengths)
    raise ValueError(f"attention backend {chosen!r} is none of {', '.join(get_args(Backend))}")


def choose_backend(device: torch.device, dtype: torch.dtype, lengths: Sequence[int]) -> Backend:
    """The backend for samples of these lengths where none is named."""
    halves = dtype in (torch.bfloat16, torch.float16)
    return "varlen" if device.type == "cuda" and halves and len(set(lengths)) > 1 else "segments"


def _by_segments(q_SHE: Tensor, k_SHE: Tensor, v_SHE: Tensor, lengths: tuple[int, ...]) -> Tensor:
    outputs, start = [], 0
    for length, run in groupby(lengths):
        count = sum(1 for _ in run)
        stop = start + count * length
        q, k, v = (rearrange(x[start:stop], "(b s) h e -> b h s e", b=count) for x in (q_SHE, k_SHE, v_SHE))
        outputs.append(rearrange(F.scaled_dot_product_attention(q, k, v), "b h s e -> (b s) (h e)"))
        start = stop
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


@torch.compiler.disable()
def _by_varlen(q_SHE: Tensor, k_SHE: Tensor, v_SHE: Tensor, lengths: tuple[int, ...]) -> Tensor:
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
def _by_flex(q_SHE: Tensor, k_SHE: Tensor, v_SHE: Tensor, lengths: tuple[int, ...]) -> Tensor:
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
