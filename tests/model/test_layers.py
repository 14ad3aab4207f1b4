"""Packed rows: vectors that reach their own sample's tokens."""

import pytest
import torch

from model.layers import ScalarEmbedder, add_gated, modulate, sinusoid, split_heads


@pytest.mark.parametrize("lengths", [[6], [3, 3], [2, 1, 3], [1, 1, 2, 2], [0, 6], [0, 0, 6]])
def test_modulation_and_gate_use_each_token_s_own_group(lengths: list[int]) -> None:
    x, residual = torch.randn(2, 6, 4)
    shift, scale, gate = torch.randn(3, len(lengths), 4)
    sample = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    normed = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + 1e-6).sqrt()
    torch.testing.assert_close(modulate(x, shift, scale, lengths), normed * (1 + scale[sample]) + shift[sample])
    torch.testing.assert_close(add_gated(residual, x, gate, lengths), residual + gate[sample] * x)


def test_fused_projections_hold_query_then_key_then_value() -> None:
    q, k, v = split_heads(torch.arange(24.0)[None], num_heads=2)
    assert q.shape == (1, 2, 4)
    assert (q[0, 0, 0], q[0, 1, 0], k[0, 0, 0], v[0, 1, 3]) == (0, 4, 8, 23)


def test_sinusoid_starts_with_cosines_and_slows_down() -> None:
    wave = sinusoid(torch.tensor([0.0, 500.0]))
    assert wave.shape == (2, 256)
    assert wave[0].tolist() == [1.0] * 128 + [0.0] * 128
    torch.testing.assert_close(wave[1, 0], torch.tensor(500.0).cos())
    torch.testing.assert_close(wave[1, 128 + 64], torch.tensor(500.0 / 100).sin())  # halfway: 10000^(-1/2)


def test_times_stay_precise_in_a_half_precision_network() -> None:
    """bfloat16 holds 999 and 1000 as one number; the sinusoid must be taken before the cast."""
    embed = ScalarEmbedder(8).bfloat16()
    near = embed(torch.tensor([999.0, 1000.0]))
    assert near.dtype == torch.bfloat16 and not torch.equal(near[0], near[1])
