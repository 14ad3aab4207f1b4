"""AdamW with moments of 8 bits, and with weights of 16 bits that are rounded at random.

    per weight   bfloat16 weight 2 + gradient 2 + two moments 1 + 1 + scales 2 x 4 / 128   = 6.06 bytes
                 instead of float32 weight 4 + gradient 4 + two moments 4 + 4              = 16 bytes

A moment is a number of 8 bits for every weight and a scale for every block of 128 in one row: the largest of the block.
The 256 numbers lie close to zero as to one (dynamic tree: a leading run of zeros is the exponent, the rest linear
steps), over seven powers of ten. Method: Dettmers et al., arXiv 2110.02861, sections 2 and 3.1; the second moment is
never negative and uses the map without a sign. Vectors and small tensors keep float32 moments.

Why not a library: torchao 0.18 compiles its step for every shape (64 s for the first on a CPU), lays blocks over
each process's part, so another number of processes makes other blocks, and rounds with the global generator; bits here
depend on none of them, since blocks lie within rows and FSDP shares out rows. A test holds the update to AdamW's.
"""

from collections.abc import Iterable
from functools import cache
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from training.data import seed_of
from training.local_parts import local, spread_like
from training.stochastic_rounding import store

BLOCK = 128  # so that the rows of the full transformer divide over up to 8 tensor-parallel processes
SMALLEST_QUANTISED = 4096
MOMENTS = ("exp_avg", "exp_avg_sq")
SCALE = "_scale"


@cache
def code_values(signed: bool) -> tuple[float, ...]:
    """The 256 numbers in [-1, 1], or [0, 1], that 8 bits stand for, rising (dynamic tree, 7 exponents)."""
    values = [0.0, 1.0]
    for exponent in range(7):
        fractions = 2**exponent if signed else 2 ** (exponent + 1)
        steps = torch.linspace(0.1, 1, fractions + 1, dtype=torch.float64)
        middles = ((steps[:-1] + steps[1:]) / 2).tolist()
        values += [middle * 10.0 ** (exponent - 6) for middle in middles]
        if signed:
            values += [-middle * 10.0 ** (exponent - 6) for middle in middles]
    return tuple(sorted(values))


def _map(signed: bool, device: torch.device) -> Tensor:
    return torch.tensor(code_values(signed), dtype=torch.float32, device=device)


def quantise(values: Tensor, signed: bool) -> tuple[Tensor, Tensor]:
    """Rows to codes and scales: float32 [R, C] -> uint8 [R, C], float32 [R, blocks].

    Without a sign nothing above zero becomes zero: it is a variance, and what is divided by its root must stay bounded.
    """
    num_rows, columns = values.shape
    blocks = nn.functional.pad(values, (0, -columns % BLOCK)).view(num_rows, -(-columns // BLOCK), BLOCK)
    scale = blocks.abs().amax(dim=-1)
    codes = _map(signed, values.device)
    edges = (codes[1:] + codes[:-1]) / 2
    nearest = torch.bucketize(
        blocks / scale.clamp(min=torch.finfo(torch.float32).tiny)[..., None], edges, out_int32=True
    )
    if not signed:
        nearest = torch.maximum(nearest, (blocks > 0).int())
    return nearest.to(torch.uint8).flatten(1)[:, :columns], scale


def dequantise(codes: Tensor, scale: Tensor, signed: bool) -> Tensor:
    """The float32 values that `quantise` kept."""
    scales = scale.repeat_interleave(BLOCK, dim=1)[:, : codes.shape[1]]
    return _map(signed, codes.device)[codes.int()] * scales


class AdamW8bit(Optimizer):
    """AdamW (arXiv 1711.05101) for weights of 32 or 16 bits.

    Args:
        quantised_from: weights with so many elements and two or more dimensions have 8-bit moments; None = none has.
        seed: of the rounding of bfloat16 weights, beside the step and a weight's place among the parameters.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        quantised_from: int | None = SMALLEST_QUANTISED,
        seed: int = 0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self.quantised_from, self.seed = quantised_from, seed

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """One update of every parameter that has a gradient; a closure is not supported."""
        assert closure is None
        pairs = [(group, weight) for group in self.param_groups for weight in group["params"]]
        for place, (group, weight) in enumerate(pairs):
            if weight.grad is not None:
                self.allocate(weight)
                self._update(weight, group, place)

    @torch.no_grad()
    def allocate(self, weight: Tensor) -> None:
        """Zero moments, where the weight has none yet."""
        state = self.state[weight]
        if state:
            return
        state["step"] = torch.zeros(())
        part = local(weight)
        for name in MOMENTS:
            if not self._quantises(weight):
                zeros = torch.zeros(part.shape, dtype=torch.float32, device=part.device)
                state[name] = spread_like(zeros, weight, tuple(weight.shape))
                continue
            codes, scale = quantise(torch.zeros(_rows(part), device=part.device), name == "exp_avg")
            state[name] = spread_like(codes.view(part.shape).contiguous(), weight, tuple(weight.shape))
            blocks = (weight.shape[0], -(-_rows(weight)[1] // BLOCK))
            state[name + SCALE] = spread_like(scale, weight, blocks)

    def _quantises(self, weight: Tensor) -> bool:
        if self.quantised_from is None or weight.ndim < 2 or weight.numel() < self.quantised_from:
            return False
        # A row that is shared out by tensor parallelism has blocks of its own in each part only where they fit in.
        whole = local(weight).shape[1:] == weight.shape[1:]
        return whole or (weight.ndim == 2 and local(weight).shape[1] % BLOCK == 0)

    def _update(self, weight: Tensor, group: dict[str, Any], place: int) -> None:
        assert weight.grad is not None
        state, part, gradient = self.state[weight], local(weight), local(weight.grad).float()
        state["step"] += 1
        step, (decay1, decay2) = int(state["step"].item()), group["betas"]
        if not part.numel():
            return
        first = self._moment(state, "exp_avg").lerp_(gradient, 1 - decay1)
        second = self._moment(state, "exp_avg_sq").mul_(decay2).addcmul_(gradient, gradient, value=1 - decay2)
        denominator = (second / (1 - decay2**step)).sqrt_().add_(group["eps"])
        value = part.float() if part.dtype is not torch.float32 else part.clone()
        value.mul_(1 - group["lr"] * group["weight_decay"])
        value.addcdiv_(first, denominator, value=-group["lr"] / (1 - decay1**step))
        store(weight, value, seed_of("AdamW", self.seed, place, step))
        for name, moment in zip(MOMENTS, (first, second), strict=True):
            self._keep(state, name, moment)

    @staticmethod
    def _moment(state: dict[str, Tensor], name: str) -> Tensor:
        """The moment in float32; written into where it is kept so."""
        part = local(state[name])
        if part.dtype is torch.float32:
            return part
        return dequantise(part.view(_rows(part)), local(state[name + SCALE]), name == "exp_avg").view(part.shape)

    @staticmethod
    def _keep(state: dict[str, Tensor], name: str, moment: Tensor) -> None:
        part = local(state[name])
        if part.dtype is torch.uint8:
            codes, scale = quantise(moment.view(_rows(moment)), name == "exp_avg")
            part.copy_(codes.view(part.shape))
            local(state[name + SCALE]).copy_(scale)


def _rows(tensor: Tensor) -> tuple[int, int]:
    """A tensor's sizes as a matrix."""
    return tensor.shape[0], prod(tensor.shape[1:])
