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
from itertools import groupby
from typing import Literal, get_args

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

Backend = Literal["segments", "varlen", "flex"]


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
    if chosen in get_args(Backend):
        from model import packed_kernels  # imports torch's compiler: seconds that a process without them need not wait

        by_kernel = packed_kernels.by_varlen if chosen == "varlen" else packed_kernels.by_flex
        return by_kernel(q_SHE, k_SHE, v_SHE, lengths)
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
