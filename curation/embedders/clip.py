"""Clip: what is to be seen, by CLIP: the mean of the unit vectors of a few frames, made a unit vector again.

Which cosines copies, scenes of one kind and unrelated clips have is not measured here: look at your own pool before you
set `duplicate_similarity`. Unlike the perceptual hash it knows what things are, so its clusters are concepts; it needs
weights. Cost: `curation/clip_tower.py`; nothing where a scorer looks at the same frames with the same model.
"""

from typing import ClassVar

import numpy as np
from pydantic import BaseModel

from curation.clip_tower import TowerJudge, TowerSettings, frame_vectors
from curation.scorer import ClipFrames


class ClipSettings(TowerSettings, frozen=True, extra="forbid"):
    pass


class ClipEmbedder(TowerJudge[ClipSettings]):
    name = "clip"
    settings_class: ClassVar[type[BaseModel]] = ClipSettings

    def __call__(self, clip: ClipFrames) -> np.ndarray:
        mean = frame_vectors(clip, self._tower, self.settings).mean(axis=0)
        return (mean / np.linalg.norm(mean)).astype(np.float32)
