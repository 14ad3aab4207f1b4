"""Guidance distillation: the student starts as its teacher and learns to follow the scale in one forward."""

from dataclasses import replace

import pytest
import torch

from model.dit import VideoDiT
from model.flow import guided_velocity
from tests.model.seeded import randomised
from tests.training.encoded_source import CLIPS, TINY, SeededSource
from training.caption_settings import CaptionSettings
from training.data import Sample, seed_of
from training.distillation import DistillationBatch, DistillationObjective, student_of
from training.flow_objective import NOISE_LEVELS
from training.stages import StageSettings

STAGE = StageSettings(name="distill", objective="distill", shards={"image": 1, "video": 1}, text_dropout=0.0)


@pytest.fixture
def teacher() -> VideoDiT:
    network = randomised(replace(TINY, num_dual_blocks=1, num_single_blocks=1))
    assert isinstance(network, VideoDiT)
    with torch.no_grad():
        network.vector_in.out_layer.weight.mul_(10)  # the text shows in what it says
    return network


def objective_of(teacher: VideoDiT) -> DistillationObjective:
    return DistillationObjective(student_of(teacher, 0), teacher, SeededSource(), STAGE, CaptionSettings())


def batch_of(objective: DistillationObjective, first: int = 0) -> DistillationBatch:
    samples = [Sample(clip, number, seed_of("test", number)) for number, clip in enumerate(CLIPS, first)]
    return objective.prepare(samples, [objective.fetch(sample) for sample in samples])


def test_the_student_starts_as_its_teacher_at_every_scale(teacher):
    objective = objective_of(teacher)
    batch = batch_of(objective).flow
    told = objective.flow.velocity(objective.model, batch, torch.tensor([1.0, 3.0, 6.0, 8.0]))
    plain = objective.flow.velocity(teacher, batch, None)
    assert all(torch.equal(one, other) for one, other in zip(told, plain, strict=True))


def test_at_scale_one_there_is_nothing_to_learn_at_first_and_at_others_there_is(teacher):
    objective = objective_of(teacher)
    batch = batch_of(objective)
    at_one = objective.loss(DistillationBatch(batch.flow, batch.empty, torch.ones(4)))
    assert at_one.max() < 1e-9 < objective.loss(batch).min()
    assert batch.scale_B.min() >= 1 and batch.scale_B.max() <= 8 and len(set(batch.scale_B.tolist())) == 4


def test_a_student_that_was_trained_follows_the_scale_in_one_forward(teacher):
    objective = objective_of(teacher)
    optimizer = torch.optim.Adam(objective.model.parameters(), lr=1e-3)
    before, untrained = objective.measure(CLIPS)
    for step in range(40):
        optimizer.zero_grad()
        objective.loss(batch_of(objective, 4 * step)).mean().backward()
        optimizer.step()
    after, trained = objective.measure(CLIPS)
    assert after < 0.5 * before
    assert trained["scale_8"] < 0.5 * untrained["scale_8"]

    batch = batch_of(objective).flow
    empty = [objective.flow.source.empty_text(clip) for clip in CLIPS]
    asked = {}
    for scale in (1.0, 8.0):
        scales = torch.full((4,), scale)
        with torch.no_grad():
            asked[scale] = objective.flow.velocity(objective.model, batch, scales)
    target = guided_velocity(
        teacher, batch.noisy, batch.s_B * 1000, batch.states, batch.pooled_BD, empty, torch.full((4,), 8.0)
    )
    near, far = (sum((a - b).square().mean() for a, b in zip(asked[scale], target, strict=True)) for scale in asked)
    assert far < 0.6 * near  # told 8 it is nearer to the teacher at 8 than told 1


def test_the_teacher_is_left_as_it_was(teacher):
    objective = objective_of(teacher)
    objective.loss(batch_of(objective)).mean().backward()
    assert all(weight.grad is None for weight in teacher.parameters())
    assert objective.model.get_parameter("guidance_in.mlp.2.weight").grad.abs().sum() > 0  # type: ignore[union-attr]


def test_measuring_names_levels_and_scales_and_has_nothing_random_in_it(teacher):
    objective = objective_of(teacher)
    loss, parts = objective.measure(CLIPS[:2])
    assert list(parts) == [*(f"noise_{level}" for level in NOISE_LEVELS), "scale_1", "scale_4.5", "scale_8"]
    assert (loss, parts) == objective.measure(CLIPS[:2])
    assert parts["scale_1"] < 1e-9 < parts["scale_4.5"] < parts["scale_8"]


def test_one_forward_costs_half_of_what_the_teacher_does_and_flops_count_both(teacher):
    objective = objective_of(teacher)
    batch = batch_of(objective)
    forward = objective.flow.forward_flops(batch.flow).forward
    assert objective.flops(batch) == 5 * forward
    assert objective.result()["config"]["guidance"] is True


def test_a_network_that_embeds_a_scale_is_no_teacher(teacher):
    with pytest.raises(ValueError, match="embeds a guidance scale already"):
        student_of(student_of(teacher, 0), 0)
