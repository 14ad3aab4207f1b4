"""Rounding to bfloat16 that is right on average: how weights of 16 bits learn from updates below their precision.

    float32  s eeeeeeee mmmmmmm|rrrrrrrrrrrrrrrr   + 16 random bits at r, then cut there

A weight of 1 moves in steps of 1/128; rounded to the nearest, an update of 1e-4 is lost every time, while here it makes
one step in 78 times (arXiv 2010.06192; HunyuanVideo's rates are near 1e-5). The random bits are a hash of the element's
place in the whole tensor and of a key, not a generator's: the same on every replica, on any number of processes, and
after a resume.
"""

import math

import torch
from torch import Tensor

from training.local_parts import local, offset_of


def store(target: Tensor, value: Tensor, key: int) -> None:
    """Put float32 values into this process's part of `target`; bfloat16 ones are rounded at random.

    Args:
        value: of the part, its shape.
        key: any integer; another one for every tensor and step.
    """
    part = local(target)
    if part.dtype is torch.bfloat16:
        value = _rounded(value, _places(target, part.shape), key)
    part.copy_(value)


def _rounded(value: Tensor, places: Tensor, key: int) -> Tensor:
    """float32 values of which bfloat16 keeps every bit. Infinities and NaN stay what they are."""
    bits = value.contiguous().view(torch.int32)
    up = (bits + (_hashed(places, key) & 0xFFFF)) & -0x10000
    return torch.where(value.isfinite(), up.view(torch.float32), value)


def _places(target: Tensor, shape: torch.Size) -> Tensor:
    """Index of every element of the part in the whole, flattened tensor, int32 of the part's shape."""
    places = torch.zeros(shape, dtype=torch.int32, device=target.device)
    for axis, start in enumerate(offset_of(target)):
        index = torch.arange(start, start + shape[axis], dtype=torch.int32, device=target.device)
        places += index.view(-1, *[1] * (len(shape) - axis - 1)) * math.prod(target.shape[axis + 1 :])
    return places


def _hashed(places: Tensor, key: int) -> Tensor:
    """32 well-mixed bits per place, int32 (Wellons' lowbias32, twice, so that near keys give unlike bits)."""
    x = places ^ _signed(key)
    for multiplier in (0x7FEB352D, _signed(0x846CA68B), 0x2C1B3C6D, _signed(0x9E3779B1)):
        x = x ^ ((x >> 16) & 0xFFFF)
        x = (x + _signed(key >> 32)) * multiplier
    return x ^ ((x >> 15) & 0x1FFFF)


def _signed(number: int) -> int:
    """The low 32 bits as a signed integer."""
    number &= 0xFFFFFFFF
    return number - (1 << 32) if number >> 31 else number
