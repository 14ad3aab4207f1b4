"""One sample on several processes: Ulysses sequence parallelism (arXiv 2309.14509) over torch.distributed.

    rank 0  [ share 0 of the tokens, all heads ]                  [ all tokens, heads of rank 0 ]
    rank 1  [ share 1 of the tokens, all heads ]  -- exchange --> [ all tokens, heads of rank 1 ]  --> attention
    ...                                                           ... and back by a second exchange

Attention is the only place where tokens meet, so everything else (projections, MLPs, norms, modulation) works on a
share of the tokens and costs a P-th, and so do its activations. Each group of tokens (model/rows.py) is shared out by
itself; the first `length % P` processes hold one token more. Attention does not mind the order of tokens, since each is
rotated before it travels, so what arrives is only regrouped by sample. Per attention a process sends (P - 1) / P of its
tokens' values four times: as query, key and value, then as result.

Every process calls the network with the same whole inputs and gets the same whole velocities; prompts, refiner and
conditioning vectors, under 1 % of the work at video lengths, are computed by each. Every process takes the same loss;
gradients *averaged* over the processes, as DDP and FSDP do, are then those of a single process.

    with sequence_parallel(dit):                                     with sequence_parallel(dit):
        (latent,) = sample(dit, [shape], ...)                            loss(dit(...)).backward()
                                                                     average_gradients(dit)

Legend: S tokens, H heads, E channels of one head, P processes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from einops import rearrange
from torch import Tensor, nn

from curation.records import UserError
from model.attention import segment_attention
from model.dit import VideoDiT
from model.rows import Attention


def check_degree(num_heads: int, degree: int) -> None:
    """Every process needs as many heads as every other.

    Raises:
        UserError: `degree` does not divide `num_heads`.
    """
    if num_heads % degree:
        legal = [number for number in range(1, num_heads + 1) if num_heads % number == 0]
        raise UserError(
            f"{degree} processes cannot share out {num_heads} attention heads evenly; "
            f"sequence parallelism of this network works with {', '.join(map(str, legal))} processes"
        )


class _Exchange(torch.autograd.Function):
    """All-to-all of rows: `sent` rows to each process, `received` rows from each; gradients take the way back."""

    @staticmethod
    def forward(ctx, row: Tensor, sent: list[int], received: list[int], group: dist.ProcessGroup | None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.sent, ctx.received, ctx.group = sent, received, group
        output = row.new_empty(sum(received), row.shape[1])
        dist.all_to_all_single(output, row.contiguous(), received, sent, group=group)
        return output

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        back = grad.new_empty(sum(ctx.sent), grad.shape[1])
        dist.all_to_all_single(back, grad.contiguous(), ctx.sent, ctx.received, group=ctx.group)
        return back, None, None, None


def _exchange(row: Tensor, sent: list[int], received: list[int], group: dist.ProcessGroup | None) -> Tensor:
    output = _Exchange.apply(row, sent, received, group)
    assert isinstance(output, Tensor)
    return output


def _regroup(row: Tensor, lengths: Sequence[Sequence[int]]) -> Tensor:
    """A row of stretches ordered by (i, j), with `lengths[i][j]` tokens each, ordered by (j, i)."""
    if len(lengths) == 1 or len(lengths[0]) == 1:
        return row
    pieces = row.split([length for inner in lengths for length in inner])
    columns = len(lengths[0])
    return torch.cat([pieces[i * columns + j] for j in range(columns) for i in range(len(lengths))])


class UlyssesSplit:
    """The `model.rows.RowSplit` of a process group; None = all processes."""

    def __init__(self, num_heads: int, group: dist.ProcessGroup | None = None) -> None:
        self.group = group
        self.degree, self.rank = dist.get_world_size(group), dist.get_rank(group)
        check_degree(num_heads, self.degree)

    def _shares(self, length: int) -> list[int]:
        """Tokens of one group that each process holds."""
        return [length // self.degree + (rank < length % self.degree) for rank in range(self.degree)]

    def held(self, lengths: Sequence[int]) -> tuple[int, ...]:
        return tuple(self._shares(length)[self.rank] for length in lengths)

    def take(self, row: Tensor, lengths: Sequence[int]) -> Tensor:
        return torch.cat([group.split(self._shares(len(group)))[self.rank] for group in row.split(list(lengths))])

    def gather(self, held: Tensor, lengths: Sequence[int]) -> Tensor:
        shares = list(zip(*map(self._shares, lengths), strict=True))  # by rank, then by group
        received = [sum(share) for share in shares]
        by_rank = _exchange(held.repeat(self.degree, 1), [len(held)] * self.degree, received, self.group)
        return _regroup(by_rank, shares)

    def attention(self, samples: Sequence[Sequence[int]]) -> Attention:
        by_sample = [tuple(map(sum, zip(*map(self._shares, groups), strict=True))) for groups in samples]
        by_rank = list(zip(*by_sample, strict=True))
        received = list(map(sum, by_rank))
        sent = [received[self.rank]] * self.degree
        lengths = tuple(map(sum, samples))

        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            qkv = rearrange([q, k, v], "three s (p h) e -> (p s) (three h e)", p=self.degree)
            qkv = _regroup(_exchange(qkv, sent, received, self.group), by_rank)
            q, k, v = rearrange(qkv, "s (three h e) -> three s h e", three=3, e=q.shape[-1]).unbind(0)
            attended = _regroup(segment_attention(q, k, v, lengths), by_sample)
            return rearrange(_exchange(attended, received, sent, self.group), "(p s) w -> s (p w)", p=self.degree)

        return attend


@contextmanager
def sequence_parallel(model: VideoDiT, group: dist.ProcessGroup | None = None) -> Iterator[None]:
    """Within it, the processes of `group` (None = all) share the tokens of every forward of `model`.

    Raises:
        UserError: the number of processes does not divide the number of heads.
    """
    before = model.row_split
    model.row_split = UlyssesSplit(model.config.num_heads, group)
    try:
        yield
    finally:
        model.row_split = before


@torch.no_grad()
def average_gradients(model: nn.Module, group: dist.ProcessGroup | None = None) -> None:
    """Gradients of a single process from those of all processes; for networks that neither DDP nor FSDP holds."""
    for parameter in model.parameters():
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad, group=group)
            parameter.grad /= dist.get_world_size(group)
