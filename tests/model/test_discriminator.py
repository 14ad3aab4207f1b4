"""The critic: what it sees, that it judges images and videos alike, and that it learns to tell them apart."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from model.discriminator import (
    CriticConfig,
    PatchCritic,
    adversarial_loss,
    build_critic,
    critic_config,
    critic_loss,
)
from model.presets import VAE_PRESETS

TINY = CriticConfig(width=8)


def video(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def critic() -> PatchCritic:
    return build_critic(TINY, seed=0)


@pytest.mark.parametrize(
    ("size", "patches"),
    [((1, 8, 8), (1, 1, 1)), ((1, 64, 48), (1, 8, 6)), ((5, 16, 16), (2, 2, 2)), ((17, 24, 40), (5, 3, 5))],
)
def test_every_patch_of_images_and_videos_is_scored(critic: PatchCritic, size: tuple, patches: tuple) -> None:
    assert critic(video(2, 3, *size)).shape == (2, *patches)


def test_an_image_scores_as_a_video_that_stands_still(critic: PatchCritic) -> None:
    image = video(2, 3, 1, 32, 48)
    still = critic(image.expand(-1, -1, 9, -1, -1))
    torch.testing.assert_close(still, critic(image).expand_as(still), rtol=1e-4, atol=1e-5)


def test_a_score_does_not_depend_on_the_rest_of_the_batch(critic: PatchCritic) -> None:
    videos = video(3, 3, 5, 32, 32)
    torch.testing.assert_close(critic(videos)[1:2], critic(videos[1:2]), rtol=1e-4, atol=1e-5)


def test_a_patch_sees_70_px_of_25_frames_on_both_sides(critic: PatchCritic) -> None:
    critic.norms = torch.nn.ModuleList(torch.nn.Identity() for _ in critic.norms)  # they see all of a sample
    x = video(1, 3, 49, 152, 152).requires_grad_()
    critic(x)[0, 6, 9, 9].backward()
    assert x.grad is not None
    touched = x.grad[0].abs().sum(dim=0)
    for axes, seen in (((1, 2), 25), ((0, 2), 70), ((0, 1), 70)):
        places = touched.sum(dim=axes).nonzero().flatten().tolist()
        assert (len(places), places[-1] - places[0] + 1) == (seen, seen)
    times = touched.sum(dim=(1, 2)).nonzero().flatten().tolist()
    assert times[0] < 6 * 4 < times[-1]


def test_weights_follow_from_the_seed_and_leave_torch_s_generator_alone() -> None:
    state = torch.random.get_rng_state()
    first, same, other = (build_critic(TINY, seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["convolutions.0.weight"], other["convolutions.0.weight"])
    assert torch.equal(torch.random.get_rng_state(), state)
    assert first["convolutions.1.weight"].std().item() == pytest.approx(0.02, rel=0.05)


def test_losses_are_those_of_the_hinge() -> None:
    filmed, decoded = torch.tensor([[2.0, 0.5], [-1.0, 1.0]]), torch.tensor([[-2.0, 0.0], [-1.0, 3.0]])
    assert critic_loss(filmed, decoded).tolist() == [0.5 * (0.25 + 0.5), 0.5 * (1.0 + 2.0)]
    assert adversarial_loss(decoded).tolist() == [1.0, -1.0]


def test_the_critic_learns_to_tell_blurred_from_sharp(critic: PatchCritic) -> None:
    sharp = torch.cat([video(4, 3, 1, 32, 32, seed=seed) for seed in range(2)])
    blurred = torch.nn.functional.avg_pool3d(sharp, (1, 3, 3), stride=1, padding=(0, 1, 1))
    optimizer = torch.optim.AdamW(critic.parameters(), lr=1e-3, betas=(0.5, 0.9))
    losses = []
    for _ in range(20):
        loss = critic_loss(critic(sharp), critic(blurred)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 < 0.7 < losses[0]


def test_the_critic_is_as_wide_as_the_vae_up_to_patchgan_s_width() -> None:
    sizes = [
        sum(weight.numel() for weight in PatchCritic(critic_config(VAE_PRESETS[name])).parameters())
        for name in ("tiny", "full")
    ]
    assert sizes == [525_233, 8_294_081]


@pytest.mark.parametrize("shape", [(1, 3, 16, 16), (1, 1, 1, 16, 16), (1, 3, 1, 12, 16)])
def test_what_is_no_video_of_cells_is_refused(critic: PatchCritic, shape: tuple) -> None:
    with pytest.raises(ValueError, match="multiples of 8 px, got"):
        critic(torch.zeros(shape))
