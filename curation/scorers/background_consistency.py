"""Background consistency: whether a video stays in one scene, by CLIP; VBench's formula (`curation/consistency.py`).

    a few frames --CLIP image tower--> unit vectors --> mean cosine with the first and with the one before

VBench takes every frame through ViT-B/32; this takes `max_frames` of them, spread over the clip, through the model of
the settings. Weights are a file of yours; tables compare only where model, weights and frames are the same, which the
version tells. A picture that stands still has 1, so it is read beside `dynamics`.
"""

from typing import ClassVar

import numpy as np
from pydantic import BaseModel, Field

from curation.clip_tower import TowerJudge, TowerSettings, frame_vectors, looked_at
from curation.consistency import drawn, to_first_and_previous
from curation.scorer import ClipFrames, Direction


class BackgroundConsistencySettings(TowerSettings, frozen=True, extra="forbid"):
    fps: float = Field(default=8.0, gt=0, description="frames decoded per second; the first is always there")
    max_frames: int = Field(default=16, ge=2, description="most frames looked at, spread over the clip")


class BackgroundConsistencyScorer(TowerJudge[BackgroundConsistencySettings]):
    name = "background_consistency"
    settings_class: ClassVar[type[BaseModel]] = BackgroundConsistencySettings
    direction: ClassVar[Direction] = "higher is better"
    unit: ClassVar[str] = "cosine"
    low: ClassVar[float] = 0.8
    high: ClassVar[float] = 1.0

    def __call__(self, clip: ClipFrames) -> float:
        return float(to_first_and_previous(frame_vectors(clip, self._tower, self.settings)).mean())

    def draw(self, clip: ClipFrames) -> np.ndarray:
        """The frames that were looked at, each with how it fits the first and the one before."""
        assert clip.bgr is not None
        shown = clip.bgr[looked_at(clip, self.settings.max_frames)]
        return drawn(shown, frame_vectors(clip, self._tower, self.settings))
