"""What the stages optimise: the VAE's reconstruction, and flow matching of the diffusion transformer.

    vae    pixels -> crop -> encode -> sample -> decode         L1 + kl_weight * KL             (report section 4.1)
    flow   pixels -> frozen VAE -> latent x_0                   |v(x_s, s, text) - (noise - x_0)|^2      (4.5)
           caption -> assemble -> frozen text encoders

An image is a video of one frame. Clips of different size share a batch without padding: the VAE takes them in groups of
one size, the transformer as a packed row. Held-out losses have nothing random in them, so they can be compared
between steps, stages and runs; flow losses are measured at five fixed noise levels (peers found it to follow human
judgement, where FVD does not).

Image-to-video is a share of the videos of a flow stage: their first latent frame stays clean and is not learned.

Legend: B samples, C channels, T frames, H W pixels or latent cells.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.dit import VideoDiT
from model.flow import NUM_TRAIN_TIMESTEPS, interpolate, sample_timesteps, velocity_target
from model.text import TextEncoder, TextState
from model.text_settings import TextDropout
from model.vae import CausalVideoVAE, Posterior
from training.captions import assemble
from training.clip_tensors import generator_of, to_tensor
from training.data import PackedClip, Sample, seed_of
from training.stages import StageSettings

NOISE_LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)
NUM_SCALE_CLIPS = 32  # clips whose latents set the VAE's scaling factor

Pixels = Callable[[PackedClip], np.ndarray]


@dataclass(frozen=True)
class VideoGroup:
    """Videos of one size [B, C, T, H, W] in [-1, 1], and the seed of their posterior sample."""

    video_BCTHW: Tensor
    seed: int


class VAEObjective:
    """Reconstruction of crops: L1 per pixel value + kl_weight * KL per latent value."""

    def __init__(self, vae: CausalVideoVAE, stage: StageSettings, pixels: Pixels, clips: Sequence[PackedClip]) -> None:
        self.vae, self.stage, self.pixels, self.clips = vae, stage, pixels, clips

    @property
    def model(self) -> CausalVideoVAE:
        return self.vae

    def prepare(self, samples: Sequence[Sample]) -> list[VideoGroup]:
        crops = [(to_tensor(self._crop(sample)), sample.seed) for sample in samples]
        crops.sort(key=lambda crop: tuple(crop[0].shape))
        groups = [list(group) for _, group in groupby(crops, key=lambda crop: tuple(crop[0].shape))]
        return [VideoGroup(torch.stack([video for video, _ in group]), group[0][1]) for group in groups]

    def _crop(self, sample: Sample) -> np.ndarray:
        """A random box of at most crop_px x crop_px x crop_frames: the VAE is convolutional, crops are cheap."""
        frames = self.pixels(sample.clip)
        rng = random.Random(sample.seed)
        limits = (self.stage.crop_frames, self.stage.crop_px, self.stage.crop_px)
        box = []
        for size, limit in zip(frames.shape[:3], limits, strict=True):
            length = min(size, limit or size)
            start = rng.randint(0, size - length)
            box.append(slice(start, start + length))
        return frames[tuple(box)]

    def loss(self, batch: list[VideoGroup]) -> Tensor:
        return torch.cat([self._group_loss(group) for group in batch])

    def _group_loss(self, group: VideoGroup) -> Tensor:
        video = group.video_BCTHW
        posterior = self.vae.encode(video)
        decoded = self.vae.decode(posterior.sample(generator_of(group.seed)))
        l1_B = (decoded - video).abs().flatten(1).mean(dim=1)
        return l1_B + self.stage.kl_weight * posterior.kl() / posterior.mode()[0].numel()

    @torch.no_grad()
    def measure(self, clips: Sequence[PackedClip]) -> tuple[float, dict[str, float]]:
        """L1 of whole held-out clips, decoded from the posterior's mean; PSNR in dB over pixels in [0, 1]."""
        self.vae.eval()
        l1, psnr = [], []
        for clip in clips:
            video = to_tensor(self.pixels(clip))[None]
            error = (self.vae.decode(self.vae.encode(video).mode()).clamp(-1, 1) - video) / 2
            l1.append(2 * error.abs().mean().item())
            psnr.append(-10 * math.log10(max(1e-10, error.square().mean().item())))
        self.vae.train()
        mean = sum(l1) / len(l1)
        return mean, {"l1": mean, "psnr_db": sum(psnr) / len(psnr)}

    @torch.no_grad()
    def result(self) -> dict[str, Any]:
        """The configuration with the scaling factor that brings this VAE's latents to unit variance."""
        chosen = sorted(self.clips, key=lambda clip: seed_of("scale", *clip.key))[:NUM_SCALE_CLIPS]
        posteriors = [self.vae.encode(to_tensor(self.pixels(clip))[None]) for clip in chosen]
        squares = [(posterior.mean.square() + posterior.logvar.exp()).mean() for posterior in posteriors]  # E z^2
        scale = 1.0 / torch.stack(squares).mean().sqrt().item()
        return {"network": "vae", "config": asdict(replace(self.vae.config, scaling_factor=scale))}


@dataclass(frozen=True)
class FlowBatch:
    """B noisy latents [C, T, H, W] of any sizes, the velocities to predict, and their conditions.

    The first `clean_frames` (0 or 1) frames of a latent are no noisy ones, and nothing is to be predicted for them.
    """

    noisy: list[Tensor]
    target: list[Tensor]
    t_B: Tensor
    text: list[TextState]
    clean_frames: list[int]


