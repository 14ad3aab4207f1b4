"""Black: the share of a clip's frames that are black, 0 to 1.

A frame is black if 98 of 100 of its pixels are below luma 16 of 255 (what ffmpeg's blackdetect calls black): the gaps
of fades, leaders and broken sources. Bars were cut off before; a night scene has lights. Real footage has 0 but for
fades, where it is 0.1-0.5.
"""

from typing import ClassVar

import numpy as np
from pydantic import BaseModel, Field

from curation.drawing import captioned, sheet, spread
from curation.scorer import ClipFrames, Direction, NeedsNothing
from curation.video import FrameSpec

BLACK_BELOW = 16
MIN_SHARE = 0.98


class BlackSettings(BaseModel, frozen=True, extra="forbid"):
    fps: float = Field(default=2.0, gt=0, description="frames looked at per second")


class BlackScorer(NeedsNothing):
    settings_class: ClassVar[type[BaseModel]] = BlackSettings
    direction: ClassVar[Direction] = "lower is better"
    unit: ClassVar[str] = "share of frames"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0

    def __init__(self, settings: BlackSettings) -> None:
        self.frames = FrameSpec(settings.fps, short_side_px=360)
        self.version = f"1/{settings.fps:g}fps"

    def __call__(self, clip: ClipFrames) -> float:
        return float(np.mean([_dark_share(luma) >= MIN_SHARE for luma in clip.luma]))

    def draw(self, clip: ClipFrames) -> np.ndarray:
        shown = (clip.luma[index] for index in spread(len(clip.luma), 8))
        return sheet([captioned(luma, f"{_dark_share(luma):.3f} below {BLACK_BELOW}") for luma in shown])


def _dark_share(luma: np.ndarray) -> float:
    return float((luma < BLACK_BELOW).mean())
