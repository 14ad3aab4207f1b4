"""One sample from its order: pictures fitted, conditions as asked, frames as they are decoded."""

import numpy as np
import pytest
import torch

from curation.drawing import png
from curation.records import UserError
from curation.tables import Workspace
from jobs.generate import GenerateSettings
from jobs.generators import find_source
from jobs.prompts import Ask
from jobs.sampling import Order, Sampler, fit_picture, read_picture
from tests.jobs.trained import SETTINGS
from training.stages import TextSettings


def sampler_of(workspace: Workspace, **changes) -> Sampler:
    settings = GenerateSettings.model_validate(SETTINGS.model_dump() | changes)
    return Sampler(workspace, find_source(workspace, "", "", TextSettings()), settings, pictures=False)


@pytest.fixture
def gradient() -> np.ndarray:
    y, x = np.mgrid[0:60, 0:100]
    return np.stack([2 * x, 4 * y, np.full_like(x, 128)], axis=-1).astype(np.uint8)


def test_a_picture_is_scaled_to_cover_and_its_centre_kept(gradient):
    fitted, said = fit_picture(gradient, 32, 32)
    assert fitted.shape == (32, 32, 3)
    assert said == "100x60 scaled by 0.533, 21 px of its width and 0 px of its height cut off"
    assert abs(int(fitted[16, 16, 0]) - 100) < 6 and fitted[16, 0, 0] > 30, "left and right are cut alike"
    same, said = fit_picture(gradient[:48, :96], 96, 48)
    assert np.array_equal(same, gradient[:48, :96]) and said == "96x48 scaled by 1"


def test_pictures_are_read_in_rgb_and_anything_else_is_refused(gradient):
    assert np.array_equal(read_picture(png(gradient[..., ::-1]), "a.png"), gradient)
    for data in (b"", b"GIF but not really"):
        with pytest.raises(UserError, match=r"a.png is no picture"):
            read_picture(data, "a.png")


def test_the_first_latent_frame_is_the_picture_and_stays_it(trained_workspace, gradient):
    trained_workspace.write_bytes(png(gradient[..., ::-1]), "pictures", "gradient.png")
    sampler = sampler_of(trained_workspace)
    ask = Ask("a red disc", 0, 64, 64, 9, "gradient.png")
    latent = sampler.latent(Order("i", ask, "", "pictures/gradient.png"))
    pixels = torch.from_numpy(fit_picture(gradient, 64, 64)[0]).permute(2, 0, 1)[None, :, None] / 127.5 - 1
    vae = sampler.networks.vae
    with torch.no_grad():
        wanted = vae.to_latent(vae.encode(pixels).mode())[0]
    assert torch.equal(latent[:, :1], wanted)
    free = sampler.latent(Order("i", ask))
    assert latent.shape == free.shape == (16, 3, 8, 8)
    assert not torch.equal(latent[:, 1:], free[:, 1:]), "what follows has seen it"


def test_frames_come_piece_by_piece_and_are_those_of_the_whole(trained_workspace):
    latent = torch.randn(16, 19, 4, 4, generator=torch.Generator().manual_seed(0))
    frames = list(sampler_of(trained_workspace, tiling="diffusers").frames(latent))
    assert len(frames) == 73 and frames[0].shape == (32, 32, 3) and frames[0].dtype == np.uint8
    sampler = sampler_of(trained_workspace, tiling="none")
    vae = sampler.networks.vae
    with torch.no_grad():
        whole = vae.decode(vae.from_latent(latent[None]))[0]
    wanted = ((whole.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 3, 0).numpy()
    assert np.array_equal(np.stack(list(sampler.frames(latent))), wanted)


def test_guidance_leads_away_from_the_negative_prompt(trained_workspace):
    order = Order("i", Ask("a red disc", 0, 32, 32, 1))
    plain, guided, away = (
        sampler_of(trained_workspace, **changes).latent(order)
        for changes in ({}, {"cfg_scale": 3.0}, {"cfg_scale": 3.0, "negative_prompt": "a red disc"})
    )
    assert not torch.equal(plain, guided)
    torch.testing.assert_close(away, plain, rtol=0, atol=1e-4)
