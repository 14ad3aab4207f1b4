"""Aesthetic: how much people like the look of a frame, the mean over the clip's frames; about 1 to 10.

    bgr --CLIP image tower--> unit vectors [n, D] --> linear layers --> one number a frame --> mean

The head is LAION's aesthetic predictor, linear or the deeper "improved" one: both are chains of linear layers without
anything between them, so any state dict of that kind fits. Heads and towers belong together: LAION's 768-wide heads
were trained on OpenAI's ViT-L/14, whose activation is the quick GELU, so its name here ends in `-quickgelu`. Absolute
values do not transfer between heads; choose thresholds on your own footage. Cost and sharing: `curation/clip_tower.py`.
"""

import itertools
import json
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import BaseModel, Field

from curation.clip_tower import TowerJudge, TowerSettings, frame_vectors, looked_at
from curation.drawing import captioned, sheet
from curation.records import UserError
from curation.scorer import ClipFrames, Direction, lacking_file
from curation.source import fingerprint


class AestheticSettings(TowerSettings, frozen=True, extra="forbid"):
    head: str = Field(default="", description="path of the head's state dict (.pth or .safetensors)")


class AestheticScorer(TowerJudge[AestheticSettings]):
    name = "aesthetic"
    settings_class: ClassVar[type[BaseModel]] = AestheticSettings
    direction: ClassVar[Direction] = "higher is better"
    unit: ClassVar[str] = "predicted rating"
    low: ClassVar[float] = 1.0
    high: ClassVar[float] = 10.0

    @cached_property
    def version(self) -> str:
        return f"2/{self.settings.tower_version}-{fingerprint(str(Path(self.settings.head).resolve()))[:8]}"

    def missing(self) -> str | None:
        return super().missing() or lacking_file(
            self.settings.head, "score.options.aesthetic.head", "the aesthetic head"
        )

    def load(self) -> None:
        """Read tower and head.

        Raises:
            UserError: weights are missing, or tower, head and input size do not fit each other.
        """
        if lacking := self.missing():
            raise UserError(f"aesthetic lacks {lacking}")
        super().load()
        self._layers = _linear_layers(Path(self.settings.head))
        if self._tower.width != self._layers[0][0].shape[1]:
            raise UserError(
                f"the head {self.settings.head} takes vectors of {self._layers[0][0].shape[1]}, but "
                f"{self.settings.model} gives {self._tower.width}: they are not of the same family"
            )

    def __call__(self, clip: ClipFrames) -> float:
        return float(self._ratings(clip).mean())

    def draw(self, clip: ClipFrames) -> np.ndarray:
        """The frames that were looked at, each with its own rating."""
        assert clip.bgr is not None
        shown = zip(looked_at(clip, self.settings.max_frames), self._ratings(clip), strict=True)
        return sheet([captioned(clip.bgr[index], f"rated {rating:.2f}") for index, rating in shown])

    def _ratings(self, clip: ClipFrames) -> np.ndarray:
        """One rating a frame, float32 [n]."""
        values = frame_vectors(clip, self._tower, self.settings)
        for weight, bias in self._layers:
            values = values @ weight.T + bias
        return values[:, 0]


def _linear_layers(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weight [out, in] and bias [out] of each linear layer of a head, in order, float32."""
    import torch
    from safetensors.torch import load_file

    state = (
        load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    )
    names = [name for name in state if name.endswith("weight")]
    names.sort(key=lambda name: [int(part) for part in name.split(".") if part.isdigit()])
    layers = [
        (state[name].float().numpy(), state[name.removesuffix("weight") + "bias"].float().numpy()) for name in names
    ]
    sizes = [tuple(weight.shape) for weight, _ in layers]
    fits = all(before[0] == after[1] for before, after in itertools.pairwise(sizes))
    if not layers or not fits or sizes[-1][0] != 1:
        raise UserError(
            f"{path} is no aesthetic head: expected linear layers that end in one number, found {json.dumps(sizes)}"
        )
    return layers
