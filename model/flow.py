"""Rectified flow in the convention of the released HunyuanVideo weights.

    s = 1 (noise) ----- x_s = (1 - s) data + s noise -----> s = 0 (data)        v = dx/ds = noise - data

The network is given t = 1000 s and predicts v; the sampler walks s from 1 to 0. (The paper, arXiv 2412.03603 s4.4,
writes time and sign the other way round: the same loss, with weights that cannot be exchanged.)
"""

from typing import Literal

import torch
from torch import Tensor

NUM_TRAIN_TIMESTEPS = 1000.0  # the timestep network sees t = 1000 s

Scheme = Literal["logit_normal", "uniform"]


def shift_timesteps(s: Tensor, shift: float) -> Tensor:
    """Move flow times in [0, 1] towards noise: shift * s / (1 + (shift - 1) * s). 0 and 1 stay, shift 1 is no change.

    Longer and larger videos need a larger shift, since neighbouring tokens tell more about each other (arXiv
    2403.03206, eq. 23). Raises ValueError for a shift that is not positive.
    """
    if shift <= 0:
        raise ValueError(
            f"shift must be positive, got {shift}; 1 leaves the times as they are, 7 is the released value"
        )
    return shift * s / (1.0 + (shift - 1.0) * s)


def sample_timesteps(n: int, generator: torch.Generator, shift: float, scheme: Scheme = "logit_normal") -> Tensor:
    """Draw `n` flow times in the open interval (0, 1), float32, on the generator's device.

    `logit_normal` is sigmoid(N(0, 1)) (arXiv 2403.03206, eq. 19), `uniform` is flat; the shift comes after the draw.
    """
    if scheme == "logit_normal":
        s = torch.sigmoid(torch.randn(n, generator=generator, device=generator.device))
    elif scheme == "uniform":
        s = torch.rand(n, generator=generator, device=generator.device)
    else:
        raise ValueError(f"unknown timestep scheme {scheme!r}; expected 'logit_normal' or 'uniform'")
    edge = torch.finfo(torch.float32).eps
    return shift_timesteps(s, shift).clamp(edge, 1.0 - edge)


def interpolate(data: Tensor, noise: Tensor, s: Tensor) -> Tensor:
    """Point (1 - s) data + s noise of the straight path; `s` is a scalar or one time per entry of dimension 0."""
    if s.ndim == 1:
        s = s.view(-1, *([1] * (data.ndim - 1)))
    return (1.0 - s) * data + s * noise


def velocity_target(data: Tensor, noise: Tensor) -> Tensor:
    """What the network learns to predict anywhere on the path: noise - data."""
    return noise - data
