"""Saturation: how colourful the picture is, the mean of HSV saturation over pixels and frames; 0 grey to 1.

    bgr --> (max - min) / max of the three, pixels darker than 16 left out --> mean

Black-and-white and washed-out footage scores below 0.1, ordinary footage 0.15-0.5, cartoons and coloured light above
0.6. Dark pixels are left out, because their saturation is noise; a clip of nothing else has 0. Step-Video-T2V filters
by the same number. It looks at the frames that the text is read from, which costs nothing beside that.
"""

from typing import ClassVar

import cv2
import numpy as np
from pydantic import BaseModel, Field

from curation.drawing import captioned, heat, sheet, spread
from curation.scorer import ClipFrames, Direction, NeedsNothing
from curation.video import FrameSpec

DARK_BELOW = 16


class SaturationSettings(BaseModel, frozen=True, extra="forbid"):
    fps: float = Field(default=1.0, gt=0, description="frames looked at per second; as many as text is sought in")
    short_side_px: int = Field(default=360, ge=16, description="size at which colours are compared")


class SaturationScorer(NeedsNothing):
    settings_class: ClassVar[type[BaseModel]] = SaturationSettings
    direction: ClassVar[Direction] = "two-sided"
    unit: ClassVar[str] = "HSV saturation, 0 to 1"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0

    def __init__(self, settings: SaturationSettings) -> None:
        self.frames = FrameSpec(settings.fps, settings.short_side_px, planes="bgr")
        self.version = f"2/{settings.fps:g}fps-{settings.short_side_px}px"

    def __call__(self, clip: ClipFrames) -> float:
        assert clip.bgr is not None
        total, count = 0.0, 0
        for picture in clip.bgr:
            saturation, bright = _saturation(picture[::2, ::2])  # every fourth pixel tells as much
            total += float(saturation.sum(where=bright, dtype=np.float64))
            count += int(bright.sum())
        return total / count / 255 if count else 0.0

    def draw(self, clip: ClipFrames) -> np.ndarray:
        assert clip.bgr is not None
        pictures = []
        for index in spread(len(clip.bgr), 4):
            saturation, bright = _saturation(clip.bgr[index])
            value = float(saturation[bright].mean()) / 255 if bright.any() else 0.0
            pictures += [captioned(clip.bgr[index], f"{value:.3f}"), captioned(heat(saturation * bright, 255), "")]
        return sheet(pictures)


def _saturation(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Saturation uint8 [H, W] of uint8 BGR, and which pixels are bright enough to have one."""
    hsv = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_BGR2HSV)
    return hsv[..., 1], hsv[..., 2] >= DARK_BELOW
