"""Flicker: how much pixels change from each frame to the next, wherever nothing moves; VBench's number, 1 is none.

    frame t ---+
    frame t+1 -+--mean |difference| over pixels and pairs, of 255--> MAE --> 1 - MAE / 255

This is "temporal flickering" of VBench (Huang et al. 2023, arXiv 2311.17982, section 3.1), of luma at 256 lines in
place of colour at full size. VBench takes it of videos that are still anyway. In others, motion counts as flicker too:
a rendered texture that stands still has 1, and 0.977 if every second frame is 6 levels darker, but 0.954 if it pans at
0.17 short sides a second. So it is read beside `dynamics`, and `warp_error` follows the motion.
"""

from typing import ClassVar

import cv2
import numpy as np
from pydantic import BaseModel, Field

from curation.drawing import captioned, heat, sheet, spread
from curation.scorer import ClipFrames, Direction, NeedsNothing
from curation.video import FrameSpec

DRAWN_PAIRS, DRAWN_LEVELS = 8, 32.0


class FlickerSettings(BaseModel, frozen=True, extra="forbid"):
    short_side_px: int = Field(default=256, ge=16, description="size that frames are compared at")


class FlickerScorer(NeedsNothing):
    settings_class: ClassVar[type[BaseModel]] = FlickerSettings
    direction: ClassVar[Direction] = "higher is better"
    unit: ClassVar[str] = "1 - mean change of luma from frame to frame, 0 to 1"
    low: ClassVar[float] = 0.85
    high: ClassVar[float] = 1.0

    def __init__(self, settings: FlickerSettings) -> None:
        self.settings = settings
        self.frames = FrameSpec(None, settings.short_side_px)
        self.version = f"1/{settings.short_side_px}px"

    def __call__(self, clip: ClipFrames) -> float:
        changes = [float(self._change(clip, pair).mean()) for pair in range(_num_pairs(clip))]
        return 1 - float(np.mean(changes)) / 255

    def draw(self, clip: ClipFrames) -> np.ndarray:
        """Where frames differ from the next, red from 32 levels on."""
        pictures = []
        for pair in spread(_num_pairs(clip), DRAWN_PAIRS):
            change = self._change(clip, pair)
            stacked = np.vstack([cv2.cvtColor(clip.luma[pair], cv2.COLOR_GRAY2BGR), heat(change, DRAWN_LEVELS)])
            time_s = clip.times_s[pair] - clip.times_s[0]
            pictures.append(captioned(stacked, f"{time_s:.2f} s  {change.mean():.2f} levels"))
        return sheet(pictures)

    def _change(self, clip: ClipFrames, pair: int) -> np.ndarray:
        """Grey levels by which each pixel differs in the next frame, uint8 [H, W]."""
        return cv2.absdiff(clip.luma[pair + 1], clip.luma[pair])


def _num_pairs(clip: ClipFrames) -> int:
    if len(clip.luma) < 2:
        raise ValueError("1 frame has no next one to be compared with")
    return len(clip.luma) - 1
