"""New weights pass a small picture through, in colour and in time, and leave nothing fixed."""

import pytest
import torch
from torch.nn import functional as F

from model.presets import VAE_PRESETS, VAEConfig
from model.vae import CausalVideoVAE
from model.vae_start import begin_with_small_pictures

CONFIGS = [VAE_PRESETS["tiny"], VAE_PRESETS["shapes"]]


def new_vae(config: VAEConfig, begun: bool = True) -> CausalVideoVAE:
    torch.manual_seed(0)
    vae = CausalVideoVAE(config)
    if begun:
        begin_with_small_pictures(vae)
    return vae


def flat_clips() -> torch.Tensor:
    """Each frame of one colour, which changes from clip to clip and once within a clip: [8, 3, 9, 32, 32]."""
    colours = torch.rand(8, 3, 2, generator=torch.Generator().manual_seed(1)) * 1.6 - 0.8
    return colours.repeat_interleave(torch.tensor([5, 4]), dim=2)[..., None, None].expand(-1, -1, -1, 32, 32)


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack((a.flatten(), b.flatten())))[0, 1])


@pytest.mark.parametrize("config", CONFIGS)
@torch.no_grad()
def test_colours_come_back_and_change_when_they_change(config: VAEConfig) -> None:
    video = flat_clips()
    decoded = new_vae(config).decode(new_vae(config).encode(video).mode())
    assert correlation(decoded.mean(dim=(3, 4)), video.mean(dim=(3, 4))) > 0.8
    plain = new_vae(config, begun=False)
    plainly = plain.decode(plain.encode(video).mode())
    assert correlation(plainly.mean(dim=(3, 4)), video.mean(dim=(3, 4))) < 0.5


@pytest.mark.parametrize("config", CONFIGS)
@torch.no_grad()
def test_coarse_pictures_come_back_where_they_were(config: VAEConfig) -> None:
    coarse = torch.rand(6, 1, 1, 4, 4, generator=torch.Generator().manual_seed(2)) * 2 - 1
    video = F.interpolate(coarse.expand(-1, 3, -1, -1, -1), scale_factor=(1, 8, 8))
    vae = new_vae(config)
    decoded = vae.decode(vae.encode(video).mode())
    assert correlation(F.avg_pool3d(decoded, (1, 8, 8)), F.avg_pool3d(video, (1, 8, 8))) > 0.6


def test_every_weight_can_learn_and_posteriors_begin_narrow() -> None:
    vae = new_vae(VAE_PRESETS["shapes"])
    posterior = vae.encode(flat_clips())
    assert posterior.logvar.mean().item() == pytest.approx(-6, abs=1)
    vae.decode(posterior.sample()).square().mean().backward()
    still = [name for name, weight in vae.named_parameters() if weight.grad is None or not weight.grad.abs().max() > 0]
    assert still == []


def test_a_network_too_narrow_for_all_paths_takes_those_it_can() -> None:
    config = VAEConfig(block_out_channels=(4, 4, 4, 4), num_layers=1, num_groups=2, latent_channels=4)
    vae = new_vae(config)
    with torch.no_grad():
        assert vae.decode(vae.encode(flat_clips()).mode()).isfinite().all()
