"""From noise to latents: Euler steps along the learned velocity, from s = 1 (noise) to s = 0 (data).

    x <- x + (s_next - s) * v(x, 1000 s)        s from `sigma_schedule`, v = noise - data

Released settings: 50 steps, shift 7 (17 below 20 steps), embedded guidance 6, no classifier-free guidance. Latents and
updates are float32 whatever the network's dtype, and noise comes from the caller's generator, so a CPU generator
gives the same noise on every device.

Image-to-video (token-replace of HunyuanVideo-I2V): the first latent frame is the image's and stays as it is, the rest
is denoised. As in the released pipeline the walk starts from noise with a thousandth of the image in every frame.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from model.flow import NUM_TRAIN_TIMESTEPS, guided_velocity, shift_timesteps

if TYPE_CHECKING:  # model.text needs transformers, sampling does not
    from model.dit import VideoDiT
    from model.text import TextState

LatentShape = tuple[int, int, int, int]  # channels, latent frames, latent height, latent width


IMAGE_SHARE = 0.001  # of the first frame in the noise that an image-to-video sample starts from


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
    first: Sequence[Tensor | None] | None = None,
    bfloat16_guidance: bool = False,
) -> list[Tensor]:
    """Draw one latent per shape, in the DiT's scale (`vae.from_latent` before `vae.decode`), float32 [C, T, H, W].

    text, pooled: one prompt per shape, as `VideoDiT.forward` takes them.
    guidance: embedded guidance scale (released: 6.0); needed exactly when the model's preset has guidance.
    cfg_scale: classifier-free guidance, negative + cfg_scale * (positive - negative); other than 1 it needs
    `negative`, doubles the work and puts both predictions in one packed forward.
    progress: called after each step with (steps done, num_steps).
    first: per shape the clean first latent frame [C, 1, H, W] in the DiT's scale, or None for text-to-video.
    bfloat16_guidance: round the guidance input as the official pipeline does (see `guidance_input`).
    """
    if cfg_scale != 1.0 and negative is None:
        raise ValueError(f"cfg_scale {cfg_scale} needs a negative prompt (an empty one will do); 1.0 needs none")
    weight = next(model.parameters())
    noise = [torch.randn(shape, generator=generator, device=generator.device) for shape in shapes]
    x = [one.to(weight.device) for one in noise]
    images = _first_frames(first, shapes, weight.device)
    x = [one if image is None else _start(one, image) for one, image in zip(x, images, strict=True)]
    clean = [int(image is not None) for image in images]
    text, pooled = [states.to(weight) for states in text], pooled.to(weight)
    embedded = None if guidance is None else guidance_input(guidance, bfloat16_guidance)
    scales = None if embedded is None else torch.full((len(x),), embedded, device=weight.device)

    sigmas = sigma_schedule(num_steps, shift)
    for step, (s, s_next) in enumerate(zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True), start=1):
        t = torch.full((len(x),), s * NUM_TRAIN_TIMESTEPS, device=weight.device)
        latents = [one.to(weight) for one in x]
        if cfg_scale != 1.0 and negative is not None:
            cfg = torch.full((len(x),), cfg_scale)
            v = guided_velocity(model, latents, t, text, pooled, [negative] * len(x), cfg, scales, clean)
        else:
            v = model(latents, t, text, pooled, scales, clean)
        moved = (one + (s_next - s) * velocity.float() for one, velocity in zip(x, v, strict=True))
        x = [one if image is None else _keep(one, image) for one, image in zip(moved, images, strict=True)]
        if progress is not None:
            progress(step, num_steps)
    return x


def _first_frames(
    first: Sequence[Tensor | None] | None, shapes: Sequence[LatentShape], device: torch.device
) -> list[Tensor | None]:
    """One clean frame or None per shape, float32 on the device."""
    images = [None] * len(shapes) if first is None else list(first)
    if len(images) != len(shapes):
        raise ValueError(f"first holds a frame or None per shape: {len(shapes)} shapes, got {len(images)}")
    for (channels, _, height, width), image in zip(shapes, images, strict=True):
        if image is not None and image.shape != (channels, 1, height, width):
            raise ValueError(
                f"the first frame of a sample is {[channels, 1, height, width]}, got {list(image.shape)}; "
                "encode the image at the sample's size and take vae.to_latent(...)[0]"
            )
    return [None if image is None else image.to(device, torch.float32) for image in images]


def _keep(x: Tensor, image: Tensor) -> Tensor:
    """`x` with its first frame put back."""
    return torch.cat((image, x[:, 1:]), dim=1)


def _start(noise: Tensor, image: Tensor) -> Tensor:
    return _keep((1.0 - IMAGE_SHARE) * noise + IMAGE_SHARE * image, image)
