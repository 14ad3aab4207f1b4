"""A loss whose gradient is taken at once, so that nothing of the loss's own network waits for the backward pass.

    forward    x --some rows at a time--> function -> value [N]        backward    gradient * upstream [N]
                        <- gradient of the values, kept: as large as x

A perceptual distance or a critic gives one value per row of its input that depends on that row alone. Its gradient is
therefore known, but for one factor per row, as soon as the value is. Taking it there bounds memory by the activations
of a few rows, costs nothing twice (recomputing would run the forward again), and leaves the weights of the function
without gradients: a critic is not trained by the loss of those it judges.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

RowFunction = Callable[..., Tensor]


def early_gradient(function: RowFunction, x_N: Tensor, *others_N: Tensor, at_once: int) -> Tensor:
    """`function(x_N, *others_N)`, [N], with a gradient for `x_N` alone; `at_once` rows are worked on together.

    `function` gives one value per row, which depends on the same row of its arguments alone. The result can be
    differentiated once, not twice.
    """
    if x_N.requires_grad and torch.is_grad_enabled():
        return _EarlyGradient.apply(function, at_once, x_N, *others_N)  # type: ignore[return-value]
    with torch.no_grad():
        return torch.cat([function(*rows) for rows in _split(at_once, x_N, *others_N)])


def _split(at_once: int, *tensors: Tensor) -> Any:
    return zip(*(tensor.split(at_once) for tensor in tensors), strict=True)


class _EarlyGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: RowFunction, at_once: int, x_N: Tensor, *others_N: Tensor) -> Tensor:
        values, gradient_N = [], torch.empty_like(x_N)
        for x, gradient, *others in _split(at_once, x_N, gradient_N, *others_N):
            x = x.detach().requires_grad_()
            with torch.enable_grad():
                value = function(x, *(other.detach() for other in others))
                gradient.copy_(torch.autograd.grad(value.sum(), x)[0])
            values.append(value.detach())
        ctx.save_for_backward(gradient_N)
        return torch.cat(values)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *upstream_N: Tensor) -> Any:
        (gradient_N,) = ctx.saved_tensors
        factor = upstream_N[0].to(gradient_N.dtype).view(-1, *[1] * (gradient_N.ndim - 1))
        return (None, None, gradient_N * factor, *[None] * (len(ctx.needs_input_grad) - 3))
