"""Attention of packed samples: every token attends to all tokens of its own sample, and no S x S mask ever exists.

Legend: S tokens of the row, B samples, H heads, E channels of one head.
"""

from collections.abc import Sequence
from itertools import groupby

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F


def segment_attention(q_SHE: Tensor, k_SHE: Tensor, v_SHE: Tensor, lengths: Sequence[int]) -> Tensor:
    """Softmax attention of every token to all tokens of its own sample; returns [S, H * E].

    Neighbours of equal length share one SDPA call, so callers sort samples by length.
    """
    outputs, start = [], 0
    for length, run in groupby(lengths):
        count = sum(1 for _ in run)
        stop = start + count * length
        q, k, v = (rearrange(x[start:stop], "(b s) h e -> b h s e", b=count) for x in (q_SHE, k_SHE, v_SHE))
        outputs.append(rearrange(F.scaled_dot_product_attention(q, k, v), "b h s e -> (b s) (h e)"))
        start = stop
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)
