"""The VAE's reconstruction, by the whole loss of the report (arXiv 2412.03603 s4.1), on crops of images and videos.

    clip --interval, crop--> video --encode--> posterior --draw--> latent --decode--> decoded
                                      |                                                 |
    loss =   kl_weight * KL ----------+            L1 + lpips_weight * LPIPS + adversarial_weight * adversarial
    critic_loss = hinge(critic(video), critic(decoded))                                    from `adversarial_from` on

L1 is the mean per pixel value, LPIPS the mean per frame, the adversarial term minus the mean score per patch, **KL the
mean per latent value, in nats**. The report gives 1e-6 for KL and no reductions. The same 1e-6 means, for a video whose
latent has L values and which has about 48 pixel values to each of them:

    both terms means, as here                                  kl_weight = 1e-6
    both terms sums per sample (Stable Diffusion's trainer)    kl_weight = 1e-6 / 48 = 2e-8
    L1 a mean, KL a sum per sample (diffusers' example)        kl_weight = 1e-6 * L, 0.08 at 17 x 256 x 256

Under all but the last, KL only keeps latents from drifting; the scaling factor in `result()` makes their size one.

The weight of the adversarial term is fixed, as in the report: adaptive weights (arXiv 2012.09841, eq. 7) need a second
backward through the decoder's last layer per step. What keeps it stable is the critic's norms, the hinge, and that the
critic learns from step 0 while the VAE listens from `adversarial_from` on only. LPIPS and the critic take their
gradients at once (model/early_gradient.py): neither is kept until the backward, and the critic gets no gradient from
the VAE's loss. The critic learns from what `loss` decoded, which is not decoded again.

A sample is the same in every batch: interval, crop, posterior draw and whether it goes through tiles follow from its
own seed. Videos of one size go through together, others by themselves; nothing is padded. Held out, whole clips are
measured from the posterior's mean, and once more in tiles where the stage trains in them.

Legend: B samples, C channels, T frames, H W pixels.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from curation.records import UserError
from model.discriminator import PatchCritic, adversarial_loss, build_critic, critic_config, critic_loss
from model.early_gradient import early_gradient
from model.perceptual import LPIPS, open_lpips
from model.presets import VAEConfig
from model.tiling import Tiling
from model.vae import CausalVideoVAE, Posterior
from model.vae_flops import count_vae_flops
from training.clip_tensors import generator_of, to_tensor
from training.data import PackedClip, Sample, seed_of
from training.reconstruction import compared
from training.stages import LPIPSSettings, StageSettings

NUM_SCALE_CLIPS = 32  # clips whose latents set the VAE's scaling factor

Pixels = Callable[[PackedClip], np.ndarray]


@dataclass(frozen=True)
class CropReader:
    """Decodes a sample's clip and cuts its box, on the CPU: knows no network, so any process may have a copy."""

    pixels: Pixels
    stage: StageSettings

    def __call__(self, sample: Sample) -> np.ndarray:
        """uint8 [T, H, W, 3] of at most crop_frames x crop_px x crop_px, its frames one drawn interval apart."""
        frames = self.pixels(sample.clip)
        shape = crop_shape(self.stage, frames.shape[0], frames.shape[1], frames.shape[2])
        interval = self._interval(sample.seed, shape[0], len(frames))
        spans = ((shape[0] - 1) * interval + 1, shape[1], shape[2])
        rng = random.Random(sample.seed)
        starts = [rng.randint(0, size - span) for size, span in zip(frames.shape[:3], spans, strict=True)]
        t, y, x = (slice(start, start + span) for start, span in zip(starts, spans, strict=True))
        return np.ascontiguousarray(frames[t, y, x][::interval])

    def _interval(self, seed: int, num_frames: int, available: int) -> int:
        """Evenly from 1 to the largest that the stage allows and the clip has room for."""
        if num_frames == 1:
            return 1
        largest = min(self.stage.frame_interval, (available - 1) // (num_frames - 1))
        return random.Random(seed_of("interval", seed)).randint(1, largest)


def crop_shape(stage: StageSettings, num_frames: int, height: int, width: int) -> tuple[int, int, int]:
    """Frames, height and width of the crops of a clip, which are no larger than the clip is."""
    return (
        min(num_frames, stage.crop_frames or num_frames),
        min(height, stage.crop_px or height),
        min(width, stage.crop_px or width),
    )


@dataclass(frozen=True)
class VideoGroup:
    """Videos of one size [B, C, T, H, W] in [-1, 1] that go through tiles or do not.

    `places` are those of the samples in the whole batch, `seeds` those of their posterior draws.
    """

    video_BCTHW: Tensor
    tiled: bool
    places: tuple[int, ...]
    seeds: tuple[int, ...]


class VAEObjective:
    """Reconstruction of crops, judged by L1, LPIPS and a critic.

    Args:
        vae: the network that is trained.
        pixels: a clip's frames, uint8 [T, H, W, 3].
        clips: what the stage trains on; sets the scaling factor of the result.
        lpips: the perceptual distance, from `lpips_of`; None where no weights are given.
        seed: of the critic's first weights.
        device: where batches go; the network lies there already.

    Raises:
        UserError: the stage asks for LPIPS without its weights, for tiles that are larger than any crop, or for frame
            intervals in whole clips.
    """

    def __init__(
        self,
        vae: CausalVideoVAE,
        stage: StageSettings,
        pixels: Pixels,
        clips: Sequence[PackedClip],
        lpips: LPIPS | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        _check_stage(stage, clips, lpips)
        self.vae, self.stage, self.pixels, self.clips = vae, stage, pixels, clips
        self.device = torch.device(device)
        self.lpips = None if lpips is None else lpips.to(self.device)
        self.tiling = stage_tiling(stage, vae.config)
        self.fetch = CropReader(pixels, stage)
        self.critic: PatchCritic | None = None
        if stage.adversarial_weight:
            self.critic = build_critic(critic_config(vae.config), seed_of("critic", seed, stage.name)).to(self.device)
        self._parts: dict[str, Tensor] = {}
        self._decoded: tuple[list[VideoGroup], list[Tensor]] | None = None

    @property
    def model(self) -> CausalVideoVAE:
        return self.vae

    def prepare(self, samples: Sequence[Sample], fetched: Sequence[np.ndarray]) -> list[VideoGroup]:
        """Crops in groups of one size, in the order in which each size first comes."""
        members: dict[tuple[tuple[int, ...], bool], list[int]] = {}
        for place, (sample, frames) in enumerate(zip(samples, fetched, strict=True)):
            tiled = random.Random(seed_of("tiled", sample.seed)).random() < self.stage.tiled
            members.setdefault((frames.shape, tiled), []).append(place)
        return [
            VideoGroup(
                torch.stack([to_tensor(fetched[place], self.device) for place in places]),
                tiled,
                tuple(places),
                tuple(samples[place].seed for place in places),
            )
            for (_, tiled), places in members.items()
        ]

    def loss(self, batch: list[VideoGroup], step: int = 0) -> Tensor:
        """Weighted sum of the terms for each sample, in the samples' order, [B]; `step` counts within the stage."""
        listens = self.critic is not None and step >= self.stage.adversarial_from
        terms = [self._terms(group, listens) for group in batch]
        decoded = [term.pop("decoded") for term in terms]
        self._decoded = (batch, decoded) if self.critic is not None else None
        order = torch.tensor([place for group in batch for place in group.places], device=self.device).argsort()
        columns = {name: torch.cat([term[name] for term in terms])[order] for name in terms[0]}
        self._parts = {name: column.detach().mean() for name, column in columns.items()}
        weights = {
            "l1": 1.0,
            "lpips": self.stage.lpips_weight,
            "adversarial": self.stage.adversarial_weight,
            "kl": self.stage.kl_weight,
        }
        return torch.stack([weights[name] * column for name, column in columns.items()]).sum(dim=0)

    def _terms(self, group: VideoGroup, listens: bool) -> dict[str, Tensor]:
        """Unweighted terms of the group's samples, each [B] float32, and what was `decoded`, detached."""
        video, tiling = group.video_BCTHW, self.tiling if group.tiled else None
        posterior = self.vae.encode(video.to(next(self.vae.parameters()).dtype), tiling)
        decoded = self.vae.decode(_draw(posterior, group.seeds), tiling).float()
        terms = {"l1": (decoded - video).abs().flatten(1).mean(dim=1)}
        if self.lpips is not None and self.stage.lpips_weight:
            terms["lpips"] = self.lpips(decoded, video).mean(dim=1)
        if listens:
            terms["adversarial"] = early_gradient(self._judged, decoded, at_once=len(decoded))
        terms["kl"] = Posterior(posterior.mean.float(), posterior.logvar.float()).kl() / posterior.mean[0].numel()
        return terms | {"decoded": decoded.detach()}

    def _judged(self, decoded_BCTHW: Tensor) -> Tensor:
        assert self.critic is not None
        return adversarial_loss(self.critic(decoded_BCTHW))

    def critic_loss(self, batch: list[VideoGroup]) -> Tensor:
        """The critic's hinge loss for each sample, in the samples' order, [B]; asked after `loss`, and once."""
        assert self.critic is not None and self._decoded is not None and self._decoded[0] is batch
        losses, order = [], [place for group in batch for place in group.places]
        for group, decoded in zip(*self._decoded, strict=True):
            losses.append(critic_loss(self.critic(group.video_BCTHW), self.critic(decoded)))
        self._decoded = None
        column = torch.cat(losses)[torch.tensor(order, device=self.device).argsort()]
        self._parts["critic"] = column.detach().mean()
        return column

    def noise(self, batch: list[VideoGroup]) -> Tensor | None:
        """A VAE sees no noise levels."""
        del batch
        return None

    def parts(self) -> dict[str, Tensor]:
        """Means of the last loss's unweighted terms: l1, kl, and lpips, adversarial, critic where there are such."""
        return dict(self._parts)

    def flops(self, batch: list[VideoGroup]) -> int:
        """Of the VAE's forward and backward; LPIPS, the critic and what tiles do twice are not the model's."""
        total = 0
        for group in batch:
            num_frames, height, width = group.video_BCTHW.shape[2:]
            total += len(group.places) * count_vae_flops(self.vae.config, (num_frames, height, width)).training
        return total

    @torch.no_grad()
    def measure(self, clips: Sequence[PackedClip]) -> tuple[float, dict[str, float]]:
        """L1 of whole held-out clips, decoded from the posterior's mean; PSNR in dB over pixels in [0, 1]; SSIM; LPIPS.

        The same of tiles, `tiled_l1` and so on, where the stage trains in them.
        """
        self.vae.eval()
        modes = {"": None} | ({"tiled_": self.tiling} if self.stage.tiled else {})
        values: dict[str, list[float]] = {}
        for clip in clips:
            video = to_tensor(self.pixels(clip), self.device)[None]
            for prefix, tiling in modes.items():
                for name, value in compared(self.vae, video, tiling, self.lpips).items():
                    values.setdefault(prefix + name, []).append(value)
        self.vae.train()
        parts = {name: sum(column) / len(column) for name, column in values.items()}
        return parts["l1"], parts

    @torch.no_grad()
    def result(self) -> dict[str, Any]:
        """The configuration with the scaling factor that brings this VAE's latents to unit variance."""
        chosen = sorted(self.clips, key=lambda clip: seed_of("scale", *clip.key))[:NUM_SCALE_CLIPS]
        number = next(self.vae.parameters()).dtype
        squares = []  # E z^2
        for clip in chosen:
            posterior = self.vae.encode(to_tensor(self.pixels(clip), self.device)[None].to(number))
            squares.append((posterior.mean.float().square() + posterior.logvar.float().exp()).mean())
        scale = 1.0 / torch.stack(squares).mean().sqrt().item()
        return {"network": "vae", "config": asdict(replace(self.vae.config, scaling_factor=scale))}


def _draw(posterior: Posterior, seeds: Sequence[int]) -> Tensor:
    """One sample of each posterior, [B, C, T, H, W], by a seed of its own."""
    each = [
        Posterior(posterior.mean[i : i + 1], posterior.logvar[i : i + 1]).sample(generator_of(seed))
        for i, seed in enumerate(seeds)
    ]
    return torch.cat(each)


def stage_tiling(stage: StageSettings, config: VAEConfig) -> Tiling:
    """The tiles a stage trains in: a quarter of each is shared with the next, in whole latents, as in use."""

    def overlap(tile: int, compression: int) -> int:
        return 0 if tile <= compression else max(tile // 4 // compression, 1) * compression

    return Tiling(
        stage.tile_px,
        overlap(stage.tile_px, config.spatial_compression),
        stage.tile_frames,
        overlap(stage.tile_frames, config.temporal_compression),
    )


def lpips_of(settings: LPIPSSettings) -> LPIPS | None:
    """LPIPS from the files that a recipe names; None where it names none.

    Raises:
        UserError: one file is named and the other is not, or a file is not what is expected.
    """
    if not settings.backbone and not settings.linear:
        return None
    if not settings.backbone or not settings.linear:
        raise UserError(
            f"train.lpips needs both files or neither, got backbone={settings.backbone!r} and "
            f"linear={settings.linear!r}"
        )
    try:
        return open_lpips(settings.backbone, settings.linear)
    except ValueError as error:
        raise UserError(f"train.lpips does not fit: {error}") from error


def _check_stage(stage: StageSettings, clips: Sequence[PackedClip], lpips: nn.Module | None) -> None:
    if stage.lpips_weight and lpips is None:
        raise UserError(
            f"stage {stage.name!r} has lpips_weight = {stage.lpips_weight}, but no weights of LPIPS are given: name "
            "train.lpips.backbone (torchvision's vgg16) and train.lpips.linear (LPIPS v0.1's vgg.pth), which are never "
            "downloaded, or set lpips_weight = 0"
        )
    if stage.frame_interval > 1 and not stage.crop_frames:
        raise UserError(
            f"stage {stage.name!r} draws intervals of up to {stage.frame_interval} frames, but takes clips whole: "
            "set crop_frames, or frame_interval = 1"
        )
    shapes = [crop_shape(stage, clip.num_frames, clip.height, clip.width) for clip in clips]
    longest, widest = max((shape[0] for shape in shapes), default=0), max((max(s[1:]) for s in shapes), default=0)
    if stage.tiled and shapes and longest <= stage.tile_frames and widest <= stage.tile_px:
        raise UserError(
            f"stage {stage.name!r} sends {stage.tiled:.0%} of its samples through tiles of {stage.tile_px} px and "
            f"{stage.tile_frames} frames, but its largest crops are {widest} px and {longest} frames: "
            "take smaller tiles or larger crops, or set tiled = 0"
        )
