"""The pieces of ring attention in one process; whole rings are in tests/training/test_parallel.py."""

import pytest
import torch
from torch.nn import functional as F

from training.ring_attention import attend, attend_backward, attend_by_products, attend_by_products_backward


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("attention", [attend, attend_by_products])
def test_the_normaliser_is_the_log_of_the_sum_of_exponentials(attention) -> None:
    q, k, v = (_random(2, 3, length, 16, seed=length) for length in (7, 11, 11))
    out, lse = attention(q, k, v)
    torch.testing.assert_close(out, F.scaled_dot_product_attention(q, k, v))
    torch.testing.assert_close(lse, (q @ k.mT / 4).logsumexp(-1))


@pytest.mark.parametrize("backward", [attend_backward, attend_by_products_backward])
def test_gradients_of_two_blocks_of_keys_are_those_of_all(backward) -> None:
    q, k, v, grad = (_random(2, 3, length, 16, seed=seed) for seed, length in enumerate((7, 11, 11, 7)))
    for tensor in (q, k, v):
        tensor.requires_grad_()
    expected = torch.autograd.grad(F.scaled_dot_product_attention(q, k, v), (q, k, v), grad)
    with torch.no_grad():
        out, lse = attend(q, k, v)
        first, second = (backward(grad, q, k[:, :, part], v[:, :, part], out, lse) for part in (slice(4), slice(4, 11)))
    torch.testing.assert_close(first[0] + second[0], expected[0])
    for side in (1, 2):
        torch.testing.assert_close(torch.cat((first[side], second[side]), dim=2), expected[side])
