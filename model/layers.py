"""The parts the diffusion transformer is made of, for samples packed without padding.

Samples of any size lie one after the other in a row of tokens; `lengths` says where one ends and the next begins.
Linear layers and norms do not care where that is. Modulation gives each token the vector of its group (see
model/rows.py: mostly a whole sample), attention stays inside a sample:

    row_SD   [ sample 0 ........ | sample 1 .. | sample 2 .. ]
                 one SDPA call     one SDPA call for the run of equal lengths

So no token, key or product is spent on padding, and no S x S mask exists (DiT, arXiv 2212.09748, for the modulation).

Legend: B samples, G groups, S tokens of the row, D width, H heads, E channels of one head.
"""

import math
from collections.abc import Callable, Sequence
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NORM_EPS = 1e-6
SINUSOID_CHANNELS = 256
SINUSOID_MAX_PERIOD = 10_000.0


def split_heads(qkv: Tensor, num_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value [S, H, E] of a fused projection [S, 3 * H * E]."""
    q, k, v = (part.unflatten(-1, (num_heads, -1)) for part in qkv.chunk(3, dim=-1))
    return q, k, v


def _by_group(
    formula: Callable[..., Tensor], rows_SD: Sequence[Tensor], vectors_GD: Sequence[Tensor], lengths: Sequence[int]
) -> Tensor:
    """The formula on rows and their groups' vectors, in views that broadcast: no vector is copied out per token.

    Neighbours of equal length are one call. Against vectors copied out per token, autograd keeps no [S, D] of them, and
    forward and backward take 0.44 to 0.84 of the CPU time for 2 to 16 groups of 64 to 1024 tokens (1.2 for 64 of 80).
    """
    runs = [(length, sum(1 for _ in run)) for length, run in groupby(lengths)]
    if len(runs) == 1:  # no split, whose gradient is a copy
        shaped = (row.unflatten(0, (len(lengths), lengths[0])) for row in rows_SD)
        return formula(*shaped, *(vector[:, None] for vector in vectors_GD)).flatten(0, 1)
    rows = zip(*(row.split([length * count for length, count in runs]) for row in rows_SD), strict=True)
    vectors = zip(*(vector.split([count for _, count in runs]) for vector in vectors_GD), strict=True)
    parts = zip(runs, rows, vectors, strict=True)
    return torch.cat([_by_group(formula, row, vector, [length] * count) for (length, count), row, vector in parts])


def modulate(x_SD: Tensor, shift_GD: Tensor, scale_GD: Tensor, lengths: Sequence[int]) -> Tensor:
    """LayerNorm(x) * (1 + scale) + shift, with the shift and scale of each token's group."""
    x = F.layer_norm(x_SD, x_SD.shape[-1:], eps=NORM_EPS)
    return _by_group(lambda x, scale, shift: torch.addcmul(shift, x, scale), [x], [1 + scale_GD, shift_GD], lengths)


def add_gated(residual_SD: Tensor, x_SD: Tensor, gate_GD: Tensor, lengths: Sequence[int]) -> Tensor:
    """residual + gate * x, with the gate of each token's group."""
    return _by_group(torch.addcmul, [residual_SD, x_SD], [gate_GD], lengths)


def sinusoid(t_B: Tensor, channels: int = SINUSOID_CHANNELS) -> Tensor:
    """[cos(t f), sin(t f)] with f = 10000^(-2i / channels) for i < channels / 2, float32 [B, channels]."""
    index = torch.arange(channels // 2, dtype=torch.float32, device=t_B.device)
    angle = torch.outer(t_B.float(), torch.exp(index * (-math.log(SINUSOID_MAX_PERIOD) / (channels // 2))))
    return torch.cat((angle.cos(), angle.sin()), dim=-1)


class ScalarEmbedder(nn.Module):
    """One number per sample (1000 times the flow time or guidance) to a vector: sinusoid, linear, SiLU, linear."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(SINUSOID_CHANNELS, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t_B: Tensor) -> Tensor:
        """[B] to [B, width]."""
        return self.mlp(sinusoid(t_B).to(next(self.parameters()).dtype))


class PooledEmbedder(nn.Module):
    """The CLIP vector of the prompt to the width of the network: linear, SiLU, linear."""

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__()
        self.in_layer = nn.Linear(in_width, width)
        self.out_layer = nn.Linear(width, width)

    def forward(self, pooled_BD: Tensor) -> Tensor:
        """[B, in_width] to [B, width]."""
        return self.out_layer(F.silu(self.in_layer(pooled_BD)))


class TextMeanEmbedder(nn.Module):
    """The mean text state to the width of the network: linear, SiLU, linear."""

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(in_width, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, mean_BD: Tensor) -> Tensor:
        """[B, in_width] to [B, width]."""
        return self.linear_2(F.silu(self.linear_1(mean_BD)))


class Modulation(nn.Module):
    """`num_vectors` vectors per sample from the conditioning vector: SiLU, linear. Starts at zero (adaLN-Zero)."""

    def __init__(self, width: int, num_vectors: int) -> None:
        super().__init__()
        self.num_vectors = num_vectors
        self.linear = nn.Linear(width, num_vectors * width)

    def forward(self, vec_BD: Tensor) -> tuple[Tensor, ...]:
        """[B, D] to `num_vectors` tensors [B, D]."""
        return self.linear(F.silu(vec_BD)).chunk(self.num_vectors, dim=-1)


class MLP(nn.Module):
    """Linear, activation, linear."""

    def __init__(self, width: int, hidden: int, activation: nn.Module) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.act = activation
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] to [..., width]."""
        return self.fc2(self.act(self.fc1(x)))
