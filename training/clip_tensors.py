"""Pixels and random numbers as the objectives take them: small things that each of them needs."""

import numpy as np
import torch
from torch import Tensor


def to_tensor(frames: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """uint8 [T, H, W, 3] to float32 [3, T, H, W] in [-1, 1]; a quarter of the bytes travel to the device."""
    return torch.from_numpy(frames).to(device).permute(3, 0, 1, 2).float() / 127.5 - 1.0


def generator_of(seed: int) -> torch.Generator:
    """A CPU generator: the same numbers on every device, once moved there."""
    return torch.Generator().manual_seed(seed)
