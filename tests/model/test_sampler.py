"""The sampler against diffusers' scheduler, and what it does with guidance and seeds."""

from typing import Any

import pytest
import torch
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from model.dit import VideoDiT
from model.presets import DiTConfig
from model.sampler import guidance_input, sample, sigma_schedule
from model.text import TextState
from tests.model.seeded import randomised

SIZES = {
    "hidden_size": 32,
    "num_heads": 2,
    "num_dual_blocks": 1,
    "num_single_blocks": 1,
    "rope_dims": (4, 6, 6),
    "text_width": 8,
    "pooled_width": 4,
}
SHAPES = [(16, 1, 4, 4), (16, 2, 4, 6)]


def _model(guidance: bool = False) -> VideoDiT:
    return randomised(DiTConfig(**SIZES, guidance=guidance), spread=0.05).eval()


def _prompts() -> tuple[list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(n, 8, generator=generator) for n in (3, 5)], torch.randn(2, 4, generator=generator)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def _reference(num_steps: int, shift: float) -> Any:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(sigmas=torch.linspace(1, 0, num_steps + 1)[:-1].tolist())
    return scheduler


@pytest.mark.parametrize(("num_steps", "shift"), [(50, 7.0), (8, 17.0), (1, 1.0)])
def test_schedule_equals_the_reference(num_steps: int, shift: float) -> None:
    scheduler = _reference(num_steps, shift)
    torch.testing.assert_close(sigma_schedule(num_steps, shift), scheduler.sigmas, rtol=0, atol=1e-6)
    torch.testing.assert_close(sigma_schedule(num_steps, shift)[:-1] * 1000, scheduler.timesteps, rtol=1e-6, atol=0)


def test_a_straight_flow_is_followed_exactly() -> None:
    """With the true velocity to one point, every schedule ends on that point."""
    target = torch.randn(16, 1, 4, 4)

    class Straight(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, latents: list[Tensor], t: Tensor, *_: object) -> list[Tensor]:
            return [(x - target) / (t_one / 1000) for x, t_one in zip(latents, t, strict=True)]

    text, pooled = _prompts()
    for num_steps, shift in ((1, 1.0), (7, 3.0), (50, 7.0)):
        (x,) = sample(Straight(), SHAPES[:1], text[:1], pooled[:1], num_steps, shift, _generator())  # pyright: ignore[reportArgumentType]
        torch.testing.assert_close(x, target, rtol=0, atol=1e-5)


