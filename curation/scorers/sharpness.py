"""Sharpness: the variance of the Laplacian of luma at 360 lines, the median over the clip's frames.

Blur removes what the Laplacian keeps. The fixed size makes clips of any resolution comparable: it judges what a viewer
of a small player sees, so footage enlarged from far less than 360 lines scores low. Noise counts as detail.
The measure is Pech-Pacheco et al. 2000 ("Diatom autofocusing in brightfield microscopy"). On real footage: out of
focus, motion-blurred or strongly compressed below 30, ordinary 50-1000, fine texture up to 3000.
"""

from typing import ClassVar

import cv2
import numpy as np
from pydantic import BaseModel, Field

from curation.drawing import captioned, heat, sheet, spread
from curation.scorer import ClipFrames, Direction, NeedsNothing
from curation.video import FrameSpec


class SharpnessSettings(BaseModel, frozen=True, extra="forbid"):
    fps: float = Field(default=2.0, gt=0, description="frames looked at per second")


class SharpnessScorer(NeedsNothing):
    settings_class: ClassVar[type[BaseModel]] = SharpnessSettings
    direction: ClassVar[Direction] = "higher is better"
    unit: ClassVar[str] = "variance of the Laplacian at 360 lines, squared grey levels (0-255)"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 2000.0

    def __init__(self, settings: SharpnessSettings) -> None:
        self.frames = FrameSpec(settings.fps, short_side_px=360)
        self.version = f"2/{settings.fps:g}fps"

    def __call__(self, clip: ClipFrames) -> float:
        return float(np.median([laplacian_variance(luma) for luma in clip.luma]))

    def draw(self, clip: ClipFrames) -> np.ndarray:
        pictures = []
        for index in spread(len(clip.luma), 4):
            detail = np.abs(cv2.Laplacian(clip.luma[index], cv2.CV_16S, ksize=1))
            value = laplacian_variance(clip.luma[index])
            pictures += [captioned(clip.luma[index], f"{value:.0f}"), captioned(heat(detail, 64), "Laplacian")]
        return sheet(pictures)


def laplacian_variance(luma: np.ndarray) -> float:
    """Of a picture, uint8 [h, w]: squared grey levels, higher is sharper."""
    _, deviation = cv2.meanStdDev(cv2.Laplacian(luma, cv2.CV_16S, ksize=1))
    return float(deviation[0, 0]) ** 2
