"""Guidance distillation: a student that is told a scale says in one forward what its teacher says in two.

    teacher (frozen)  v(text), v(empty text) --v(empty) + g (v(text) - v(empty))--> target
    student           one forward, told 1000 g  <-------------- |difference|^2 ------^        g drawn evenly, 1 to 8

The student is the teacher with one more embedder, whose last layer starts at zero: at first it *is* the teacher, at
every scale. Sampling with the finished student needs half the operations (HunyuanVideo, arXiv 2412.03603 section 4.5:
about 1.9 times as fast; method: arXiv 2210.03142).

Held out, every clip is measured at the five fixed noise levels and three fixed scales: the lowest, the middle and the
highest. Each number is the student's mean squared distance from the guided teacher.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from model.dit import VideoDiT
from model.flow import NUM_TRAIN_TIMESTEPS, guided_velocity
from model.layers import SINUSOID_CHANNELS
from training.caption_settings import CaptionSettings
from training.clip_tensors import generator_of
from training.data import PackedClip, Sample, seed_of
from training.flow_objective import EncodedClip, FlowBatch, FlowObjective, mean_of
from training.stages import StageSettings

if TYPE_CHECKING:
    from model.text import TextState
    from training.encoding import EncodedSource


@dataclass(frozen=True)
class DistillationBatch:
    """Noisy latents with their texts, the empty text of each, and the scale [B] that is to be learned."""

    flow: FlowBatch
    empty: "list[TextState]"
    scale_B: Tensor


def new_guidance(width: int, seed: int) -> dict[str, Tensor]:
    """Weights of a guidance embedder that adds nothing yet, by released names; they follow from the seed."""
    shapes = {"0": (width, SINUSOID_CHANNELS), "2": (width, width)}
    weights = {f"guidance_in.mlp.{layer}.weight": torch.zeros(shape) for layer, shape in shapes.items()}
    biases = {f"guidance_in.mlp.{layer}.bias": torch.zeros(width) for layer in shapes}
    # the first layer as in any new network; only the last has to be zero for the sum to be
    weights["guidance_in.mlp.0.weight"].normal_(std=0.02, generator=generator_of(seed_of("guidance", seed)))
    return weights | biases


def student_of(teacher: VideoDiT, seed: int) -> VideoDiT:
    """A network with the teacher's weights and an embedded guidance scale, which gives what the teacher gives.

    Raises:
        ValueError: the teacher embeds a scale already.
    """
    if teacher.config.guidance:
        raise ValueError("the teacher embeds a guidance scale already; distil a network that does not")
    with torch.device("meta"):
        student = VideoDiT(replace(teacher.config, guidance=True))
    copied = {name: weight.detach().clone() for name, weight in teacher.state_dict().items()}
    student.load_state_dict(copied | new_guidance(teacher.config.hidden_size, seed), assign=True)
    return student.to(next(teacher.parameters())).requires_grad_(True)


class DistillationObjective:
    """The student's velocity at a scale against the teacher's guided one.

    Args:
        student: the network that is trained; embeds a scale.
        teacher: the frozen one, without a scale of its own; on the same device. Where the student is spread over
            processes, it must be spread, too.
        source, captions, device: as in `FlowObjective`.
    """

    critic = None

    def __init__(
        self,
        student: VideoDiT,
        teacher: VideoDiT,
        source: "EncodedSource",
        stage: StageSettings,
        captions: CaptionSettings,
        device: torch.device | str = "cpu",
    ) -> None:
        self.flow = FlowObjective(student, source, stage, captions, device)
        self.teacher = teacher.eval().requires_grad_(False)
        self.stage = stage

    @property
    def model(self) -> VideoDiT:
        return self.flow.dit

    def fetch(self, sample: Sample) -> "tuple[EncodedClip, TextState]":
        """What a flow stage reads of a sample, and the empty text of its kind."""
        return self.flow.fetch(sample), self.flow.source.empty_text(sample.clip)

    def prepare(
        self, samples: Sequence[Sample], fetched: "Sequence[tuple[EncodedClip, TextState]]"
    ) -> DistillationBatch:
        low, high = self.stage.guidance_scales
        drawn = [torch.rand(1, generator=generator_of(seed_of("scale", sample.seed))) for sample in samples]
        scale_B = low + (high - low) * torch.cat(drawn).to(self.flow.device)
        flow = self.flow.prepare(samples, [clip for clip, _ in fetched])
        return DistillationBatch(flow, [empty for _, empty in fetched], scale_B)

    def loss(self, batch: DistillationBatch, step: int = 0) -> Tensor:
        del step
        velocity = self.flow.velocity(self.model, batch.flow, batch.scale_B)
        return self.flow.errors(velocity, self._target(batch), batch.flow)

    def noise(self, batch: DistillationBatch) -> Tensor:
        """Flow time of each sample, [B] in (0, 1)."""
        return batch.flow.s_B

    def parts(self) -> dict[str, Tensor]:
        return {}

    def critic_loss(self, batch: DistillationBatch) -> Tensor:
        raise AssertionError("a distillation has no adversary")

    def flops(self, batch: DistillationBatch) -> int:
        """Of the student's forward and backward, and of the teacher's two forwards."""
        return self.flow.flops(batch.flow) + 2 * self.flow.forward_flops(batch.flow).forward

    @torch.no_grad()
    def measure(self, clips: Sequence[PackedClip]) -> tuple[float, dict[str, float]]:
        """Mean squared distance from the guided teacher, at each fixed noise level and at each fixed scale."""
        self.model.eval()
        low, high = self.stage.guidance_scales
        by_level: dict[str, list[Tensor]] = {}
        by_scale: dict[str, list[Tensor]] = {}
        for level, group, flow in self.flow.held_out_batches(clips):
            empty = [self.flow.source.empty_text(clip) for clip in group]
            for scale in (low, (low + high) / 2, high):
                losses = self.loss(DistillationBatch(flow, empty, torch.full_like(flow.s_B, scale)))
                by_level.setdefault(f"noise_{level}", []).append(losses)
                by_scale.setdefault(f"scale_{scale:g}", []).append(losses)
        self.model.train()
        loss, parts = mean_of(by_level)
        return loss, parts | mean_of(by_scale)[1]

    def result(self) -> dict[str, Any]:
        return self.flow.result()

    def _target(self, batch: DistillationBatch) -> list[Tensor]:
        """The teacher's guided velocity; both of its predictions are one packed forward."""
        flow, number = batch.flow, next(self.teacher.parameters()).dtype
        return guided_velocity(
            self.teacher,
            [latent.to(number) for latent in flow.noisy],
            flow.s_B * NUM_TRAIN_TIMESTEPS,
            [states.to(number) for states in flow.states],
            flow.pooled_BD.to(number),
            batch.empty,
            batch.scale_B,
            clean_frames=flow.clean_frames,
        )
