"""Averaged weights: what a stage hands on, measures and saves as its result.

    average <- d_k average + (1 - d_k) weights,   d_k = min(decay, (1 + k) / (10 + k)) after update k

The rising decay keeps the random first weights out of short runs (the rule of TensorFlow's and diffusers' averages).
Averages are float32 whatever the weights are: in bfloat16, 0.1 % of a difference is rounded away. A decay of 0 keeps
no copy: the average is the weights.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """The running average of a module's trained parameters, sharded as they are; buffers are not averaged."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
        self._weights = {name: weight.detach() for name, weight in named}  # live views
        self.average: dict[str, Tensor] = self._weights
        if decay:
            self.average = {name: weight.clone().float() for name, weight in self._weights.items()}

    @torch.no_grad()
    def update(self, num_updates: int) -> None:
        """Take in the current weights; `num_updates` counts updates before this one, from 0."""
        decay = min(self.decay, (1 + num_updates) / (10 + num_updates))
        if self.decay:
            for name, weight in self._weights.items():
                self.average[name].lerp_(weight.float(), 1 - decay)

    @torch.no_grad()
    def load(self, average: Mapping[str, Tensor]) -> None:
        """Continue from a saved average; KeyError if a parameter is missing."""
        for name, weight in self.average.items():
            weight.copy_(average[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block the module runs with the averaged weights."""
        if not self.decay:
            yield
            return
        kept = {name: weight.clone() for name, weight in self._weights.items()}
        self._copy(self.average)
        try:
            yield
        finally:
            self._copy(kept)

    @torch.no_grad()
    def _copy(self, source: Mapping[str, Tensor]) -> None:
        for name, weight in self._weights.items():
            weight.copy_(source[name])
