"""What each part does with time: no look ahead, and a first frame that stands alone."""

import pytest
import torch
from torch.nn import functional as F

from model import vae_layers
from model.vae_layers import CausalConv3d, Downsample, FrameCausalAttention, ResnetBlock, Upsample, normaliser


def test_attention_sees_no_later_frame() -> None:
    attention = FrameCausalAttention(16, num_groups=4)
    attention.register_module("group_norm", torch.nn.Identity())  # its statistics span all frames
    x = torch.randn(1, 16, 4, 3, 5)
    changed = x.clone()
    changed[:, :, 3] += 1
    with torch.no_grad():
        before, after = attention(x), attention(changed)
    torch.testing.assert_close(before[:, :, :3], after[:, :, :3], rtol=0, atol=0)
    assert (before[:, :, 3] - after[:, :, 3]).abs().max() > 1e-3


def test_convolutions_see_no_later_frame() -> None:
    block = Downsample(8, (2, 2, 2))
    x = torch.randn(1, 8, 9, 8, 8)
    changed = x.clone()
    changed[:, :, 5:] += 1  # the output frame 2 ends with input frame 4
    with torch.no_grad():
        before, after = block(x), block(changed)
    assert before.shape[2] == 5
    torch.testing.assert_close(before[:, :, :3], after[:, :, :3], rtol=0, atol=0)
    assert not torch.equal(before[:, :, 3], after[:, :, 3])


def test_attention_equals_attention_under_a_frame_causal_mask() -> None:
    attention = FrameCausalAttention(16, num_groups=4)
    x = torch.randn(2, 16, 3, 2, 4)
    with torch.no_grad():
        h = attention.group_norm(x).flatten(2).transpose(1, 2)
        frame = torch.arange(24) // 8
        attended = F.scaled_dot_product_attention(
            attention.to_q(h), attention.to_k(h), attention.to_v(h), attn_mask=frame[:, None] >= frame[None]
        )
        expected = x + attention.to_out[0](attended).transpose(1, 2).view_as(x)
        torch.testing.assert_close(attention(x), expected)


@pytest.mark.parametrize("stride", [(1, 1, 1), (1, 2, 2), (2, 2, 2)])
def test_an_image_equals_the_full_convolution_over_its_repeated_frame(stride: tuple[int, int, int]) -> None:
    layer = CausalConv3d(4, 6, stride=stride)
    image = torch.randn(2, 4, 1, 6, 8)
    padded = F.pad(image, (1, 1, 1, 1, 2, 0), mode="replicate")
    torch.testing.assert_close(layer(image), layer.conv(padded))


def test_borders_are_repeated_so_a_constant_stays_constant() -> None:
    layer = CausalConv3d(2, 3)
    out = layer(torch.full((1, 2, 3, 4, 4), 0.7))
    torch.testing.assert_close(out, out[:, :, :1, :1, :1].expand_as(out))


def test_upsampling_repeats_every_frame_but_the_first() -> None:
    out = Upsample(1, (2, 2, 2)).repeat(torch.arange(3.0).view(1, 1, 3, 1, 1))
    assert out.shape == (1, 1, 5, 2, 2)
    assert out[0, 0, :, 0, 0].tolist() == [0, 1, 1, 2, 2]


def test_spatial_upsampling_leaves_time_alone() -> None:
    assert Upsample(2, (1, 2, 2))(torch.randn(1, 2, 3, 4, 5)).shape == (1, 2, 3, 8, 10)


@pytest.mark.parametrize(("num_frames", "kept"), [(1, 1), (5, 3), (9, 5)])
def test_downsampling_keeps_the_first_frame(num_frames: int, kept: int) -> None:
    assert Downsample(2, (2, 2, 2))(torch.randn(1, 2, num_frames, 4, 6)).shape == (1, 2, kept, 2, 3)


@pytest.mark.parametrize("window_numbers", [1, 1 << 21])
@pytest.mark.parametrize("num_frames", [1, 2, 5])
@pytest.mark.parametrize(
    "layer",
    [
        CausalConv3d(4, 6),
        Downsample(4, (2, 2, 2)),
        Downsample(4, (1, 2, 2)),
        ResnetBlock(4, 4, 2),
        ResnetBlock(4, 6, 2),
        Upsample(4, (1, 2, 2)),
        Upsample(4, (2, 2, 2)),
    ],
    ids=lambda layer: f"{type(layer).__name__}{getattr(layer, 'factor', '')}",
)
def test_window_by_window_gives_what_the_whole_gives_and_leaves_the_input_alone(
    layer: torch.nn.Module, num_frames: int, window_numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(vae_layers.CHUNK_NUMBERS, "cpu", window_numbers)
    layer = layer.double()
    x = torch.randn(2, 4, num_frames, 6, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    given = x.clone()
    expected = layer(x).detach()  # recorded for gradients: whole
    with torch.no_grad():
        found = layer(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)
    assert torch.equal(x, given)


@pytest.mark.parametrize("window_numbers", [1, 3000, 1 << 21])
def test_the_norm_of_some_frames_is_the_whole_norm_to_the_last_bit(
    window_numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(vae_layers.CHUNK_NUMBERS, "cpu", window_numbers)
    norm = torch.nn.GroupNorm(4, 8, eps=vae_layers.NORM_EPS)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = torch.randn(2, 8, 5, 7, 9) + 0.5
    with torch.no_grad():
        expected, prepare = F.silu(norm(x)), normaliser(norm, x)
        assert torch.equal(torch.cat([prepare(part) for part in x.split(2, dim=2)], dim=2), expected)


def test_half_precision_is_normalised_in_single() -> None:
    norm = torch.nn.GroupNorm(4, 8, eps=vae_layers.NORM_EPS)
    x = (torch.randn(1, 8, 3, 7, 9) + 8).bfloat16()
    with torch.no_grad():
        found = normaliser(norm.bfloat16(), x)(x)
        expected = F.silu(norm.float()(x.float()))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=2**-8, atol=1e-3)


def test_an_unknown_upsampling_is_refused() -> None:
    with pytest.raises(ValueError, match=r"not by \(1, 3, 3\)"):
        Upsample(4, (1, 3, 3))
