"""The flow's end points, sign and distribution of times."""

import pytest
import torch
from torch import Tensor, nn

from model.dit import VideoDiT
from model.flow import (
    guided_velocity,
    interpolate,
    sample_guidance_scales,
    sample_timesteps,
    shift_timesteps,
    velocity_target,
)
from model.presets import DiTConfig
from model.sampler import sample
from model.text import TextState
from tests.model.seeded import randomised


def test_the_path_goes_from_data_to_noise_at_the_velocity() -> None:
    data, noise = torch.randn(3, 4, 2, 2), torch.randn(3, 4, 2, 2)
    s = torch.tensor([0.0, 0.25, 1.0])
    point = interpolate(data, noise, s)
    torch.testing.assert_close(point[0], data[0])
    torch.testing.assert_close(point[2], noise[2])
    torch.testing.assert_close(point[1] + 0.75 * velocity_target(data, noise)[1], noise[1])
    torch.testing.assert_close(interpolate(data[1], noise[1], s[1]), point[1])


def test_shift_moves_times_towards_noise_and_keeps_the_ends() -> None:
    s = torch.tensor([0.0, 0.125, 0.5, 1.0])
    assert torch.equal(shift_timesteps(s, 1.0), s)
    torch.testing.assert_close(shift_timesteps(s, 7.0), torch.tensor([0.0, 0.5, 0.875, 1.0]))


def test_times_are_seeded_open_and_logit_normal() -> None:
    s = sample_timesteps(20_000, torch.Generator().manual_seed(0), 1.0)
    assert torch.equal(s, sample_timesteps(20_000, torch.Generator().manual_seed(0), 1.0))
    assert s.dtype == torch.float32 and s.min() > 0 and s.max() < 1
    logit = torch.logit(s)
    assert abs(logit.mean()) < 0.03 and abs(logit.std() - 1) < 0.03


def test_uniform_times_are_flat_before_the_shift_and_lean_to_noise_after() -> None:
    flat = sample_timesteps(20_000, torch.Generator().manual_seed(0), 1.0, "uniform")
    assert abs(flat.mean() - 0.5) < 0.01 and abs(flat.std() - 12**-0.5) < 0.01
    shifted = sample_timesteps(20_000, torch.Generator().manual_seed(0), 3.0, "uniform")
    assert torch.equal(shifted, shift_timesteps(flat, 3.0))


def test_a_shift_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="shift must be positive, got 0"):
        shift_timesteps(torch.rand(2), 0)


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown timestep scheme 'cosine'"):
        sample_timesteps(2, torch.Generator(), 1.0, "cosine")  # pyright: ignore[reportArgumentType]


TEACHER = DiTConfig(
    hidden_size=32,
    num_heads=2,
    num_dual_blocks=1,
    num_single_blocks=1,
    rope_dims=(4, 6, 6),
    text_width=8,
    pooled_width=4,
    guidance=False,
)


@pytest.fixture(scope="module")
def teacher() -> VideoDiT:
    return randomised(TEACHER, spread=0.05).eval()


def _prompts() -> tuple[list[Tensor], Tensor, TextState]:
    generator = torch.Generator().manual_seed(2)
    text = [torch.randn(n, 8, generator=generator) for n in (3, 5)]
    pooled = torch.randn(2, 4, generator=generator)
    return text, pooled, TextState(torch.randn(2, 8, generator=generator), torch.randn(4, generator=generator))


def test_guidance_scales_of_a_student_are_seeded_and_uniform_from_one_to_eight() -> None:
    scales = sample_guidance_scales(20_000, torch.Generator().manual_seed(0))
    assert torch.equal(scales, sample_guidance_scales(20_000, torch.Generator().manual_seed(0)))
    assert scales.min() >= 1 and scales.max() <= 8
    assert abs(scales.mean() - 4.5) < 0.05 and abs(scales.std() - 7 / 12**0.5) < 0.02


def test_the_distillation_target_is_the_plain_velocity_at_one_and_linear_in_each_sample_s_scale(teacher) -> None:
    text, pooled, empty = _prompts()
    latents, t = [torch.randn(16, 1, 4, 4), torch.randn(16, 2, 4, 4)], torch.tensor([300.0, 900.0])
    plain = teacher(latents, t, text, pooled)
    without = teacher(latents, t, [empty.states] * 2, empty.pooled.expand(2, -1))
    target = guided_velocity(teacher, latents, t, text, pooled, [empty] * 2, torch.tensor([1.0, 6.5]))
    torch.testing.assert_close(target[0], plain[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(target[1], without[1] + 6.5 * (plain[1] - without[1]), rtol=0, atol=1e-5)
    assert not any(one.requires_grad for one in target)


def test_a_student_that_meets_its_target_walks_once_where_its_teacher_walks_twice(teacher) -> None:
    text, pooled, empty = _prompts()

    class Student(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.teacher = teacher

        def forward(
            self, latents: list[Tensor], t: Tensor, text: list[Tensor], pooled: Tensor, given: Tensor, clean: list[int]
        ) -> list[Tensor]:
            scale = given / 1000
            return guided_velocity(teacher, latents, t, text, pooled, [empty] * 2, scale, clean_frames=clean)

    def walk(network: nn.Module, **guidance: object) -> list[Tensor]:
        generator = torch.Generator().manual_seed(7)
        shapes = [(16, 1, 4, 4), (16, 2, 4, 4)]
        return sample(network, shapes, text, pooled, 4, 7.0, generator, **guidance)  # pyright: ignore[reportArgumentType]

    once, twice = walk(Student(), guidance=6.0), walk(teacher, cfg_scale=6.0, negative=empty)
    for student, expected in zip(once, twice, strict=True):
        torch.testing.assert_close(student, expected, rtol=0, atol=1e-6)
