"""From noise to latents: Euler steps along the learned velocity, from s = 1 (noise) to s = 0 (data).

    x <- x + (s_next - s) * v(x, 1000 s)        s from `sigma_schedule`, v = noise - data

Released settings: 50 steps, shift 7 (17 below 20 steps), embedded guidance 6, no classifier-free guidance. Latents and
updates are float32 whatever the network's dtype, and noise comes from the caller's generator, so a CPU generator
gives the same noise on every device.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from model.flow import NUM_TRAIN_TIMESTEPS, shift_timesteps

if TYPE_CHECKING:  # model.text needs transformers, sampling does not
    from model.dit import VideoDiT
    from model.text import TextState

LatentShape = tuple[int, int, int, int]  # channels, latent frames, latent height, latent width


def sigma_schedule(num_steps: int, shift: float) -> Tensor:
    """Flow times s from 1 to 0, float32 [num_steps + 1]: evenly spaced, then shifted towards noise."""
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")
    return shift_timesteps(torch.linspace(1.0, 0.0, num_steps + 1), shift)


def guidance_input(scale: float, bfloat16_rounding: bool = False) -> float:
    """What the network's guidance embedding is given for a guidance scale: 1000 times the scale.

    The official pipeline multiplies in bfloat16, where 6.0 becomes 6016 instead of 6000. `bfloat16_rounding` does the
    same, for matching its samples; training uses exact values.
    """
    if bfloat16_rounding:
        return (torch.tensor(scale, dtype=torch.bfloat16) * NUM_TRAIN_TIMESTEPS).item()
    return scale * NUM_TRAIN_TIMESTEPS


@torch.no_grad()
def sample(
    model: "VideoDiT",
    shapes: Sequence[LatentShape],
    text: Sequence[Tensor],
    pooled: Tensor,
    num_steps: int,
    shift: float,
    generator: torch.Generator,
    guidance: float | None = None,
    cfg_scale: float = 1.0,
    negative: "TextState | None" = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Tensor]:
    """Draw one latent per shape, in the DiT's scale (`vae.from_latent` before `vae.decode`), float32 [C, T, H, W].

    text, pooled: one prompt per shape, as `VideoDiT.forward` takes them.
    guidance: embedded guidance scale (released: 6.0); needed exactly when the model's preset has guidance.
    cfg_scale: classifier-free guidance, negative + cfg_scale * (positive - negative); other than 1 it needs
    `negative`, doubles the work and puts both predictions in one packed forward.
    progress: called after each step with (steps done, num_steps).
    """
    if cfg_scale != 1.0 and negative is None:
        raise ValueError(f"cfg_scale {cfg_scale} needs a negative prompt (an empty one will do); 1.0 needs none")
    weight = next(model.parameters())
    noise = [torch.randn(shape, generator=generator, device=generator.device) for shape in shapes]
    x = [one.to(weight.device) for one in noise]
    text, pooled = [states.to(weight) for states in text], pooled.to(weight)
    if cfg_scale != 1.0 and negative is not None:
        text = [*text, *([negative.states.to(weight)] * len(x))]
        pooled = torch.cat((pooled, negative.pooled.to(weight).expand_as(pooled)))
    scales = None if guidance is None else torch.full((len(text),), guidance_input(guidance), device=weight.device)

    sigmas = sigma_schedule(num_steps, shift)
    copies = len(text) // len(x)
    for step, (s, s_next) in enumerate(zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True), start=1):
        t = torch.full((len(text),), s * NUM_TRAIN_TIMESTEPS, device=weight.device)
        v = model([one.to(weight) for one in x] * copies, t, text, pooled, scales)
        if copies == 2:
            positive, without = v[: len(x)], v[len(x) :]
            v = [b.float() + cfg_scale * (a.float() - b.float()) for a, b in zip(positive, without, strict=True)]
        x = [one + (s_next - s) * velocity.float() for one, velocity in zip(x, v, strict=True)]
        if progress is not None:
            progress(step, num_steps)
    return x
