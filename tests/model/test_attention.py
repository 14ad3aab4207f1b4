"""Attention stays inside a sample, whatever the lengths in the row and whoever computes it."""

import pytest
import torch
from torch import Tensor

from model.attention import Backend, choose_backend, segment_attention

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def same_sample(lengths: list[int]) -> Tensor:
    """Which tokens of a packed row share a sample, bool [S, S]."""
    sample = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    return sample[:, None] == sample


def _under_a_mask(qkv: Tensor, lengths: list[int]) -> Tensor:
    q, k, v = qkv
    scores = torch.einsum("qhe,khe->hqk", q, k) / q.shape[-1] ** 0.5
    scores = scores.masked_fill(~same_sample(lengths), float("-inf"))
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
