"""Exposure: the share of the picture that is neither crushed to black nor clipped to white, the mean over frames.

A pixel counts as exposed from luma 16 to 239 of 0-255. Black frames, white flashes and fades score near 0, ordinary
footage above 0.9, wide-screen footage with black bars about 0.75, night scenes between.
"""

from typing import ClassVar

import cv2
import numpy as np
from pydantic import BaseModel, Field

from curation.drawing import captioned, marked, sheet, spread
from curation.scorer import ClipFrames, Direction, NeedsNothing
from curation.video import FrameSpec

DARKEST, BRIGHTEST = 16, 239
BOUNDS = np.array([DARKEST]), np.array([BRIGHTEST])  # as OpenCV wants them


class ExposureSettings(BaseModel, frozen=True, extra="forbid"):
    fps: float = Field(default=2.0, gt=0, description="frames looked at per second")


class ExposureScorer(NeedsNothing):
    settings_class: ClassVar[type[BaseModel]] = ExposureSettings
    direction: ClassVar[Direction] = "higher is better"
    unit: ClassVar[str] = "share of pixels with luma 16-239 of 255"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0

    def __init__(self, settings: ExposureSettings) -> None:
        self.frames = FrameSpec(settings.fps, short_side_px=360)
        self.version = f"1/{settings.fps:g}fps"

    def __call__(self, clip: ClipFrames) -> float:
        return sum(cv2.countNonZero(cv2.inRange(luma, *BOUNDS)) for luma in clip.luma) / clip.luma.size

    def draw(self, clip: ClipFrames) -> np.ndarray:
        pictures = []
        for index in spread(len(clip.luma), 8):
            lost = (clip.luma[index] < DARKEST) | (clip.luma[index] > BRIGHTEST)
            pictures.append(captioned(marked(clip.luma[index], lost), f"{1 - float(lost.mean()):.3f} exposed"))
        return sheet(pictures)
