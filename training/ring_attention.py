"""Attention over tokens that are spread over a ring of processes: keys and values travel, queries stay.

    step 0   rank 0: q0 k0 v0     rank 1: q1 k1 v1     rank 2: q2 k2 v2        each against its own keys
    step 1   rank 0: q0 k2 v2     rank 1: q1 k0 v0     rank 2: q2 k1 v1        every block moved on by one rank
    ...      until every query has met every key; the block of the next step travels while this one is computed

What a query found so far and what it finds in the next block are merged by their softmax's normaliser (log of the sum
of exponentials, `lse`), in float32, so the result is that of one softmax over all keys:

    lse <- log(exp(lse) + exp(lse')),    out <- exp(lse_old - lse) out + exp(lse' - lse) out'

Backward, the kernels get the *final* lse and output, which makes each block's contribution exact; gradients of keys and
values travel with their block and are home after a whole round. Rows are packed (model/rows.py): a block holds a share
of each sample, and a query meets the keys of its own sample only. Without a causal mask every process has equal work,
so shares are plain stretches. No number of heads limits the size of a ring.

A process sends (P - 1) / P of the tokens' keys and values forward, twice that and their gradients backward; all of it
beside the compute. Method: ring attention, arXiv 2310.01889; normalisers, arXiv 2205.14135.

Legend: S tokens of the row, B samples of equal length, H heads, E channels of one head, P processes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
import torch.distributed as dist
from einops import rearrange
from torch import Tensor

Lengths = Sequence[int]
"""Tokens of each sample in one block; 0 where a process holds none of it."""


def ring_attention(
    q_SHE: Tensor, k_SHE: Tensor, v_SHE: Tensor, blocks: Sequence[Lengths], group: dist.ProcessGroup
) -> Tensor:
    """Softmax attention of this process's tokens to all tokens of their samples; returns [S, H * E].

    blocks: for each process of `group`, in order, the lengths of every sample's tokens there.
    """
    output = _Ring.apply(q_SHE, k_SHE, v_SHE, blocks, group)
    assert isinstance(output, Tensor)
    return rearrange(output, "s h e -> s (h e)")


@dataclass(frozen=True)
class _Neighbours:
    """The processes before and after this one in the ring."""

    group: dist.ProcessGroup
    rank: int
    size: int

    def pass_on(self, sent: Tensor, shape: Sequence[int]) -> tuple[Tensor, list[Any]]:
        """Begin to send to the next process and to receive from the one before; what arrives is there after waiting."""
        arriving = sent.new_empty(shape)
        after, before = ((self.rank + step) % self.size for step in (1, -1))
        exchange = [
            dist.P2POp(dist.isend, sent, group=self.group, group_peer=after),
            dist.P2POp(dist.irecv, arriving, group=self.group, group_peer=before),
        ]
        return arriving, dist.batch_isend_irecv(exchange)


class _Ring(torch.autograd.Function):
    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, blocks: Sequence[Lengths], group: dist.ProcessGroup
    ) -> Tensor:
        ring = _Neighbours(group, dist.get_rank(group), dist.get_world_size(group))
        out, lse = torch.zeros_like(q, dtype=torch.float32), q.new_full(q.shape[:2], -torch.inf, dtype=torch.float32)
        for source, block in _rounds(torch.stack((k, v)), blocks, ring):
            for queries, keys, count in _runs(blocks[ring.rank], blocks[source]):
                seen_k, seen_v = (_heads(side[keys], count) for side in block)
                found, found_lse = attend(_heads(q[queries], count), seen_k, seen_v)
                _merge(out[queries], lse[queries], _row(found), rearrange(found_lse, "b h s -> (b s) h"))
        out = out.to(q.dtype)
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.blocks, ctx.ring = blocks, ring
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        q, k, v, out, lse = ctx.saved_tensors
        blocks, ring = ctx.blocks, ctx.ring
        grad, grad_q = grad.contiguous(), torch.zeros_like(q, dtype=torch.float32)
        grad_block, arriving = torch.zeros((2, *k.shape), dtype=torch.float32, device=k.device), None
        for source, block in _rounds(torch.stack((k, v)), blocks, ring):
            if arriving is not None:
                grad_block = _arrived(*arriving)
            for queries, keys, count in _runs(blocks[ring.rank], blocks[source]):
                asked, asked_grad, answer = (_heads(x[queries], count) for x in (q, grad, out))
                seen_k, seen_v = (_heads(side[keys], count) for side in block)
                normaliser = rearrange(lse[queries], "(b s) h -> b h s", b=count).contiguous()
                found_q, *found_block = attend_backward(asked_grad, asked, seen_k, seen_v, answer, normaliser)
                grad_q[queries] += _row(found_q)
                for side, found in zip(grad_block, found_block, strict=True):
                    side[keys] += _row(found)
            arriving = ring.pass_on(grad_block, (2, sum(blocks[source - 1]), *k.shape[1:]))
        assert arriving is not None
        grad_k, grad_v = _arrived(*arriving).to(k.dtype)
        return grad_q.to(q.dtype), grad_k, grad_v, None, None


def _rounds(block: Tensor, blocks: Sequence[Lengths], ring: _Neighbours) -> Iterator[tuple[int, Tensor]]:
    """Every process's keys and values [2, S, H, E] in turn, with whose they are; the next travels meanwhile."""
    for step in range(ring.size):
        source = (ring.rank - step) % ring.size
        last = step + 1 == ring.size
        arriving = None if last else ring.pass_on(block, (2, sum(blocks[source - 1]), *block.shape[2:]))
        yield source, block
        if arriving is not None:
            block = _arrived(*arriving)


