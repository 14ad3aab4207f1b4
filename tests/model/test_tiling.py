"""Tiles against diffusers' own tiling with sizes shrunk, in space, in time and in both; and what is held meanwhile."""

import copy
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from model.tiling import TILINGS, Steps, Tiling, tiles_in_space, tiles_in_time
from model.vae import CausalVideoVAE
from tests.model.vae_pair import vae_pair

# Conventions shrunk fourfold in space, and in time so that clips of 13 to 37 frames are tiled.
SPACE = {"tile_px": 32, "overlap_px": 8}
TIME = {"original": {"tile_frames": 16, "overlap_frames": 4}, "diffusers": {"tile_frames": 8, "overlap_frames": 4}}


@pytest.fixture(scope="module")
def pair() -> tuple[CausalVideoVAE, Any]:
    return vae_pair()


def set_tiles(reference: Any, tiling: Tiling) -> None:
    reference.use_framewise_encoding = reference.use_framewise_decoding = bool(tiling.tile_frames)
    reference.use_tiling = bool(tiling.tile_px)
    if tiling.tile_frames:
        reference.tile_sample_min_num_frames = tiling.tile_frames
        reference.tile_sample_stride_num_frames = tiling.tile_frames - tiling.overlap_frames
    if tiling.tile_px:
        reference.tile_sample_min_height = reference.tile_sample_min_width = tiling.tile_px
        stride = tiling.tile_px - tiling.overlap_px
        reference.tile_sample_stride_height = reference.tile_sample_stride_width = stride


@pytest.mark.parametrize("convention", ["original", "diffusers"])
@pytest.mark.parametrize("axes", ["space", "time", "both"])
@pytest.mark.parametrize(
    ("num_frames", "height", "width"),
    [(1, 56, 72), (17, 40, 32), (29, 24, 88), (37, 8, 40)],
)
@torch.no_grad()
def test_tiles_equal_the_reference_s(
    pair: tuple[CausalVideoVAE, Any], convention: str, axes: str, num_frames: int, height: int, width: int
) -> None:
    # In float64: the norm's small groups in small tiles blow float32's rounding up to 2e-5 on either side.
    ours, reference = (side.double() for side in copy.deepcopy(pair))
    space = SPACE if axes != "time" else {"tile_px": 0, "overlap_px": 0}
    time = TIME[convention] if axes != "space" else {"tile_frames": 0, "overlap_frames": 0}
    tiling = Tiling(**space, **time)
    set_tiles(reference, tiling)
    video = torch.rand(1, 3, num_frames, height, width, generator=torch.Generator().manual_seed(1)).double() * 2 - 1
    posterior, expected = ours.encode(video, tiling), reference.encode(video).latent_dist
    torch.testing.assert_close(posterior.mean, expected.mean, rtol=0, atol=1e-11)
    torch.testing.assert_close(posterior.logvar, expected.logvar, rtol=0, atol=1e-11)
    decoded = ours.decode(posterior.mean, tiling)
    torch.testing.assert_close(decoded, reference.decode(posterior.mean).sample, rtol=0, atol=1e-11)
    assert decoded.shape == video.shape


def test_the_named_tilings_are_the_two_in_use(pair: tuple[CausalVideoVAE, Any]) -> None:
    from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo

    with torch.device("meta"):
        reference = AutoencoderKLHunyuanVideo()
    diffusers = TILINGS["diffusers"]
    assert (reference.tile_sample_min_num_frames, reference.tile_sample_stride_num_frames) == (
        diffusers.tile_frames,
        diffusers.tile_frames - diffusers.overlap_frames,
    )
    assert (reference.tile_sample_min_height, reference.tile_sample_stride_height) == (
        diffusers.tile_px,
        diffusers.tile_px - diffusers.overlap_px,
    )
    assert TILINGS["original"] == Tiling(tile_px=256, overlap_px=64, tile_frames=64, overlap_frames=16)


@torch.no_grad()
def test_tiles_change_the_result_and_a_short_video_is_not_tiled(pair: tuple[CausalVideoVAE, Any]) -> None:
    ours = pair[0]
    tiling = Tiling(tile_px=0, overlap_px=0, tile_frames=8, overlap_frames=4)
    video = torch.rand(1, 3, 13, 16, 16, generator=torch.Generator().manual_seed(2)) * 2 - 1
    assert (ours.encode(video, tiling).mean - ours.encode(video).mean).abs().max() > 1e-3
    short = video[:, :, :5]
    assert torch.equal(ours.encode(short, tiling).mean, ours.encode(short).mean)


@pytest.mark.parametrize("sizes", [[1] * 29, [3, 26], [28, 1], [7, 7, 7, 7, 1]])
@torch.no_grad()
def test_a_video_read_in_pieces_encodes_to_the_same(pair: tuple[CausalVideoVAE, Any], sizes: list[int]) -> None:
    ours, tiling = pair[0], Tiling(tile_px=16, overlap_px=8, tile_frames=8, overlap_frames=4)
    video = torch.rand(2, 3, 29, 16, 24, generator=torch.Generator().manual_seed(3)) * 2 - 1
    expected = ours.encode(video, tiling)
    assert torch.equal(ours.encode_pieces(iter(video.split(sizes, dim=2)), tiling).mean, expected.mean)
    whole = ours.encode_pieces(video.split(sizes, dim=2)).mean
    torch.testing.assert_close(whole, ours.encode(video).mean, rtol=0, atol=1e-6)


