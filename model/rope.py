"""Rotary position embedding over time, height and width (RoFormer, arXiv 2104.09864, in three axes).

Each head's channels are shared out to the three axes; within an axis, channels 2i and 2i+1 form a pair that is
turned by position * theta^(-2i / axis_dim). Positions are whole token indices from 0, angles are float32. Only video
tokens are turned; text tokens have no place in the grid.

Legend: S tokens, H heads, D channels of one head, P = D / 2 pairs.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Rotation(NamedTuple):
    """Cosines and sines [S, P] of a row of tokens, float32."""

    cos: Tensor
    sin: Tensor


def grid_rotation(
    grid: tuple[int, int, int], dims: tuple[int, int, int], theta: float, device: torch.device | str = "cpu"
) -> Rotation:
    """Rotation of a (time, height, width) grid of tokens in row-major order; `dims` are channels per axis (even)."""
    angles = []
    for axis, (size, dim) in enumerate(zip(grid, dims, strict=True)):
        pair = torch.arange(0, dim, 2, dtype=torch.float32, device=device)
        position = torch.arange(size, dtype=torch.float32, device=device)
        angle = torch.outer(position, 1.0 / theta ** (pair / dim))
        shape = [1, 1, 1, angle.shape[1]]
        shape[axis] = size
        angles.append(angle.view(shape).expand(*grid, -1))
    angle_SP = torch.cat(angles, dim=-1).flatten(0, 2)
    return Rotation(angle_SP.cos(), angle_SP.sin())


def rotate(x_SHD: Tensor, rotation: Rotation) -> Tensor:
    """Turn every pair of channels (2i, 2i+1) of each token; computed in float32, returned in the input's dtype.

    A pair is a complex number and its turn one product: half the time of sines and cosines apart. A compiler, which
    fuses those anyhow, knows no complex numbers and gets the second form.
    """
    pairs = x_SHD.float().unflatten(-1, (-1, 2))
    if torch.compiler.is_compiling():
        return _turn_apart(pairs, rotation).flatten(-2).to(x_SHD.dtype)
    turned = torch.view_as_complex(pairs) * torch.complex(*rotation)[:, None]
    return torch.view_as_real(turned).flatten(-2).to(x_SHD.dtype)


def _turn_apart(pairs_SHP2: Tensor, rotation: Rotation) -> Tensor:
    even, odd = pairs_SHP2.unbind(-1)
    cos, sin = rotation.cos[:, None], rotation.sin[:, None]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
