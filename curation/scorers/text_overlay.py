"""Text overlay: the share of the picture covered by text that can be read, in the frame that has most of it; 0 to 1.

    a few frames --curation.text--> boxes that read as text --those inside the crop--> area / picture

Titles and captions teach a generator to draw letters. Only the part that the crop keeps counts. One line of subtitles
covers 0.02-0.03 of a picture, a title card 0.05-0.1; footage without text has exactly 0. Where the text was and what it
reads is drawn by `draw`.
"""

from typing import ClassVar

import cv2
import numpy as np
from pydantic import BaseModel

from curation.drawing import RED, captioned, marked, sheet
from curation.scorer import ClipFrames, Direction
from curation.text import ReadFrame, TextJudge, TextSettings, clip_text, in_kept_part


class TextOverlaySettings(TextSettings, frozen=True, extra="forbid"):
    pass


class TextOverlayScorer(TextJudge):
    settings_class: ClassVar[type[BaseModel]] = TextOverlaySettings
    direction: ClassVar[Direction] = "lower is better"
    unit: ClassVar[str] = "share of the picture"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 0.2

    def __init__(self, settings: TextOverlaySettings) -> None:
        super().__init__(settings)
        self.version = f"2.{self._reader.version}"

    def __call__(self, clip: ClipFrames) -> float:
        return max(float(_covered(clip, frame).mean()) for frame in clip_text(clip, self._reader))

    def draw(self, clip: ClipFrames) -> np.ndarray:
        assert clip.bgr is not None
        pictures = []
        for frame in clip_text(clip, self._reader):
            covered = _covered(clip, frame)
            read = " / ".join(f"{box.text} {box.confidence:.2f}" for box in frame.boxes) or "no text"
            words = "".join(character if character.isascii() else "?" for character in read)
            pictures.append(
                captioned(marked(clip.bgr[frame.index], covered, RED), f"{float(covered.mean()):.3f}  {words}")
            )
        return sheet(pictures, columns=2, width=640)


def _covered(clip: ClipFrames, frame: ReadFrame) -> np.ndarray:
    """Which pixels of the kept part lie in a box, bool [H, W]."""
    rows, columns = clip.luma.shape[1:]
    mask = np.zeros((rows, columns), np.uint8)
    for box in frame.boxes:
        cv2.fillPoly(mask, [np.rint(in_kept_part(clip, box.corners) * [columns, rows]).astype(np.int32)], 1)
    return mask.astype(bool)