def _arrived(tensor: Tensor, exchange: list[Any]) -> Tensor:
    for work in exchange:
        work.wait()
    return tensor


def _runs(queries: Lengths, keys: Lengths) -> Iterator[tuple[slice, slice, int]]:
    """Neighbouring samples of equal lengths: where their queries and their keys lie, and how many samples they are."""
    q_start = k_start = 0
    for (q_length, k_length), run in groupby(zip(queries, keys, strict=True)):
        count = sum(1 for _ in run)
        q_stop, k_stop = q_start + count * q_length, k_start + count * k_length
        if q_length and k_length:
            yield slice(q_start, q_stop), slice(k_start, k_stop), count
        q_start, k_start = q_stop, k_stop


def _heads(row_SHE: Tensor, count: int) -> Tensor:
    return rearrange(row_SHE, "(b s) h e -> b h s e", b=count)


def _row(x_BHSE: Tensor) -> Tensor:
    return rearrange(x_BHSE, "b h s e -> (b s) h e")


def _merge(out_SHE: Tensor, lse_SH: Tensor, found_SHE: Tensor, found_lse_SH: Tensor) -> None:
    """Take what was found in another block into `out` and `lse`, in place."""
    both = torch.logaddexp(lse_SH, found_lse_SH)
    out_SHE.mul_((lse_SH - both).exp()[..., None]).addcmul_(found_SHE.float(), (found_lse_SH - both).exp()[..., None])
    lse_SH.copy_(both)


def attend(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Attention [B, H, S, E] and the normaliser of each query, float32 [B, H, S]."""
    kernel = _kernel(q)
    if kernel == "cpu":
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v)
    if kernel == "flash":
        return torch.ops.aten._scaled_dot_product_flash_attention(q, k, v)[:2]
    return attend_by_products(q, k, v)


def attend_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and value, where `out` and `lse` are of all keys and `k`, `v` some of them."""
    kernel = _kernel(q)
    if kernel == "cpu":
        backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
        return backward(grad, q, k, v, out, lse, 0.0, False)
    if kernel == "flash":
        backward = torch.ops.aten._scaled_dot_product_flash_attention_backward
        seeds = (
            torch.zeros(2, dtype=torch.uint64, device=q.device),
            torch.zeros((), dtype=torch.uint64, device=q.device),
        )
        return backward(grad, q, k, v, out, lse, None, None, q.shape[2], k.shape[2], 0.0, False, *seeds)
    return attend_by_products_backward(grad, q, k, v, out, lse)


def _kernel(q: Tensor) -> str:
    if q.device.type == "cpu":
        return "cpu"
    return "flash" if q.device.type == "cuda" and q.dtype in (torch.bfloat16, torch.float16) else "products"


def attend_by_products(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """`attend` where no kernel tells its normaliser (float32 on CUDA); holds S x S numbers."""
    scores = q @ k.mT * q.shape[-1] ** -0.5
    lse = scores.logsumexp(-1)
    return (scores - lse[..., None]).exp() @ v, lse.float()


def attend_by_products_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """`attend_backward` of `attend_by_products`."""
    scale = q.shape[-1] ** -0.5
    shares = (q @ k.mT * scale - lse[..., None]).exp()
    grad_scores = shares * (grad @ v.mT - (grad * out).sum(-1, keepdim=True)) * scale
    return grad_scores @ k, grad_scores.mT @ q, shares.mT @ grad
