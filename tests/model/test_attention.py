"""Attention stays inside a sample, whatever the lengths in the row and whoever computes it."""

import pytest
import torch
from torch import Tensor

from model.attention import FLEX_BLOCK, Backend, block_mask, choose_backend, segment_attention

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def _same_sample(lengths: list[int]) -> Tensor:
    sample = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    return sample[:, None] == sample


def _under_a_mask(qkv: Tensor, lengths: list[int]) -> Tensor:
    q, k, v = qkv
    scores = torch.einsum("qhe,khe->hqk", q, k) / q.shape[-1] ** 0.5
    scores = scores.masked_fill(~_same_sample(lengths), float("-inf"))
    return torch.einsum("hqk,khe->qhe", scores.softmax(dim=-1), v).flatten(1)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("backend", ["segments", "flex"])
@pytest.mark.parametrize("lengths", [[7], [4, 4, 4], [3, 5, 5, 2], [100, 30, 200, 200]])
def test_every_backend_equals_attention_under_a_block_mask(lengths: list[int], backend: Backend) -> None:
    torch.manual_seed(0)
    qkv = torch.randn(3, sum(lengths), 2, 16, requires_grad=backend == "segments")  # flex has no backward on a CPU
    attended = segment_attention(qkv[0], qkv[1], qkv[2], lengths, backend)
    expected = _under_a_mask(qkv, lengths)
    torch.testing.assert_close(attended, expected, rtol=0, atol=2e-6)
    if qkv.requires_grad:
        upstream = torch.randn_like(expected)
        (gradient,), (wanted,) = (torch.autograd.grad((x * upstream).sum(), qkv) for x in (attended, expected))
        torch.testing.assert_close(gradient, wanted, rtol=0, atol=5e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("backend", ["segments", "varlen", "flex"])
def test_backends_of_a_gpu_equal_attention_under_a_block_mask(backend: Backend) -> None:
    lengths = [100, 30, 200, 200]
    qkv = torch.randn(3, sum(lengths), 2, 64, device=CUDA, dtype=torch.bfloat16, requires_grad=True)
    attended = segment_attention(qkv[0], qkv[1], qkv[2], lengths, backend)
    expected = _under_a_mask(qkv.cpu().float(), lengths).to(CUDA)
    torch.testing.assert_close(attended.float(), expected, rtol=0, atol=2e-2)
    upstream = torch.randn_like(expected)
    (gradient,), (wanted,) = (torch.autograd.grad((x * upstream).sum(), qkv) for x in (attended.float(), expected))
    torch.testing.assert_close(gradient.float(), wanted.float(), rtol=0, atol=5e-2)


@pytest.mark.parametrize("lengths", [[1], [128], [300], [128, 128, 256], [5, 300, 1, 130, 64, 64]])
def test_blocks_are_visited_where_samples_meet_and_whole_where_nothing_is_masked(lengths: list[int]) -> None:
    mask = block_mask(tuple(lengths), CPU)
    allowed = _same_sample(lengths)
    num_blocks = -(-len(allowed) // FLEX_BLOCK)
    padded = torch.zeros(num_blocks * FLEX_BLOCK, num_blocks * FLEX_BLOCK, dtype=torch.bool)
    padded[: len(allowed), : len(allowed)] = allowed
    tiles = padded.unflatten(1, (num_blocks, FLEX_BLOCK)).unflatten(0, (num_blocks, FLEX_BLOCK))
    any_QK, all_QK = tiles.any(dim=3).any(dim=1), tiles.all(dim=3).all(dim=1)
    assert mask.full_kv_num_blocks is not None and mask.full_kv_indices is not None
    partly, fully = (
        [sorted(row[:count].tolist()) for row, count in zip(indices[0, 0], counts[0, 0].tolist(), strict=True)]
        for indices, counts in (
            (mask.kv_indices, mask.kv_num_blocks),
            (mask.full_kv_indices, mask.full_kv_num_blocks),
        )
    )
    assert fully == [row.nonzero().flatten().tolist() for row in all_QK]
    assert partly == [row.nonzero().flatten().tolist() for row in any_QK & ~all_QK]


def test_one_call_goes_to_sdpa_and_ragged_halves_on_cuda_to_varlen() -> None:
    assert choose_backend(CUDA, torch.bfloat16, [4, 4]) == "segments"
    assert choose_backend(CUDA, torch.bfloat16, [4, 5]) == "varlen"
    assert choose_backend(CUDA, torch.float32, [4, 5]) == "segments"
    assert choose_backend(CPU, torch.bfloat16, [4, 5]) == "segments"


def test_backends_that_do_not_fit_are_refused() -> None:
    qkv = torch.randn(4, 2, 16)
    with pytest.raises(ValueError, match="'varlen' needs CUDA tensors of 16 bits"):
        segment_attention(qkv, qkv, qkv, [4], "varlen")
    with pytest.raises(ValueError, match="'dense' is none of segments, varlen, flex"):
        segment_attention(qkv, qkv, qkv, [4], "dense")  # pyright: ignore[reportArgumentType]