@torch.no_grad()
def test_finished_frames_come_one_tile_at_a_time_and_join_to_the_video(pair: tuple[CausalVideoVAE, Any]) -> None:
    ours, tiling = pair[0], Tiling(tile_px=16, overlap_px=8, tile_frames=8, overlap_frames=4)
    sample = torch.randn(1, 16, 7, 3, 2, generator=torch.Generator().manual_seed(4))
    pieces = list(ours.decode_pieces(sample, tiling))
    assert [piece.shape[2] for piece in pieces] == [5, 4, 4, 4, 4, 4]
    assert torch.equal(torch.cat(pieces, dim=2), ours.decode(sample, tiling))


def test_no_more_than_a_tile_of_a_long_video_is_held() -> None:
    """Every frame handed out is watched: those that tiles are done with are gone before the next are read."""
    watched: list[weakref.ref[Tensor]] = []
    most = 0

    def frames() -> Iterator[Tensor]:
        nonlocal most
        for at in range(201):
            frame = torch.full((1, 1, 1, 1, 1), float(at))
            watched.append(weakref.ref(frame))
            most = max(most, sum(one() is not None for one in watched))
            yield frame

    steps = Tiling(tile_frames=8, overlap_frames=4).time(1, decoding=False)
    parts = [part.clone() for part in tiles_in_time(frames(), lambda tile: tile.clone(), steps)]
    assert torch.equal(torch.cat(parts, dim=2).flatten(), torch.arange(201.0))
    assert most <= 10


def test_a_gradient_flows_through_tiles() -> None:
    ours = vae_pair()[0]
    tiling = Tiling(tile_px=16, overlap_px=8, tile_frames=8, overlap_frames=4)
    video = torch.rand(1, 3, 13, 16, 24, generator=torch.Generator().manual_seed(5), requires_grad=True)
    ours.decode(ours.encode(video, tiling).mode(), tiling).square().mean().backward()
    assert video.grad is not None
    assert (video.grad.abs().amax(dim=(0, 1)) > 0).all()
    assert all(parameter.grad is not None for parameter in ours.parameters())


def test_what_cannot_be_tiled_is_refused_with_a_reason(pair: tuple[CausalVideoVAE, Any]) -> None:
    ours = pair[0]
    with pytest.raises(ValueError, match=r"tile_px = 64 with overlap_px = 64.*less than its tile"):
        Tiling(tile_px=64, overlap_px=64)
    with pytest.raises(ValueError, match="tile_frames = 10 and overlap_frames = 4 must be multiples of 4"):
        ours.encode(torch.zeros(1, 3, 5, 16, 16), Tiling(tile_frames=10, overlap_frames=4))
    with pytest.raises(ValueError, match="nearest legal size is 5 frames"):
        ours.encode_pieces([torch.zeros(1, 3, 2, 16, 16)] * 2)
    with pytest.raises(ValueError, match=r"differ in time only.*then"):
        ours.encode_pieces([torch.zeros(1, 3, 2, 16, 16), torch.zeros(1, 3, 3, 16, 24)])
    with pytest.raises(ValueError, match="no frames at all"):
        ours.encode_pieces([])


def plainly_mixed(video: Tensor, run: Callable[[Tensor], Tensor], tile: int, stride: int) -> Tensor:
    """Rows of tiles of a picture's width put together without writing into anything, by the same ramp."""
    parts = [run(video[..., start : start + tile]) for start in range(0, video.shape[-1], stride)]
    overlap, whole = tile - stride, parts[0]
    for start, part in zip(range(stride, video.shape[-1], stride), parts[1:], strict=True):
        extent = min(overlap, part.shape[-1])
        ramp = torch.arange(extent, dtype=video.dtype) / extent
        mixed = whole[..., start : start + extent] * (1 - ramp) + part[..., :extent] * ramp
        whole = torch.cat((whole[..., :start], mixed, part[..., extent:]), dim=-1)
    return whole


def test_gradients_through_tiles_are_those_of_tiles_mixed_without_writing_in_place() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Conv3d(2, 2, (1, 1, 3), padding=(0, 0, 1)).double()
    video = torch.randn(1, 2, 1, 4, 22, dtype=torch.float64, requires_grad=True)
    steps = Steps(tile=8, stride=6, stride_out=6, overlap_out=2)
    factor = torch.randn(1, 2, 1, 4, 22, dtype=torch.float64)
    found, expected = [
        torch.autograd.grad((whole.tanh() * factor).sum(), [video, *layer.parameters()])
        for whole in (tiles_in_space(video, layer, steps), plainly_mixed(video, layer, 8, 6))
    ]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_gradients_of_the_vae_in_tiles_are_the_slopes_of_its_loss(pair: tuple[CausalVideoVAE, Any]) -> None:
    vae = copy.deepcopy(pair[0]).double()
    tiling = Tiling(tile_px=16, overlap_px=8, tile_frames=8, overlap_frames=4)
    generator = torch.Generator().manual_seed(2)
    video = torch.rand(1, 3, 13, 24, 16, generator=generator).double() * 2 - 1
    assert vae.encode(video, tiling).mean.shape == (1, 16, 4, 3, 2)

    def loss() -> Tensor:
        posterior = vae.encode(video, tiling)
        return (vae.decode(posterior.mean, tiling) - video).square().mean() + 1e-3 * posterior.kl().mean()

    weights = list(vae.parameters())
    gradients = torch.autograd.grad(loss(), weights)
    way = [torch.randn(weight.shape, generator=generator).double() * weight.abs().mean() for weight in weights]
    values, step = [], 1e-7
    with torch.no_grad():
        for sign in (1, -2):
            for weight, part in zip(weights, way, strict=True):
                weight.add_(part, alpha=sign * step)
            values.append(loss())
    slope = sum((gradient * part).sum() for gradient, part in zip(gradients, way, strict=True))
    torch.testing.assert_close(slope, (values[0] - values[1]) / (2 * step), rtol=1e-5, atol=0)
