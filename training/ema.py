"""Averaged weights: what a stage hands on, measures and saves as its result.

    average <- d_k average + (1 - d_k) weights,   d_k = min(decay, (1 + k) / (10 + k)) after update k

The rising decay keeps the random first weights out of short runs (the rule of TensorFlow's and diffusers' averages).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """The running average of a module's parameters, in their own dtype; buffers are not averaged."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._weights = {name: weight.detach() for name, weight in model.named_parameters()}  # live views
        self.average: dict[str, Tensor] = {name: weight.clone() for name, weight in self._weights.items()}

    @torch.no_grad()
    def update(self, num_updates: int) -> None:
        """Take in the current weights; `num_updates` counts updates before this one, from 0."""
        decay = min(self.decay, (1 + num_updates) / (10 + num_updates))
        for name, weight in self._weights.items():
            self.average[name].lerp_(weight, 1 - decay)

    @torch.no_grad()
    def load(self, average: dict[str, Tensor]) -> None:
        """Continue from a saved average; KeyError if a parameter is missing."""
        for name, weight in self.average.items():
            weight.copy_(average[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block the module runs with the averaged weights."""
        kept = {name: weight.clone() for name, weight in self._weights.items()}
        self._copy(self.average)
        try:
            yield
        finally:
            self._copy(kept)

    @torch.no_grad()
    def _copy(self, source: dict[str, Tensor]) -> None:
        for name, weight in self._weights.items():
            weight.copy_(source[name])
