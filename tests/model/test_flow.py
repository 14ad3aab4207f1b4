"""The flow's end points, sign and distribution of times."""

import pytest
import torch

from model.flow import interpolate, sample_timesteps, shift_timesteps, velocity_target


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
