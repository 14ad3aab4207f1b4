"""PSNR and SSIM against scikit-image's, and what they must say of known damage."""

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from model.similarity import psnr_db, ssim
from tests.footage import texture


def video_of(*pictures: np.ndarray) -> Tensor:
    """uint8 pictures [H, W, 3] as one video [1, 3, T, H, W] in [-1, 1]."""
    return (torch.from_numpy(np.stack(pictures)).permute(3, 0, 1, 2)[None].float() / 127.5) - 1


def noisy(picture: np.ndarray, levels: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=picture.shape) * levels
    return np.clip(picture + noise, 0, 255).round().astype(np.uint8)


@pytest.fixture
def pictures() -> list[np.ndarray]:
    return [texture(seed, (72, 48)) for seed in range(3)]


@pytest.mark.parametrize("levels", [2.0, 10.0, 60.0])
def test_each_frame_has_the_ssim_that_scikit_image_gives_it(pictures, levels):
    damaged = [noisy(picture, levels, seed) for seed, picture in enumerate(pictures)]
    expected = [
        structural_similarity(
            one, other, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=2, data_range=255
        )
        for one, other in zip(pictures, damaged, strict=True)
    ]
    assert ssim(video_of(*pictures), video_of(*damaged))[0].numpy() == pytest.approx(np.array(expected), abs=1e-5)


def test_a_video_has_the_psnr_of_all_its_pixels(pictures):
    damaged = [noisy(picture, 4.0 * (1 + seed), seed) for seed, picture in enumerate(pictures)]
    expected = peak_signal_noise_ratio(np.stack(pictures), np.stack(damaged), data_range=255)
    assert psnr_db(video_of(*pictures), video_of(*damaged)).item() == pytest.approx(expected, abs=1e-4)


def test_videos_of_a_batch_are_told_apart(pictures):
    one, other = video_of(pictures[0]), video_of(pictures[1])
    both = torch.cat((one, other))
    assert psnr_db(both, torch.cat((one, one))).tolist() == pytest.approx([100.0, psnr_db(other, one).item()])
    assert ssim(both, torch.cat((one, one)))[:, 0].tolist() == pytest.approx([1.0, ssim(other, one).item()], abs=1e-6)


def test_blur_costs_structure_and_a_little_light_does_not(pictures):
    picture = pictures[0]
    brighter = np.clip(picture.astype(int) + 12, 0, 255).astype(np.uint8)
    error = int(np.abs(brighter.astype(int) - picture).mean())
    shuffled = noisy(picture, error * 1.25)
    assert abs(psnr_db(video_of(picture), video_of(brighter)) - psnr_db(video_of(picture), video_of(shuffled))) < 2
    assert ssim(video_of(picture), video_of(brighter)) > 0.05 + ssim(video_of(picture), video_of(shuffled))


def test_what_cannot_be_compared_is_refused_with_both_shapes():
    with pytest.raises(ValueError, match=r"11 px or more, got \[1, 3, 1, 8, 32\]"):
        ssim(torch.zeros(1, 3, 1, 8, 32), torch.zeros(1, 3, 1, 8, 32))
    with pytest.raises(ValueError, match=r"of one shape .* and \[1, 3, 2, 32, 32\]"):
        ssim(torch.zeros(1, 3, 1, 32, 32), torch.zeros(1, 3, 2, 32, 32))
