"""Sample videos during training: the same prompts with the same noise at every look, beside what they were asked for.

    prompt --text encoder, once--+
    seed of the prompt ----------+--averaged weights, Euler steps--> latent --VAE--> frames
    <run>/<stage>/samples/step-000120/00.mp4    00.json: caption, seed, step, settings; the mp4's metadata says it too
                                      sheet.png all prompts: four frames of each, its caption below

Size, length and frame rate are those that most of the stage's clips have, so a sample looks like what it learns from.
Bad captions show as worse and worse agreement with the text: so captions lie next to what they gave.

Nothing of the training notices: noise comes from generators of its own, no global one is touched, and the network is
left in the mode it was in. Where the weights are spread over processes, all of them must call `write` together, since
each forward gathers weights; the first one decodes and writes.
"""

import json
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from curation.drawing import captioned, png, sheet, spread
from curation.tables import Workspace
from curation.transcode import write_frames
from model.dit import VideoDiT
from model.sampler import sample
from model.tiling import TILINGS, Tiling
from model.vae import CausalVideoVAE
from training.clip_tensors import generator_of
from training.data import PackedClip, seed_of
from training.flow_objective import token_shift
from training.planner import video_tokens
from training.stages import StageSettings, TrainSettings

if TYPE_CHECKING:
    from model.text import Kind, TextState

SAMPLES = "samples"
SHEET_FRAMES, SHEET_WIDTH_PX, LETTER_PX = 4, 240, 8

Encode = Callable[[Sequence[str], "Kind"], "list[TextState]"]
"""Prompts to states, as `TextEncoder.encode`."""


@dataclass(frozen=True)
class SampleShape:
    """Size in px, length in frames and frames per second of a sample."""

    width: int
    height: int
    num_frames: int
    frame_rate: float


def common_shape(clips: Sequence[PackedClip]) -> SampleShape:
    """What most of these clips have; among equals the one with the most tokens."""
    counts = Counter((clip.width, clip.height, clip.num_frames, clip.frame_rate) for clip in clips)
    tokens = {(clip.width, clip.height, clip.num_frames, clip.frame_rate): video_tokens(clip) for clip in clips}
    return SampleShape(*max(counts, key=lambda shape: (counts[shape], tokens[shape], shape)))


class SampleWriter:
    """Writes the samples of one stage. Encodes the prompts at once, so the text encoders may go afterwards.

    Args:
        path: the stage's folder in the workspace.
        clips: what the stage trains on; one at least.
        vae: decodes; on the device of the network.
    """

    def __init__(
        self,
        workspace: Workspace,
        path: tuple[str, ...],
        settings: TrainSettings,
        stage: StageSettings,
        clips: Sequence[PackedClip],
        vae: CausalVideoVAE,
        encode: Encode,
    ) -> None:
        self.workspace, self.path, self.settings, self.stage, self.vae = workspace, path, settings, stage, vae
        self.shape = common_shape(clips)
        kind: Kind = "image" if self.shape.num_frames == 1 else "video"
        *self.texts, self.empty = encode([*settings.sample_prompts, ""], kind)
        self.seeds = [seed_of("sample", settings.seed, number) for number in range(len(settings.sample_prompts))]

    def write(self, dit: VideoDiT, step: int, writes: bool = True) -> list[str]:
        """Sample with the network as it is (call it with averaged weights); returns the URIs of the videos.

        Args:
            writes: whether this process decodes and writes; the others only take part in the forwards.
        """
        uris, rows = [], []
        for number, caption in enumerate(self.settings.sample_prompts):
            latent = self._latent(dit, number)
            if not writes:
                continue
            frames = list(frames_of(self.vae, latent, TILINGS["original"]))
            facts = {"caption": caption, "seed": self.seeds[number], "step": step, "stage": self.stage.name}
            facts["settings"] = self._how(dit, latent)
            uris.append(self._write_one(step, number, frames, facts))
            rows.append(_row(frames, caption))
        if rows:
            self.workspace.write_bytes(png(np.vstack(rows)), *self._folder(step), "sheet.png")
        return uris

    def _latent(self, dit: VideoDiT, number: int) -> Tensor:
        text, shape = self.texts[number], self._latent_shape()
        guided = dit.config.guidance
        trained = dit.training
        dit.eval()
        (latent,) = sample(
            dit,
            [shape],
            [text.states],
            text.pooled[None],
            self.settings.sample_steps,
            self._shift(dit, shape),
            generator_of(self.seeds[number]),
            guidance=self.settings.sample_guidance if guided else None,
            cfg_scale=1.0 if guided else self.settings.sample_guidance,
            negative=self.empty,
        )
        dit.train(trained)
        return latent

    def _latent_shape(self) -> tuple[int, int, int, int]:
        config, shape = self.vae.config, self.shape
        frames = (shape.num_frames - 1) // config.temporal_compression + 1
        cell = config.spatial_compression
        return config.latent_channels, frames, shape.height // cell, shape.width // cell

    def _shift(self, dit: VideoDiT, shape: Sequence[int]) -> float:
        """The stage's own: noise levels it has learned best are those that samples walk through slowest."""
        if self.stage.shift != "tokens":
            return float(self.stage.shift)
        time, height, width = (size // step for size, step in zip(shape[1:], dit.config.patch_size, strict=True))
        return token_shift((time, height, width))

    def _how(self, dit: VideoDiT, latent: Tensor) -> dict[str, Any]:
        told = "guidance" if dit.config.guidance else "cfg_scale"
        how = {"steps": self.settings.sample_steps, "shift": self._shift(dit, latent.shape)}
        return asdict(self.shape) | how | {told: self.settings.sample_guidance}

    def _write_one(self, step: int, number: int, frames: Sequence[np.ndarray], facts: dict[str, Any]) -> str:
        comment = json.dumps(facts, ensure_ascii=False)
        video = write_frames(frames, self.shape.frame_rate, comment=comment)
        name = (*self._folder(step), f"{number:02d}.mp4")
        self.workspace.write_bytes(json.dumps(facts, indent=1).encode(), *self._folder(step), f"{number:02d}.json")
        self.workspace.write_bytes(video, *name)
        return "/".join(name)

    def _folder(self, step: int) -> tuple[str, ...]:
        return (*self.path, SAMPLES, f"step-{step:06d}")


def frames_of(vae: CausalVideoVAE, latent: Tensor, tiling: Tiling | None) -> Iterator[np.ndarray]:
    """The frames of a latent [C, T, H, W] in the DiT's scale, uint8 RGB [H, W, 3], each as soon as it is decoded."""
    pieces = vae.decode_pieces(vae.from_latent(latent[None]).to(next(vae.parameters())), tiling)
    while True:
        with torch.no_grad():
            piece = next(pieces, None)
        if piece is None:
            return
        pixels = ((piece[0].float().clamp(-1, 1) + 1) * 127.5).round().byte()
        yield from pixels.permute(1, 2, 3, 0).cpu().numpy()


def _row(frames: Sequence[np.ndarray], caption: str) -> np.ndarray:
    """Frames of one sample side by side with the caption below, BGR; always as wide as a whole row."""
    shown = [np.ascontiguousarray(frames[i][..., ::-1]) for i in spread(len(frames), SHEET_FRAMES)]
    row = sheet(shown, SHEET_FRAMES, SHEET_WIDTH_PX)
    for line in textwrap.wrap(caption, row.shape[1] // LETTER_PX):
        row = captioned(row, line)
    return row