def test_the_seed_decides() -> None:
    model, (text, pooled) = _model(), _prompts()
    first, again, other = (
        sample(model, SHAPES, text, pooled, 2, 7.0, torch.Generator().manual_seed(seed))[1] for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_classifier_free_guidance_goes_from_the_negative_through_the_positive() -> None:
    model, (text, pooled) = _model(), _prompts()
    negative = TextState(torch.randn(4, 8), torch.randn(4))

    def walk(states: list[Tensor], vector: Tensor, **more: object) -> list[Tensor]:
        return sample(model, SHAPES, states, vector, num_steps=1, shift=1.0, generator=_generator(), **more)  # pyright: ignore[reportArgumentType]

    positive = walk(text, pooled)
    without = walk([negative.states] * 2, negative.pooled.expand(2, -1))
    guided = walk(text, pooled, cfg_scale=3.0, negative=negative)
    for a, b, x in zip(positive, without, guided, strict=True):
        torch.testing.assert_close(x, b + 3.0 * (a - b), rtol=0, atol=1e-5)


def test_embedded_guidance_changes_the_sample_of_a_guided_network() -> None:
    model, (text, pooled) = _model(guidance=True), _prompts()
    one, six = (sample(model, SHAPES, text, pooled, 1, 1.0, _generator(), guidance=scale)[0] for scale in (1.0, 6.0))
    assert not torch.equal(one, six)


def test_guidance_is_a_thousand_times_the_scale_and_the_official_rounding_is_a_switch() -> None:
    assert guidance_input(6.0) == 6000.0
    assert [guidance_input(scale, bfloat16_rounding=True) for scale in (6.0, 5.0, 3.0)] == [6016.0, 4992.0, 3008.0]


def test_the_first_frame_stays_in_place_and_moves_the_rest_of_its_own_sample_alone() -> None:
    model, (text, pooled) = _model(), _prompts()
    red, blue = torch.full((16, 1, 4, 6), 0.5), torch.full((16, 1, 4, 6), -0.5)

    def walk(image: Tensor | None) -> list[Tensor]:
        return sample(model, SHAPES, text, pooled, 3, 7.0, _generator(), first=[None, image])

    with_red, with_blue, without = walk(red), walk(blue), walk(None)
    assert torch.equal(with_red[1][:, :1], red) and torch.equal(with_blue[1][:, :1], blue)
    assert not torch.equal(with_red[1][:, 1:], with_blue[1][:, 1:])
    for latents in (with_red, with_blue):
        torch.testing.assert_close(latents[0], without[0], rtol=0, atol=1e-6)


def test_classifier_free_guidance_keeps_the_first_frame_in_both_predictions() -> None:
    model, (text, pooled) = _model(), _prompts()
    negative, image = TextState(torch.randn(4, 8), torch.randn(4)), torch.randn(16, 1, 4, 6)

    def walk(states: list[Tensor], vector: Tensor, **more: object) -> Tensor:
        return sample(model, SHAPES, states, vector, 1, 1.0, _generator(), first=[None, image], **more)[1]  # pyright: ignore[reportArgumentType]

    a, b = walk(text, pooled), walk([negative.states] * 2, negative.pooled.expand(2, -1))
    guided = walk(text, pooled, cfg_scale=3.0, negative=negative)
    assert torch.equal(guided[:, :1], image)
    torch.testing.assert_close(guided, b + 3.0 * (a - b), rtol=0, atol=1e-5)


def test_sampling_can_round_guidance_as_the_official_pipeline_does() -> None:
    model, (text, pooled) = _model(guidance=True), _prompts()
    given: list[float] = []
    model.guidance_in.register_forward_pre_hook(lambda _, values: given.append(values[0][0].item()))  # pyright: ignore[reportOptionalMemberAccess]
    for rounding in (False, True):
        sample(model, SHAPES, text, pooled, 1, 1.0, _generator(), guidance=6.0, bfloat16_guidance=rounding)
    assert given == [6000.0, 6016.0]


def test_progress_is_told_after_each_step() -> None:
    model, (text, pooled) = _model(), _prompts()
    calls: list[tuple[int, int]] = []
    sample(model, SHAPES, text, pooled, 3, 7.0, _generator(), progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_a_half_precision_network_is_walked_in_float32() -> None:
    model, (text, pooled) = _model().bfloat16(), _prompts()
    latents = sample(model, SHAPES, text, pooled, 2, 7.0, _generator())
    assert {latent.dtype for latent in latents} == {torch.float32}


def test_what_makes_no_sense_is_refused() -> None:
    model, (text, pooled) = _model(), _prompts()
    with pytest.raises(ValueError, match=r"cfg_scale 3.0 needs a negative prompt"):
        sample(model, SHAPES, text, pooled, 2, 7.0, _generator(), cfg_scale=3.0)
    with pytest.raises(ValueError, match="num_steps must be at least 1, got 0"):
        sample(model, SHAPES, text, pooled, 0, 7.0, _generator())
    with pytest.raises(ValueError, match="2 shapes, got 1"):
        sample(model, SHAPES, text, pooled, 2, 7.0, _generator(), first=[None])
    with pytest.raises(ValueError, match=r"is \[16, 1, 4, 6\], got \[16, 1, 4, 4\]"):
        sample(model, SHAPES, text, pooled, 2, 7.0, _generator(), first=[None, torch.zeros(16, 1, 4, 4)])
