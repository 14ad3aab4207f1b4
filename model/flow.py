"""Rectified flow in the convention of the released HunyuanVideo weights.

    s = 1 (noise) ----- x_s = (1 - s) data + s noise -----> s = 0 (data)        v = dx/ds = noise - data

The network is given t = 1000 s and predicts v; the sampler walks s from 1 to 0. (The paper, arXiv 2412.03603 s4.4,
writes time and sign the other way round: the same loss, with weights that cannot be exchanged.)

Guidance distillation (4.5 there, arXiv 2210.03142): a student with an embedded scale learns in one forward what its
teacher says in two, for any scale from 1 to 8:

    target = guided_velocity(teacher, ..., scale=g)     g = sample_guidance_scales(...)     student is given 1000 g
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:  # model.text needs transformers, the flow does not
    from model.text import TextState

NUM_TRAIN_TIMESTEPS = 1000.0  # the timestep network sees t = 1000 s
GUIDANCE_SCALES = (1.0, 8.0)  # of a distilled student

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


def sample_guidance_scales(n: int, generator: torch.Generator) -> Tensor:
    """Draw `n` guidance scales for a student, uniform from 1 to 8, float32, on the generator's device."""
    low, high = GUIDANCE_SCALES
    return low + (high - low) * torch.rand(n, generator=generator, device=generator.device)


@torch.no_grad()
def guided_velocity(
    model: Callable[..., list[Tensor]],
    latents: Sequence[Tensor],
    t: Tensor,
    text: Sequence[Tensor],
    pooled: Tensor,
    without: "Sequence[TextState]",
    scale: Tensor,
    guidance: Tensor | None = None,
    clean_frames: Sequence[int] | None = None,
) -> list[Tensor]:
    """Classifier-free guidance: v(without) + scale * (v(text) - v(without)), float32, no gradient.

    model: a `VideoDiT` or what is called like one; the other arguments but these are its own. Both predictions are one
    packed forward of twice the samples.
    without: per sample the negative prompt, the empty one for a distillation target.
    scale: [B] guidance scales; 1 is the plain prediction. In the notation of arXiv 2210.03142 it is 1 + w.
    """
    states = [*text, *(negative.states.to(text[0]) for negative in without)]
    vectors = torch.cat((pooled, torch.stack([negative.pooled.to(pooled) for negative in without])))
    scales = None if guidance is None else guidance.repeat(2)
    clean = None if clean_frames is None else [*clean_frames] * 2
    velocities = [one.float() for one in model([*latents] * 2, t.repeat(2), states, vectors, scales, clean)]
    positive, negative = velocities[: len(latents)], velocities[len(latents) :]
    return [b + one * (a - b) for a, b, one in zip(positive, negative, scale.to(t.device), strict=True)]
