"""Clip: what is to be seen, by CLIP: the mean of the unit vectors of a few frames, made a unit vector again.

Which cosines copies, scenes of one kind and unrelated clips have is not measured here: look at your own pool before you
set `duplicate_similarity`. Unlike the perceptual hash it knows what things are, so its clusters are concepts; it needs
weights. Cost: `curation/clip_tower.py`; nothing where a scorer looks at the same frames with the same model.
"""

from functools import cached_property
from typing import ClassVar

import numpy as np
from pydantic import BaseModel

from curation.clip_tower import Tower, TowerSettings, frame_vectors, tower_of
from curation.scorer import ClipFrames


class ClipSettings(TowerSettings, frozen=True, extra="forbid"):
    pass


class ClipEmbedder:
    settings_class: ClassVar[type[BaseModel]] = ClipSettings

    def __init__(self, settings: ClipSettings) -> None:
        self.settings = settings
        self.frames = settings.frames

    @cached_property
    def version(self) -> str:
        return f"1/{self.settings.tower_version}"

    def missing(self) -> str | None:
        return self.settings.lacking("clip")

    def load(self) -> None:
        """Read the model.

        Raises:
            UserError: weights are missing or do not fit.
        """
        self._tower: Tower = tower_of(self.settings, "clip")

    def __call__(self, clip: ClipFrames) -> np.ndarray:
        mean = frame_vectors(clip, self._tower, self.settings).mean(axis=0)
        return (mean / np.linalg.norm(mean)).astype(np.float32)
