"""Warp error: what changes from each frame to the next that motion does not explain, RMS in shares of full range.

    frame t, t+1 --DIS flow both ways--> frame t redrawn from t+1 --minus frame t, where it is not hidden--> RMS

After Lai et al. 2018 ("Learning Blind Video Temporal Consistency", section 4.1), who take the mean square with
FlowNet2; the root is in the unit of brightness. Flicker, boiling texture and things that melt cost; a pan does not.
Rendered textures: one that pans 0.001-0.002, one that melts into others 0.031, every second frame 24 levels darker
0.093 with a pan and without. Five real clips of 4 s have 0.016-0.053. A video in which nothing happens has 0, so it is
read beside `dynamics`. 5 ms a pair.
"""

from typing import ClassVar

import numpy as np
from pydantic import BaseModel, Field

from curation.drawing import captioned, heat, sheet, spread
from curation.flow import FLOW_LINES
from curation.scorer import ClipFrames, Direction, NeedsNothing
from curation.video import FrameSpec
from curation.warping import dense_flow, hidden, pulled

DRAWN_PAIRS, DRAWN_LEVELS = 8, 32.0


class WarpErrorSettings(BaseModel, frozen=True, extra="forbid"):
    max_pairs: int = Field(default=64, ge=1, description="most pairs of neighbours compared, spread over the clip")


class WarpErrorScorer(NeedsNothing):
    settings_class: ClassVar[type[BaseModel]] = WarpErrorSettings
    direction: ClassVar[Direction] = "lower is better"
    unit: ClassVar[str] = "RMS change that motion does not explain, 0 to 1"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 0.1

    def __init__(self, settings: WarpErrorSettings) -> None:
        self.settings = settings
        self.frames = FrameSpec(None, FLOW_LINES)
        self.version = f"1/{settings.max_pairs}pairs"

    def __call__(self, clip: ClipFrames) -> float:
        errors = [_unexplained(clip, pair) for pair in self._pairs(clip)]
        squares = [float(np.nanmean(error**2)) for error in errors if not np.isnan(error).all()]
        if not squares:
            raise ValueError("no part of any frame is seen in the next one, so no motion joins them")
        return float(np.sqrt(np.mean(squares))) / 255

    def draw(self, clip: ClipFrames) -> np.ndarray:
        """What motion does not explain, red from 32 levels on; black where nothing can be said."""
        pictures = []
        for pair in spread(len(self._pairs(clip)), DRAWN_PAIRS):
            frame = self._pairs(clip)[pair]
            error = _unexplained(clip, frame)
            coloured = heat(np.nan_to_num(np.abs(error)), DRAWN_LEVELS)
            coloured[np.isnan(error)] = 0
            time_s = clip.times_s[frame] - clip.times_s[0]
            pictures.append(captioned(coloured, f"{time_s:.2f} s, {np.isnan(error).mean():.0%} hidden"))
        return sheet(pictures)

    def _pairs(self, clip: ClipFrames) -> list[int]:
        if len(clip.luma) < 2:
            raise ValueError("1 frame has no next one to be compared with")
        return spread(len(clip.luma) - 1, self.settings.max_pairs)


def _unexplained(clip: ClipFrames, pair: int) -> np.ndarray:
    """Grey levels that are left of the difference to the next frame, float32 [H, W]; NaN where it is hidden there."""
    before, after = clip.luma[pair], clip.luma[pair + 1]
    forward, backward = dense_flow(before, after), dense_flow(after, before)
    return np.where(hidden(forward, backward), np.nan, pulled(after, forward) - before)
