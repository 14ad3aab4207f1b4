"""NSFW: how likely the clip shows nudity, sex or gore; the probability of the worst frame, 0 to 1.

    frames --CLIP image tower--> vectors [n, D] --cosines with all prompts--> softmax --> sum over the unsafe prompts
                                                                                          --> max over the frames

Zero-shot classification (Radford et al. 2021, section 3.1): the prompts are settings, so what counts as unsafe is yours
to say; each side should cover what your footage shows. It sorts the obvious from the harmless and is no substitute for
people: choose the threshold on your own footage. Cost and sharing: `curation/clip_tower.py`.
"""

from functools import cached_property
from typing import ClassVar

import numpy as np
from pydantic import BaseModel, Field

from curation.clip_tower import TowerJudge, TowerSettings, frame_vectors, looked_at
from curation.drawing import captioned, sheet
from curation.records import content_id
from curation.scorer import ClipFrames, Direction

UNSAFE = (
    "a photo of a naked person",
    "a pornographic picture",
    "people having sex",
    "a bloody, mutilated body",
    "a scene of torture or execution",
)
SAFE = (
    "a photo of a dressed person",
    "a photo of people in a city",
    "a photo of people doing sports or swimming",
    "a photo of a landscape",
    "a photo of an animal",
    "a photo of a building or a room",
    "a photo of an object",
    "a photo of food",
    "a drawing or a computer animation",
    "a picture of text",
)


class NsfwSettings(TowerSettings, frozen=True, extra="forbid"):
    unsafe: tuple[str, ...] = Field(default=UNSAFE, min_length=1, description="what must not be shown, as captions")
    safe: tuple[str, ...] = Field(default=SAFE, min_length=1, description="what else there is to see, as captions")


class NsfwScorer(TowerJudge[NsfwSettings]):
    name = "nsfw"
    settings_class: ClassVar[type[BaseModel]] = NsfwSettings
    direction: ClassVar[Direction] = "lower is better"
    unit: ClassVar[str] = "probability of the unsafe prompts"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0

    @cached_property
    def version(self) -> str:
        prompts = content_id(*self.settings.unsafe, "against", *self.settings.safe)[:8]
        return f"1/{self.settings.tower_version}-{prompts}"

    def load(self) -> None:
        super().load()
        self._prompts = self._tower.texts([*self.settings.unsafe, *self.settings.safe])

    def __call__(self, clip: ClipFrames) -> float:
        return float(self._probabilities(clip).max())

    def draw(self, clip: ClipFrames) -> np.ndarray:
        """The frames that were looked at, each with its own probability."""
        assert clip.bgr is not None
        shown = zip(looked_at(clip, self.settings.max_frames), self._probabilities(clip), strict=True)
        return sheet([captioned(clip.bgr[index], f"unsafe {probability:.3f}") for index, probability in shown])

    def _probabilities(self, clip: ClipFrames) -> np.ndarray:
        """Share of the softmax that falls on the unsafe prompts, one a frame, float64 [n]."""
        cosines = frame_vectors(clip, self._tower, self.settings) @ self._prompts.T
        logits = self._tower.logit_scale * cosines.astype(np.float64)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return shares[:, : len(self.settings.unsafe)].sum(axis=1) / shares.sum(axis=1)
