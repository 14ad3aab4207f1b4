"""The VAE against diffusers' implementation of the released one, and its rules about time."""

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from torch.nn import functional as F

from model.presets import VAE_PRESETS
from model.vae import CausalVideoVAE, Posterior
from tests.model.vae_pair import vae_pair


@pytest.mark.parametrize("num_frames", [5, 21])
def test_encode_and_decode_equal_the_reference_under_the_same_names(num_frames: int) -> None:
    ours, reference = vae_pair()
    video = torch.rand(2, 3, num_frames, 32, 48) * 2 - 1
    with torch.no_grad():
        posterior, expected = ours.encode(video), reference.encode(video).latent_dist
        torch.testing.assert_close(posterior.mean, expected.mean, rtol=0, atol=1e-6)
        torch.testing.assert_close(posterior.logvar, expected.logvar, rtol=0, atol=1e-6)
        assert posterior.mean.shape == (2, 16, (num_frames - 1) // 4 + 1, 4, 6)
        latent = torch.randn_like(posterior.mean)
        decoded = ours.decode(latent)
        torch.testing.assert_close(decoded, reference.decode(latent).sample, rtol=0, atol=2e-5)
    assert decoded.shape == video.shape


def test_a_decoded_clip_equals_the_reference_s_in_double_precision() -> None:
    """Weights of an upsampling are summed first, which rounds differently and is the same mathematics."""
    ours, reference = vae_pair()
    for module in (ours, reference):
        module.double()
    latent = torch.randn(2, 16, 3, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(ours.decode(latent), reference.decode(latent).sample, rtol=0, atol=1e-12)


def test_an_image_takes_a_shorter_way_to_the_reference_s_result() -> None:
    """Summing the taps in time first rounds differently: equal in float64, within float32's rounding in float32.

    Against float64, this way errs by 1.1e-6 here and the reference's by 1.4e-6, so 1e-6 is out of reach for both.
    """
    for dtype, encode_error, decode_error in ((torch.float64, 1e-12, 1e-12), (torch.float32, 5e-6, 4e-5)):
        ours, reference = vae_pair()
        for module in (ours, reference):
            module.to(dtype)
        image = torch.rand(2, 3, 1, 32, 48, dtype=dtype) * 2 - 1
        with torch.no_grad():
            mean = ours.encode(image).mode()
            torch.testing.assert_close(mean, reference.encode(image).latent_dist.mean, rtol=0, atol=encode_error)
            latent = torch.randn_like(mean)
            decoded = ours.decode(latent)
            torch.testing.assert_close(decoded, reference.decode(latent).sample, rtol=0, atol=decode_error)
        assert mean.shape == (2, 16, 1, 4, 6) and decoded.shape == image.shape


def test_gradients_equal_the_reference_s() -> None:
    """In double precision, since torch's own float32 gradients of the two differ by 1e-5 in rounding."""
    ours, reference = vae_pair()
    for module in (ours, reference):
        module.double()
    video = torch.rand(1, 3, 5, 16, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    ours.decode(ours.encode(video).mode()).square().mean().backward()
    reference.decode(reference.encode(video).latent_dist.mode()).sample.square().mean().backward()
    for name, parameter in reference.named_parameters():
        torch.testing.assert_close(ours.get_parameter(name).grad, parameter.grad, rtol=1e-10, atol=1e-12)


def test_full_preset_has_the_released_names_and_count() -> None:
    with torch.device("meta"):
        ours, reference = CausalVideoVAE(VAE_PRESETS["full"]), AutoencoderKLHunyuanVideo()
    shapes = {name: tuple(tensor.shape) for name, tensor in ours.state_dict().items()}
    assert shapes == {name: tuple(tensor.shape) for name, tensor in reference.state_dict().items()}
    assert sum(parameter.numel() for parameter in ours.parameters()) == 246_478_803


def test_posterior_samples_by_generator_and_its_kl_is_the_textbook_one() -> None:
    posterior = Posterior(torch.randn(2, 4, 1, 3, 3), torch.randn(2, 4, 1, 3, 3))
    first = posterior.sample(torch.Generator().manual_seed(3))
    assert torch.equal(first, posterior.sample(torch.Generator().manual_seed(3)))
    assert not torch.equal(first, posterior.sample(torch.Generator().manual_seed(4)))
    unit = torch.distributions.Normal(torch.zeros(()), torch.ones(()))
    gaussian = torch.distributions.Normal(posterior.mean, torch.exp(0.5 * posterior.logvar))
    expected = torch.distributions.kl_divergence(gaussian, unit).sum(dim=(1, 2, 3, 4))
    torch.testing.assert_close(posterior.kl(), expected)


def test_log_variance_is_clamped() -> None:
    ours = vae_pair()[0]
    with torch.no_grad():
        assert ours.quant_conv.bias is not None
        ours.quant_conv.bias[16:24] = 1e6
        ours.quant_conv.bias[24:] = -1e6
        logvar = ours.encode(torch.zeros(1, 3, 1, 16, 16)).logvar
    assert logvar[:, :8].unique().tolist() == [20.0]
    assert logvar[:, 8:].unique().tolist() == [-30.0]


def test_scaling_there_and_back() -> None:
    ours = vae_pair()[0]
    sample = torch.tensor([1.0, -2.0])
    torch.testing.assert_close(ours.to_latent(sample), torch.tensor([0.476986, -0.953972]))
    torch.testing.assert_close(ours.from_latent(ours.to_latent(sample)), sample)


@pytest.mark.parametrize(
    ("size", "nearest"),
    [
        ((4, 32, 32), "5 frames of 32 x 32"),
        ((2, 32, 32), "1 frames of 32 x 32"),
        ((5, 30, 32), "5 frames of 32 x 32"),
        ((5, 32, 3), "5 frames of 8 x 32"),
    ],
)
def test_a_wrong_size_is_refused_with_the_nearest_legal_one(size: tuple[int, int, int], nearest: str) -> None:
    with pytest.raises(ValueError, match=f"nearest legal size is {nearest}"):
        vae_pair()[0].encode(torch.zeros(1, 3, *size))


def test_a_wrong_rank_or_channel_count_is_refused() -> None:
    ours = vae_pair()[0]
    with pytest.raises(ValueError, match=r"\[B, 3, T, H, W\].*got \[3, 1, 16, 16\]"):
        ours.encode(torch.zeros(3, 1, 16, 16))
    with pytest.raises(ValueError, match=r"\[B, 16, T, H, W\].*got \[1, 3, 1, 2, 2\]"):
        ours.decode(torch.zeros(1, 3, 1, 2, 2))


def test_the_tiny_preset_learns_moving_shapes() -> None:
    torch.manual_seed(0)
    vae = CausalVideoVAE(VAE_PRESETS["tiny"])
    rows, columns = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    discs = torch.stack([((rows - 4 - i) ** 2 + (columns - 3 - 2 * i) ** 2 < 12).float() for i in range(5)])
    clip = torch.stack([discs, torch.zeros_like(discs), 1 - discs]) * 2 - 1
    video = torch.stack([clip, clip.flip(-1)])
    optimizer = torch.optim.Adam(vae.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(40):
        posterior = vae.encode(video)
        loss = F.l1_loss(vae.decode(posterior.sample(generator)), video) + 1e-6 * posterior.kl().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.4 * losses[0], losses
