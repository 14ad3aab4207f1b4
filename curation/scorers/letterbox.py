"""Letterbox: the share of the whole picture that is bars of one colour at its edges, 0 to 1.

The bars are those that `curation.crop` finds: above and below, at the sides, or all around, in every frame of the clip.
Measured before the crop, so it tells what the crop removed: 0.25 for wide-screen in 16:9, 0.25 for 4:3 in 16:9, 0.68
for upright video in 16:9, 0 for most footage. A clip with much of it has few pixels left.
"""

from typing import ClassVar

import numpy as np
from pydantic import BaseModel

from curation.crop import BORDER_FRAMES, VERSION, bars_of
from curation.drawing import captioned, marked, sheet, spread
from curation.scorer import ClipFrames, Direction, NeedsNothing


class LetterboxSettings(BaseModel, frozen=True, extra="forbid"):
    pass


class LetterboxScorer(NeedsNothing):
    settings_class: ClassVar[type[BaseModel]] = LetterboxSettings
    direction: ClassVar[Direction] = "lower is better"
    unit: ClassVar[str] = "share of the whole picture"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0

    def __init__(self, settings: LetterboxSettings) -> None:
        self.frames = BORDER_FRAMES
        self.version = f"1.{VERSION}"

    def __call__(self, clip: ClipFrames) -> float:
        return float(_barred(clip).mean())

    def draw(self, clip: ClipFrames) -> np.ndarray:
        barred = _barred(clip)
        luma = (clip.whole or clip).luma
        shown = (marked(luma[index], barred) for index in spread(len(luma), 4))
        return sheet([captioned(picture, f"{float(barred.mean()):.3f} bars") for picture in shown], columns=2)


def _barred(clip: ClipFrames) -> np.ndarray:
    """Which pixels of the whole picture are bars, bool [H, W]."""
    rows, columns = (clip.whole or clip).luma.shape[1:]
    bars = bars_of(clip)
    mask = np.ones((rows, columns), bool)
    mask[bars.top : rows - bars.bottom, bars.left : columns - bars.right] = False
    return mask
