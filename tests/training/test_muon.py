"""Muon against the decomposition it approximates and against torch's own."""

import pytest
import torch
from torch import nn

from training.muon import Muon, orthogonal_factor


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (16, 16)])
def test_the_factor_has_singular_values_near_one_and_the_right_directions(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    factor = orthogonal_factor(matrix)
    values = torch.linalg.svdvals(factor)
    assert values.min() > 0.6 and values.max() < 1.25
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    assert nn.functional.cosine_similarity(factor.flatten(), (u @ vh).flatten(), dim=0) > 0.97


def test_matrices_move_as_with_torchs_muon():
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(24, 40)) for _ in range(2))
    one = Muon([ours], lr=0.01, weight_decay=0.1)
    two = torch.optim.Muon([theirs], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(5):
        ours.grad = torch.randn(24, 40)
        theirs.grad = ours.grad.clone()
        one.step()
        two.step()
    moved, expected = ours.detach() - 1, theirs.detach() - 1
    assert (moved - expected).norm() < 0.02 * expected.norm()  # torch iterates in bfloat16


def test_a_kernel_moves_like_the_matrix_it_is():
    torch.manual_seed(0)
    kernel, matrix = nn.Parameter(torch.zeros(8, 3, 3, 3)), nn.Parameter(torch.zeros(8, 27))
    optimizer = Muon([kernel, matrix], lr=0.1)
    kernel.grad = torch.randn(8, 3, 3, 3)
    matrix.grad = kernel.grad.reshape(8, 27).clone()
    optimizer.step()
    assert torch.equal(kernel.detach().flatten(1), matrix.detach())


def test_a_vector_is_refused():
    with pytest.raises(ValueError, match=r"got shapes \[\(5,\)\]; give those to AdamW"):
        Muon([nn.Parameter(torch.zeros(5))], lr=0.1)
