"""Flow matching of the diffusion transformer: |v(x_s, s, text) - (noise - x_0)|^2, in rectified flow's time s.

    latent x_0 ---------------+
    noise, s of the sample ---+--> x_s = (1 - s) x_0 + s noise --dit--> velocity <--> noise - x_0
    caption variant, or the empty text ------------------------^

Everything random follows from a sample's own seed: the draw from the posterior, the noise, the time, which text,
whether it is left out, whether the clip is image-to-video this time. So a sample is the same in every batch and on
every number of processes. Noise comes from the CPU and is the same on every device. The loss is float32 whatever the
network's numbers. An image is a video of one frame, and clips of any sizes share a packed row without padding.

Time is logit-normal and then shifted towards noise (arXiv 2403.03206), the more the longer the clip: neighbouring
tokens tell about each other. `shift = "tokens"` is the rule of Open-Sora 2 (arXiv 2503.09642), at 720 x 1280 and 129
frames 15.7, for an image of 256 x 256 1.0; peers otherwise give 1, 3 or 7 for everything. A share of evenly drawn times
keeps both ends known (LTX-2's and NeMo's trainers: 0.1).

Held out, a clip is measured at five fixed levels of noise with noise of its own, so nothing is random in it and values
can be compared between steps, stages and runs: peers found it to follow human judgement, where FVD does not.

Legend: B samples, C channels, T frames, H W latent cells.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from model.dit import VideoDiT
from model.flops import DiTFlops, count_flops
from model.flow import NUM_TRAIN_TIMESTEPS, interpolate, sample_timesteps, velocity_target
from model.text_settings import TextDropout
from training.caption_settings import CaptionSettings
from training.clip_tensors import generator_of
from training.data import PackedClip, Sample, seed_of
from training.planner import video_tokens
from training.stages import StageSettings

if TYPE_CHECKING:  # they need transformers, the flow does not
    from model.text import TextState
    from training.encoding import EncodedSource

NOISE_LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True)
class EncodedClip:
    """What a step reads of a sample: its latent [C, T, H, W], and the texts that each of the two encoders is given."""

    latent: Tensor
    states: Tensor
    pooled: Tensor


@dataclass(frozen=True)
class FlowBatch:
    """B noisy latents [C, T, H, W] of any sizes, the velocities to predict, and their conditions.

    s_B: flow times in (0, 1). The first `clean_frames` (0 or 1) frames of a latent are no noisy ones, and nothing is to
    be predicted for them.
    """

    noisy: list[Tensor]
    target: list[Tensor]
    s_B: Tensor
    states: list[Tensor]
    pooled_BD: Tensor
    clean_frames: list[int]


def token_shift(grid: tuple[int, int, int]) -> float:
    """Shift for a clip of `grid` tokens (latent frames, height, width), by the rule of Open-Sora 2.

    Linear in the tokens of a frame, 1 at 256 and 3 at 4,096, times the root of the latent frames.
    """
    frames, height, width = grid
    return (1.0 + 2.0 * (height * width - 256) / (4096 - 256)) * math.sqrt(frames)


class FlowObjective:
    """Velocity of the straight path between noise and a clip's latent.

    Args:
        dit: the network that is trained.
        source: latents and text states, from files or encoded on the fly.
        captions: how many texts there are of a clip.
        device: where batches go; the network lies there already.
    """

    critic = None

    def __init__(
        self,
        dit: VideoDiT,
        source: "EncodedSource",
        stage: StageSettings,
        captions: CaptionSettings,
        device: torch.device | str = "cpu",
    ) -> None:
        self.dit, self.source, self.stage, self.captions = dit, source, stage, captions
        self.device = torch.device(device)
        self._dropout = TextDropout(rate=stage.text_dropout, pooled_rate=stage.pooled_text_dropout)

    @property
    def model(self) -> VideoDiT:
        return self.dit

    def fetch(self, sample: Sample) -> EncodedClip:
        """The latent and the texts of a sample; may run in another process than the network."""
        clip = sample.clip
        variant = random.Random(seed_of("caption", sample.seed)).randrange(self.captions.variants)
        without, without_pooled = self._dropout.drawn(seed_of("text dropout", sample.seed))
        whole = None if without and without_pooled else self.source.text(clip, variant)
        empty = self.source.empty_text(clip) if without or without_pooled else None
        latent = self.source.latent(clip, seed_of("posterior", sample.seed))
        return EncodedClip(latent, _either(empty, whole, without).states, _either(empty, whole, without_pooled).pooled)

    @torch.no_grad()
    def prepare(self, samples: Sequence[Sample], fetched: Sequence[EncodedClip]) -> FlowBatch:
        noisy, target, times, clean = [], [], [], []
        for sample, encoded in zip(samples, fetched, strict=True):
            latent = encoded.latent.to(self.device, torch.float32)
            generator = generator_of(seed_of("noise", sample.seed))
            s = self._time(sample.seed, generator, latent)
            noise = torch.randn(latent.shape, generator=generator).to(self.device)
            frames = self._clean_frames(sample, latent.shape[1])
            noisy.append(torch.cat((latent[:, :frames], interpolate(latent, noise, s)[:, frames:]), dim=1))
            target.append(velocity_target(latent, noise))
            times.append(s)
            clean.append(frames)
        return FlowBatch(
            noisy,
            target,
            torch.cat(times),
            [encoded.states.to(self.device, torch.float32) for encoded in fetched],
            torch.stack([encoded.pooled for encoded in fetched]).to(self.device, torch.float32),
            clean,
        )

    def loss(self, batch: FlowBatch, step: int = 0) -> Tensor:
        del step
        return self.errors(self.velocity(self.dit, batch, self._told(len(batch.noisy))), batch.target, batch)

    def noise(self, batch: FlowBatch) -> Tensor:
        """Flow time of each sample, [B] in (0, 1)."""
        return batch.s_B

    def parts(self) -> dict[str, Tensor]:
        return {}

    def critic_loss(self, batch: FlowBatch) -> Tensor:
        raise AssertionError("a flow has no adversary")

    def flops(self, batch: FlowBatch) -> int:
        """Of one forward and backward; a network whose weights are frozen (LoRA) has no gradients of them to form."""
        counted = self.forward_flops(batch)
        frozen = any(not weight.requires_grad for weight in self.dit.parameters())
        return 2 * counted.forward if frozen else counted.training()

    @torch.no_grad()
    def measure(self, clips: Sequence[PackedClip]) -> tuple[float, dict[str, float]]:
        """Mean velocity error at each of `NOISE_LEVELS`, with noise that follows from the clip and the level alone."""
        self.dit.eval()
        errors: dict[str, list[Tensor]] = {f"noise_{level}": [] for level in NOISE_LEVELS}
        for level, _, batch in self.held_out_batches(clips):
            errors[f"noise_{level}"].append(self.loss(batch))
        self.dit.train()
        return mean_of(errors)

    def result(self) -> dict[str, Any]:
        return {"network": "dit", "config": asdict(self.dit.config)}

    def velocity(self, network: VideoDiT, batch: FlowBatch, guidance_B: Tensor | None) -> list[Tensor]:
        """What a network says of a batch; `guidance_B` are scales, not yet times 1000."""
        number = next(network.parameters()).dtype
        return network(
            [latent.to(number) for latent in batch.noisy],
            batch.s_B * NUM_TRAIN_TIMESTEPS,
            [states.to(number) for states in batch.states],
            batch.pooled_BD.to(number),
            None if guidance_B is None else guidance_B * NUM_TRAIN_TIMESTEPS,
            batch.clean_frames,
        )

    def errors(self, velocity: Sequence[Tensor], target: Sequence[Tensor], batch: FlowBatch) -> Tensor:
        """Mean squared error of each sample over its frames that are not given, float32 [B]."""
        triples = zip(velocity, target, batch.clean_frames, strict=True)
        return torch.stack([(v.float() - wanted)[:, given:].square().mean() for v, wanted, given in triples])

    def forward_flops(self, batch: FlowBatch) -> DiTFlops:
        """Operations of one forward over a batch."""
        video = [prod(self._grid(latent)) for latent in batch.noisy]
        return count_flops(self.dit.config, video, [len(states) for states in batch.states], batch.clean_frames)

    def held_out_batches(self, clips: Sequence[PackedClip]) -> Iterator[tuple[float, list[PackedClip], FlowBatch]]:
        """Each noise level with the clips at it, at most `micro_batch_tokens` of them at once."""
        for group in self._groups(clips):
            latents = [self.source.latent(clip, None).to(self.device, torch.float32) for clip in group]
            texts = [self.source.text(clip, 0) for clip in group]
            states = [text.states.to(self.device, torch.float32) for text in texts]
            pooled_BD = torch.stack([text.pooled for text in texts]).to(self.device, torch.float32)
            for level in NOISE_LEVELS:
                seeds = [seed_of("held out", clip.clip_id, level) for clip in group]
                noises = [
                    torch.randn(latent.shape, generator=generator_of(seed)).to(self.device)
                    for latent, seed in zip(latents, seeds, strict=True)
                ]
                pairs = list(zip(latents, noises, strict=True))
                noisy = [interpolate(latent, noise, torch.tensor(level)) for latent, noise in pairs]
                target = [velocity_target(latent, noise) for latent, noise in pairs]
                s_B = torch.full((len(group),), level, device=self.device)
                yield level, group, FlowBatch(noisy, target, s_B, states, pooled_BD, [0] * len(group))

    def _groups(self, clips: Sequence[PackedClip]) -> list[list[PackedClip]]:
        groups: list[list[PackedClip]] = []
        room = 0
        for clip in clips:
            tokens = video_tokens(clip)
            if not groups or (self.stage.micro_batch_tokens and tokens > room):
                groups.append([])
                room = self.stage.micro_batch_tokens
            groups[-1].append(clip)
            room -= tokens
        return groups

    def _time(self, seed: int, generator: torch.Generator, latent: Tensor) -> Tensor:
        evenly = random.Random(seed_of("even time", seed)).random() < self.stage.uniform_times
        shift = token_shift(self._grid(latent)) if self.stage.shift == "tokens" else float(self.stage.shift)
        scheme: Literal["uniform", "logit_normal"] = "uniform" if evenly else "logit_normal"
        return sample_timesteps(1, generator, 1.0 if evenly else shift, scheme).to(self.device)

    def _clean_frames(self, sample: Sample, num_frames: int) -> int:
        """1 for a video that is image-to-video this time; an image has no second frame to learn."""
        drawn = random.Random(seed_of("image to video", sample.seed)).random()
        return int(num_frames > 1 and drawn < self.stage.image_to_video)

    def _told(self, num_samples: int) -> Tensor | None:
        """The guidance scale that a network is told which embeds one."""
        if not self.dit.config.guidance:
            return None
        return torch.full((num_samples,), self.stage.guidance, device=self.device)

    def _grid(self, latent: Tensor) -> tuple[int, int, int]:
        """Tokens along time, height and width."""
        patch = self.dit.config.patch_size
        time, height, width = (size // step for size, step in zip(latent.shape[1:], patch, strict=True))
        return time, height, width


def mean_of(errors: dict[str, list[Tensor]]) -> tuple[float, dict[str, float]]:
    """The mean over all names, and the mean of each."""
    parts = {name: torch.cat(values).mean().item() for name, values in errors.items()}
    return sum(parts.values()) / len(parts), parts


def _either(empty: "TextState | None", whole: "TextState | None", without: bool) -> "TextState":
    chosen = empty if without else whole
    assert chosen is not None
    return chosen