class FlowObjective:
    """Velocity of the straight path between noise and a clip's latent; time drawn logit-normal, shifted, unweighted."""

    def __init__(
        self,
        dit: VideoDiT,
        vae: CausalVideoVAE,
        text: TextEncoder,
        stage: StageSettings,
        pixels: Pixels,
        cache_mb: int = 1024,
    ) -> None:
        self.dit, self.vae, self.text, self.stage, self.pixels = dit, vae, text, stage, pixels
        self._posteriors: dict[tuple[str, str], Posterior] = {}
        self._limit_bytes = cache_mb << 20
        self._cached_bytes = 0

    @property
    def model(self) -> VideoDiT:
        return self.dit

    @torch.no_grad()
    def prepare(self, samples: Sequence[Sample]) -> FlowBatch:
        noisy, target, times, prompts, clean = [], [], [], [], []
        for sample in samples:
            generator = generator_of(sample.seed)
            latent = self.vae.to_latent(self._posterior(sample.clip).sample(generator))[0]
            s = sample_timesteps(1, generator, float(self.stage.shift))
            noise = torch.randn(latent.shape, generator=generator)
            frames = self._clean_frames(sample, latent.shape[1])
            noisy.append(torch.cat((latent[:, :frames], interpolate(latent, noise, s)[:, frames:]), dim=1))
            target.append(velocity_target(latent, noise))
            times.append(s * NUM_TRAIN_TIMESTEPS)
            prompts.append(self._prompt(sample))
            clean.append(frames)
        return FlowBatch(noisy, target, torch.cat(times), self._encode_text([s.clip for s in samples], prompts), clean)

    def _clean_frames(self, sample: Sample, num_frames: int) -> int:
        """1 for a video that is image-to-video this time; an image has no second frame to learn."""
        drawn = random.Random(seed_of("image to video", sample.seed)).random()
        return int(num_frames > 1 and drawn < self.stage.image_to_video)

    def _prompt(self, sample: Sample) -> tuple[str, str]:
        """What the language model and what CLIP reads of the caption."""
        caption = assemble(sample.clip.caption, seed_of("caption", sample.seed), 0.3)
        dropout = TextDropout(rate=self.stage.text_dropout, pooled_rate=self.stage.pooled_text_dropout)
        return dropout.apply(caption, seed_of("text dropout", sample.seed))

    def _encode_text(self, clips: Sequence[PackedClip], prompts: Sequence[tuple[str, str]]) -> list[TextState]:
        """Images and videos have templates of their own, so each kind is encoded by itself."""
        states: dict[int, TextState] = {}
        for kind in ("image", "video"):
            places = [i for i, clip in enumerate(clips) if (clip.num_frames == 1) == (kind == "image")]
            read, pooled = [prompts[i][0] for i in places], [prompts[i][1] for i in places]
            encoded = self.text.encode(read, kind, pooled) if places else []
            states.update(zip(places, encoded, strict=True))
        return [states[i] for i in range(len(clips))]

    def loss(self, batch: FlowBatch) -> Tensor:
        velocity = self.dit(
            batch.noisy,
            batch.t_B,
            [state.states for state in batch.text],
            torch.stack([state.pooled for state in batch.text]),
            clean_frames=batch.clean_frames,
        )
        errors = [predicted - target for predicted, target in zip(velocity, batch.target, strict=True)]
        return torch.stack(
            [e[:, frames:].square().mean() for e, frames in zip(errors, batch.clean_frames, strict=True)]
        )

    @torch.no_grad()
    def measure(self, clips: Sequence[PackedClip]) -> tuple[float, dict[str, float]]:
        """Mean velocity error at each of `NOISE_LEVELS`, with noise that follows from the clip and the level alone."""
        self.dit.eval()
        latents = [self.vae.to_latent(self._posterior(clip).mode())[0] for clip in clips]
        text = self._encode_text(clips, [(text, text) for text in (assemble(clip.caption) for clip in clips)])
        parts = {}
        for level in NOISE_LEVELS:
            s = torch.tensor(level)
            noises = [
                torch.randn(latent.shape, generator=generator_of(seed_of("held out", clip.clip_id, level)))
                for clip, latent in zip(clips, latents, strict=True)
            ]
            pairs = list(zip(latents, noises, strict=True))
            noisy = [interpolate(latent, noise, s) for latent, noise in pairs]
            target = [velocity_target(latent, noise) for latent, noise in pairs]
            times = torch.full((len(clips),), level * NUM_TRAIN_TIMESTEPS)
            batch = FlowBatch(noisy, target, times, text, [0] * len(clips))
            parts[f"noise_{level}"] = self.loss(batch).mean().item()
        self.dit.train()
        return sum(parts.values()) / len(parts), parts

    def result(self) -> dict[str, Any]:
        return {"network": "dit", "config": asdict(self.dit.config)}

    def _posterior(self, clip: PackedClip) -> Posterior:
        """The clip's latent distribution, [1, C, T, H, W]; kept in memory as long as the cache has room."""
        if clip.key in self._posteriors:
            return self._posteriors[clip.key]
        with torch.no_grad():
            posterior = self.vae.encode(to_tensor(self.pixels(clip))[None])
        size_bytes = 2 * posterior.mode().nbytes
        if self._cached_bytes + size_bytes <= self._limit_bytes:
            self._posteriors[clip.key] = posterior
            self._cached_bytes += size_bytes
        return posterior
