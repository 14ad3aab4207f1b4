"""Image-text: how well the clip's caption fits what is to be seen; the mean cosine of CLIP over the clip's frames.

    frames --CLIP image tower--> unit vectors [n, D] --+
    caption ----CLIP text tower----> unit vector [D] --+--> cosines [n] --> mean, -1 to 1

This is CLIPScore without its factor (Hessel et al. 2021, "CLIPScore: A Reference-free Evaluation Metric for Image
Captioning"). The range of fitting captions depends on the model and is not measured here: take a percentile. CLIP reads
77 tokens, so of a long caption only the beginning is judged. A clip that nobody has described has no answer.
Cost and sharing: `curation/clip_tower.py`.
"""

from typing import ClassVar

import numpy as np
from pydantic import BaseModel

from curation.clip_tower import TowerJudge, TowerSettings, frame_vectors, looked_at
from curation.drawing import captioned, sheet
from curation.scorer import ClipFrames, Direction

SHOWN_CHARACTERS = 110


class ImageTextSettings(TowerSettings, frozen=True, extra="forbid"):
    pass


class ImageTextScorer(TowerJudge[ImageTextSettings]):
    name = "image_text"
    settings_class: ClassVar[type[BaseModel]] = ImageTextSettings
    direction: ClassVar[Direction] = "higher is better"
    unit: ClassVar[str] = "cosine"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 0.4

    def load(self) -> None:
        super().load()
        self._tower.texts(["a model without a tokenizer of its own is refused here, not at the first clip"])

    def __call__(self, clip: ClipFrames) -> float:
        return float(self._cosines(clip).mean())

    def draw(self, clip: ClipFrames) -> np.ndarray:
        """The frames that were looked at, each with its own cosine, above the caption."""
        assert clip.bgr is not None
        shown = zip(looked_at(clip, self.settings.max_frames), self._cosines(clip), strict=True)
        pictures = [captioned(clip.bgr[index], f"cosine {cosine:.3f}") for index, cosine in shown]
        return captioned(sheet(pictures), clip.about.caption[:SHOWN_CHARACTERS])

    def _cosines(self, clip: ClipFrames) -> np.ndarray:
        """Cosine of each frame with the caption, float32 [n]."""
        if not clip.about.caption.strip():
            raise ValueError("nobody has written a caption")
        caption = self._tower.texts([clip.about.caption])[0]
        return frame_vectors(clip, self._tower, self.settings) @ caption
