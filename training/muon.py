"""Muon: momentum whose singular values are all made one, for weights that are matrices or kernels.

    m <- mu m + (1 - mu) g         u = orthogonal factor of (1 - mu) g + mu m, by 5 Newton-Schulz steps
    w <- (1 - lr decay) w - lr 0.2 sqrt(max(rows, columns)) u

The factor 0.2 sqrt(max) makes an update as large as AdamW's, so both share one learning rate (arXiv 2502.16982,
eq. 4). Method: Keller Jordan, "Muon", 2024; HunyuanVideo-1.5 was trained with it. A kernel is the matrix
[out channels, the rest]. torch.optim.Muon does the same for matrices only and in bfloat16, which took ten times as
long on a CPU without bfloat16 instructions.
Measured on the tiny VAE, real footage at 64 px, the same held-out clips, rate 3e-3 falling to a tenth: L1 0.225 and
20.1 dB after 160 steps with Muon, 0.237 and 19.5 dB after 220 steps with AdamW.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

# Quintic whose iterates pull every singular value of a matrix of norm <= 1 into about [0.7, 1.2].
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
NUM_ITERATIONS = 5


def orthogonal_factor(matrix: Tensor) -> Tensor:
    """About U V^T of the singular value decomposition U S V^T of a 2-d tensor, in float32."""
    x = matrix.float() / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    a, b, c = COEFFICIENTS
    for _ in range(NUM_ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


class Muon(Optimizer):
    """Muon over parameters of two or more dimensions.

    Raises:
        ValueError: a parameter is a vector, which has no singular values; AdamW takes those.
    """

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        params = list(params)
        flat = [tuple(weight.shape) for weight in params if weight.ndim < 2]
        if flat:
            raise ValueError(f"Muon takes weights of two or more dimensions, got shapes {flat}; give those to AdamW")
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """One update of every parameter that has a gradient; a closure is not supported."""
        assert closure is None
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, group["lr"], group["momentum"], group["weight_decay"])

    def _update(self, weight: Tensor, lr: float, momentum: float, weight_decay: float) -> None:
        state = self.state[weight]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        gradient, buffer = weight.grad, state["momentum_buffer"]
        assert gradient is not None
        buffer.lerp_(gradient, 1 - momentum)
        update = orthogonal_factor(gradient.lerp(buffer, momentum).flatten(1))
        size = 0.2 * max(update.shape) ** 0.5
        weight.mul_(1 - lr * weight_decay).add_(update.view_as(weight), alpha=-lr * size)
