"""Rotations: relative in position, neutral in length, and laid out axis by axis."""

import pytest
import torch

from model.rope import Rotation, grid_rotation, rotate

DIMS = (4, 6, 6)


def test_rotation_keeps_lengths_and_leaves_the_origin() -> None:
    x = torch.randn(2 * 3 * 4, 5, 16)
    turned = rotate(x, grid_rotation((2, 3, 4), DIMS, 256.0))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(turned[0], x[0])


def test_products_depend_on_the_distance_only() -> None:
    """A query at (t, h, w) and a key k cells away give the same product wherever the pair lies (RoFormer, eq. 16)."""
    rotation = grid_rotation((4, 5, 6), DIMS, 256.0)
    q, k = torch.randn(2, 1, 1, 16)
    turned_q, turned_k = (rotate(x.expand(120, 1, 16), rotation).view(4, 5, 6, 16) for x in (q, k))
    products = (turned_q[:-1, :-2, :-1] * turned_k[1:, 2:, 1:]).sum(dim=-1)
    torch.testing.assert_close(products, products.flatten()[0].expand_as(products), rtol=0, atol=1e-5)


def test_the_formula_on_one_pair() -> None:
    """Pair i of the height axis turns by h * theta^(-2i / 6); pairs are neighbours (2i, 2i + 1)."""
    rotation = grid_rotation((1, 4, 1), DIMS, 256.0)
    x = torch.zeros(4, 1, 16)
    x[:, 0, 4 + 2] = 1.0  # second pair of the height axis, its first channel
    angle = torch.tensor(3 * 256.0 ** (-2 / 6))
    torch.testing.assert_close(rotate(x, rotation)[3, 0, 6:8], torch.stack((angle.cos(), angle.sin())))


def test_half_precision_is_turned_in_float32() -> None:
    x = torch.randn(3, 2, 16).bfloat16()
    angles = torch.rand(3, 8) * 100
    turned = rotate(x, Rotation(angles.cos(), angles.sin()))
    assert turned.dtype == torch.bfloat16
    torch.testing.assert_close(turned, rotate(x.float(), Rotation(angles.cos(), angles.sin())).bfloat16())


def test_a_compiler_and_eager_mode_turn_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    rotation = grid_rotation((2, 3, 4), DIMS, 256.0)
    x = torch.randn(24, 3, 16)
    eager = rotate(x, rotation)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(rotate(x, rotation), eager, rtol=0, atol=1e-6)
