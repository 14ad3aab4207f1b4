"""A real VAE on decoded clips, and what the numbers must be for decodings that are known."""

import numpy as np
import pytest
import torch

from model.perceptual import LPIPS
from model.presets import VAEConfig
from model.similarity import psnr_db, ssim
from model.vae import CausalVideoVAE
from training.clip_tensors import to_tensor
from training.data import ClipLibrary
from training.networks import build_network
from training.reconstruction import Protocol, compared, protocol_of, reconstruct

SMALL = VAEConfig(block_out_channels=(8, 8, 16, 16), num_layers=1, num_groups=4)
PROTOCOL = Protocol(num_frames=5, side_px=16, max_clips=2, tiling="none")


@pytest.fixture
def library(shapes) -> ClipLibrary:
    return ClipLibrary(shapes, ["image", "video"])


@pytest.fixture(scope="module")
def vae() -> CausalVideoVAE:
    network = build_network(SMALL, seed=0)
    assert isinstance(network, CausalVideoVAE)
    return network.eval()


@pytest.fixture(scope="module")
def lpips() -> LPIPS:
    torch.manual_seed(0)
    return LPIPS()


def test_a_protocol_takes_the_first_frames_and_their_centre():
    t, y, x = np.indices((9, 48, 64))
    cut = PROTOCOL.cut(np.stack((t, y, x), axis=-1))
    assert cut.shape == (5, 16, 16, 3)
    assert cut[0, 0, 0].tolist() == [0, 16, 24] and cut[-1, -1, -1].tolist() == [4, 31, 39]
    assert Protocol(0, 0, 1, "none").cut(cut) is not None and Protocol(0, 0, 1, "none").cut(cut).shape == cut.shape


def test_numbers_are_of_the_clamped_decoding_of_the_posteriors_mean(vae, library, lpips):
    video = to_tensor(library.pixels(library.clips["video"][0])[:5])[None]
    with torch.no_grad():
        values = compared(vae, video, None, lpips)
        decoded = vae.decode(vae.encode(video).mode()).clamp(-1, 1)
    assert values == pytest.approx(
        {
            "l1": (decoded - video).abs().mean().item(),
            "psnr_db": psnr_db(decoded, video).item(),
            "ssim": ssim(decoded, video).mean().item(),
            "lpips": lpips(decoded, video).mean().item(),
        }
    )


def test_a_set_has_the_mean_of_its_clips_and_leaves_out_what_is_too_short(vae, library):
    clips = [*library.clips["image"], *library.clips["video"]]
    measured = reconstruct(vae, clips, library.pixels, PROTOCOL)
    assert measured is not None
    assert len(measured.clips) == 2 and measured.num_left_out == len(library.clips["image"])
    with torch.no_grad():
        alone = [
            compared(vae, to_tensor(PROTOCOL.cut(library.pixels(clip)).copy())[None], None, None)
            for clip in measured.clips
        ]
    assert measured.values["psnr_db"] == pytest.approx((alone[0]["psnr_db"] + alone[1]["psnr_db"]) / 2)
    assert measured.values.keys() == {"l1", "psnr_db", "ssim"}


def test_which_clips_are_measured_does_not_depend_on_their_order(vae, library):
    clips = library.clips["video"]
    runs = [reconstruct(vae, order, library.pixels, PROTOCOL) for order in (clips, clips[::-1])]
    assert runs[0] == runs[1]


def test_the_protocol_tells_sets_frames_and_sizes_apart(vae, library):
    clips = library.clips["video"]
    told = []
    for protocol in (PROTOCOL, Protocol(1, 16, 2, "none"), Protocol(5, 32, 2, "none"), Protocol(5, 16, 1, "none")):
        measured = reconstruct(vae, clips, library.pixels, protocol)
        assert measured is not None
        told.append(str(protocol_of(protocol, measured)))
    assert len(set(told)) == 4
    assert "the first 5" in told[0] and "16x16 px" in told[0] and "full range" in told[0]


def test_clips_that_are_all_too_small_give_nothing(vae, library):
    assert reconstruct(vae, library.clips["video"], library.pixels, Protocol(5, 512, 2, "none")) is None
