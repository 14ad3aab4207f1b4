"""Attention stays inside a sample, whatever the lengths in the row."""

import pytest
import torch

from model.attention import segment_attention


@pytest.mark.parametrize("lengths", [[7], [4, 4, 4], [3, 5, 5, 2]])
def test_segment_attention_equals_attention_under_a_block_mask(lengths: list[int]) -> None:
    q, k, v = torch.randn(3, sum(lengths), 2, 8)
    sample = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    scores = torch.einsum("qhe,khe->hqk", q, k) / 8**0.5
    scores = scores.masked_fill(sample[:, None] != sample[None], float("-inf"))
    expected = torch.einsum("hqk,khe->qhe", scores.softmax(dim=-1), v).flatten(1)
    torch.testing.assert_close(segment_attention(q, k, v, lengths), expected)
