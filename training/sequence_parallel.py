"""One sample on several processes: context parallelism over torch.distributed, ulysses x ring.

    rank 0  [ share 0 of the tokens, all heads ]                  [ all tokens, heads of rank 0 ]
    rank 1  [ share 1 of the tokens, all heads ]  -- exchange --> [ all tokens, heads of rank 1 ]  --> attention
    ...                                                           ... and back by a second exchange

Attention is the only place where tokens meet, so everything else (projections, MLPs, norms, modulation) works on a
share of the tokens and costs a P-th, and so do its activations. Each group of tokens (model/rows.py) is shared out by
itself; the first `length % P` processes hold one token more. Attention does not mind the order of tokens, since each is
rotated before it travels, so what arrives is only regrouped by sample. Per attention a process sends (P - 1) / P of its
tokens' values four times: as query, key and value, then as result (DeepSpeed-Ulysses, arXiv 2309.14509).

More processes than heads can share, or than lie close together, form rings of such groups: after the exchange a process
holds its heads of its group's tokens, and keys and values go around the groups (training/ring_attention.py). Neighbours
exchange, rings span nodes: unified sequence parallelism, arXiv 2405.07719.

Every process calls the network with the same whole inputs and gets the same whole velocities; prompts, refiner and
conditioning vectors, under 1 % of the work at video lengths, are computed by each. Every process takes the same loss,
and passes on the gradient of the tokens it holds; gradients *summed* over the processes are those of a single process.

    with sequence_parallel(dit):                                     with sequence_parallel(dit):
        (latent,) = sample(dit, [shape], ...)                            loss(dit(...)).backward()
                                                                     sum_gradients(dit)

Legend: S tokens, H heads, E channels of one head, P processes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import gcd

import torch
import torch.distributed as dist
from einops import rearrange
from torch import Tensor, nn

from model.attention import segment_attention
from model.dit import VideoDiT
from model.rows import Attention
from training.ring_attention import ring_attention


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


class _Gather(torch.autograd.Function):
    """The whole row from everybody's shares; as every process gets the whole gradient, backward is `take`."""

    @staticmethod
    def forward(ctx, held: Tensor, split: "ContextSplit", lengths: Sequence[int]) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.split, ctx.lengths = split, lengths
        shares = list(zip(*map(split.shares, lengths), strict=True))  # by rank, then by group
        received = [sum(share) for share in shares]
        output = held.new_empty(sum(received), held.shape[1])
        repeated, sent = held.repeat(split.degree, 1), [len(held)] * split.degree
        dist.all_to_all_single(output, repeated, received, sent, group=split.group)
        return _regroup(output, shares)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return ctx.split.take(grad, ctx.lengths), None, None


class ContextSplit:
    """The `model.rows.RowSplit` of a process group; None = all processes.

    ulysses: processes that exchange heads, neighbours in the group; 0 = all of them. Where they could not share out the
        heads evenly, fewer do, and the rest of the group's degree is made up by rings.
    compiled: blocks are compiled; attention, with what travels for it, stays out of their graphs.
    """

    def __init__(
        self, num_heads: int, group: dist.ProcessGroup | None = None, ulysses: int = 0, compiled: bool = False
    ) -> None:
        self.group = group
        self._attend: Callable[..., Tensor] = _attend
        if compiled:
            self._attend = torch.compiler.disable(_attend)  # pyright: ignore[reportAttributeAccessIssue]
        self.degree, self.rank = dist.get_world_size(group), dist.get_rank(group)
        self.ulysses = gcd(ulysses or self.degree, num_heads)
        self.ring = self.degree // self.ulysses
        members = dist.get_process_group_ranks(group or dist.group.WORLD)
        place, inner = self.rank // self.ulysses, self.rank % self.ulysses
        self._heads_group = self._part(members[place * self.ulysses :][: self.ulysses])
        self._ring_group = self._part(members[inner :: self.ulysses])

    def _part(self, members: list[int]) -> dist.ProcessGroup | None:
        if len(members) == self.degree:
            return self.group or dist.group.WORLD
        if len(members) == 1:
            return None
        group = dist.new_group(members, use_local_synchronization=True)
        assert isinstance(group, dist.ProcessGroup)
        return group

    def shares(self, length: int) -> list[int]:
        """Tokens of one group that each process holds."""
        return [length // self.degree + (rank < length % self.degree) for rank in range(self.degree)]

    def held(self, lengths: Sequence[int]) -> tuple[int, ...]:
        return tuple(self.shares(length)[self.rank] for length in lengths)

    def take(self, row: Tensor, lengths: Sequence[int]) -> Tensor:
        return torch.cat([group.split(self.shares(len(group)))[self.rank] for group in row.split(list(lengths))])

    def gather(self, held: Tensor, lengths: Sequence[int]) -> Tensor:
        row = _Gather.apply(held, self, tuple(lengths))
        assert isinstance(row, Tensor)
        return row

    def attention(self, samples: Sequence[Sequence[int]]) -> Attention:
        by_sample = [tuple(map(sum, zip(*map(self.shares, groups), strict=True))) for groups in samples]
        starts = range(0, self.degree, self.ulysses)
        blocks = [[sum(lengths[start : start + self.ulysses]) for lengths in by_sample] for start in starts]
        start = starts[self.rank // self.ulysses]
        inside = [lengths[start : start + self.ulysses] for lengths in by_sample]
        return partial(self._attend, _Plan(blocks, inside, self.rank - start, self._heads_group, self._ring_group))


@dataclass(frozen=True)
class _Plan:
    """How a joint row lies among processes.

    blocks: by place in the ring, then by sample, the tokens there. inside: by sample, then by process of the heads
    group, the tokens held; `rank` is the place of this process in it. A group of one is None.
    """

    blocks: list[list[int]]
    inside: list[tuple[int, ...]]
    rank: int
    heads: dist.ProcessGroup | None
    ring: dist.ProcessGroup | None


def _attend(plan: _Plan, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    if plan.heads is None:
        return _attend_block(plan, q, k, v)
    by_rank = list(zip(*plan.inside, strict=True))
    received, degree = list(map(sum, by_rank)), len(by_rank)
    sent = [received[plan.rank]] * degree
    qkv = rearrange([q, k, v], "three s (p h) e -> (p s) (three h e)", p=degree)
    qkv = _regroup(_exchange(qkv, sent, received, plan.heads), by_rank)
    q, k, v = rearrange(qkv, "s (three h e) -> three s h e", three=3, e=q.shape[-1]).unbind(0)
    attended = _regroup(_attend_block(plan, q, k, v), plan.inside)
    return rearrange(_exchange(attended, received, sent, plan.heads), "(p s) w -> s (p w)", p=degree)


def _attend_block(plan: _Plan, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    if plan.ring is None:
        return segment_attention(q, k, v, plan.blocks[0])
    return ring_attention(q, k, v, plan.blocks, plan.ring)


@contextmanager
def sequence_parallel(model: VideoDiT, group: dist.ProcessGroup | None = None) -> Iterator[None]:
    """Within it, the processes of `group` (None = all) share the tokens of every forward of `model`."""
    before = model.row_split
    model.row_split = ContextSplit(model.config.num_heads, group)
    try:
        yield
    finally:
        model.row_split = before


@torch.no_grad()
def sum_gradients(model: nn.Module, group: dist.ProcessGroup | None = None) -> None:
    """Gradients of a single process from those of all processes; for networks that FSDP does not hold."""
    for parameter in model.parameters():
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad, group=group)
