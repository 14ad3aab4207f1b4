"""Flatness: the share of the picture without any structure, the median over frames; 0 to 1.

    luma --mean and spread in windows of 16 px--> share of windows whose spread is below 2 grey levels

Blank slides, plain backgrounds, skies and blown-out or crushed areas are flat; grass, faces and rooms are not. Titles
on a plain ground, screens and cartoons score 0.6-1, ordinary camera footage 0-0.3.
"""

from typing import ClassVar

import cv2
import numpy as np
from pydantic import BaseModel, Field

from curation.drawing import captioned, marked, sheet, spread
from curation.scorer import ClipFrames, Direction, NeedsNothing
from curation.video import FrameSpec

WINDOW_PX = 16
FLAT_BELOW_LEVELS = 2.0


class FlatnessSettings(BaseModel, frozen=True, extra="forbid"):
    fps: float = Field(default=2.0, gt=0, description="frames looked at per second")


class FlatnessScorer(NeedsNothing):
    settings_class: ClassVar[type[BaseModel]] = FlatnessSettings
    direction: ClassVar[Direction] = "lower is better"
    unit: ClassVar[str] = "share of the picture"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0

    def __init__(self, settings: FlatnessSettings) -> None:
        self.frames = FrameSpec(settings.fps, short_side_px=360)
        self.version = f"1/{settings.fps:g}fps"

    def __call__(self, clip: ClipFrames) -> float:
        return float(np.median([_flat(luma).mean() for luma in clip.luma]))

    def draw(self, clip: ClipFrames) -> np.ndarray:
        pictures = []
        for index in spread(len(clip.luma), 8):
            luma = clip.luma[index]
            flat = _flat(luma)
            tiles = cv2.resize(flat.astype(np.uint8), luma.shape[::-1], interpolation=cv2.INTER_NEAREST)
            pictures.append(captioned(marked(luma, tiles.astype(bool)), f"{float(flat.mean()):.3f} flat"))
        return sheet(pictures)


def _flat(luma: np.ndarray) -> np.ndarray:
    """Which windows of uint8 [H, W] are flat, bool [H / 16, W / 16]; a smaller picture is one window."""
    rows, columns = (max(1, side // WINDOW_PX) for side in luma.shape)
    values = luma[::2, ::2].astype(np.float32)  # every fourth pixel tells as much
    squares = cv2.multiply(values, values)
    means, squares = (cv2.resize(each, (columns, rows), interpolation=cv2.INTER_AREA) for each in (values, squares))
    return squares - means**2 < FLAT_BELOW_LEVELS**2
