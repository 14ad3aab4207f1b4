"""Motion smoothness: how well every second frame is told by its two neighbours; VBench's formula, 1 is perfectly.

    frames t-1, t+1 --flow, half of the way from both--> frame t guessed --mean |difference| to frame t--> 1 - MAE / 255

"Motion smoothness" of VBench (Huang et al. 2023, arXiv 2311.17982, section 3.1): frames 1, 3, 5 ... are left out and
interpolated again. VBench interpolates with the network AMT, this with DIS flow and luma at 144 lines, so values are
to be compared with each other and not with published tables. Things that pop up, jerk or change shape cannot be told
from their neighbours: rendered textures that pan have 0.999, one that pans in jerks 0.911, one that melts into others
0.979; five real clips of 4 s have 0.985-0.996. What stands still can be told (1.0), so it is read beside `dynamics`.
"""

from typing import ClassVar

import numpy as np
from pydantic import BaseModel, Field

from curation.drawing import captioned, heat, sheet, spread
from curation.flow import FLOW_LINES
from curation.scorer import ClipFrames, Direction, NeedsNothing
from curation.video import FrameSpec
from curation.warping import between

DRAWN_FRAMES, DRAWN_LEVELS = 8, 32.0


class MotionSmoothnessSettings(BaseModel, frozen=True, extra="forbid"):
    max_frames: int = Field(default=64, ge=1, description="most frames that are guessed, spread over the clip")


class MotionSmoothnessScorer(NeedsNothing):
    settings_class: ClassVar[type[BaseModel]] = MotionSmoothnessSettings
    direction: ClassVar[Direction] = "higher is better"
    unit: ClassVar[str] = "1 - mean error of an interpolated frame, 0 to 1"
    low: ClassVar[float] = 0.85
    high: ClassVar[float] = 1.0

    def __init__(self, settings: MotionSmoothnessSettings) -> None:
        self.settings = settings
        self.frames = FrameSpec(None, FLOW_LINES)
        self.version = f"1/{settings.max_frames}frames"

    def __call__(self, clip: ClipFrames) -> float:
        return 1 - float(np.mean([_error(clip, frame).mean() for frame in self._guessed(clip)])) / 255

    def draw(self, clip: ClipFrames) -> np.ndarray:
        """Where the guesses are wrong, red from 32 levels on."""
        frames = self._guessed(clip)
        pictures = []
        for index in spread(len(frames), DRAWN_FRAMES):
            error, time_s = _error(clip, frames[index]), clip.times_s[frames[index]] - clip.times_s[0]
            pictures.append(captioned(heat(error, DRAWN_LEVELS), f"{time_s:.2f} s  {error.mean():.2f} levels"))
        return sheet(pictures)

    def _guessed(self, clip: ClipFrames) -> list[int]:
        """Every second frame, without the first and the last."""
        odd = list(range(1, len(clip.luma) - 1, 2))
        if not odd:
            raise ValueError(f"of {len(clip.luma)} frames none has a neighbour on each side")
        return [odd[index] for index in spread(len(odd), self.settings.max_frames)]


def _error(clip: ClipFrames, frame: int) -> np.ndarray:
    """Grey levels by which the guess is wrong, float32 [H, W]."""
    guess = between(clip.luma[frame - 1], clip.luma[frame + 1])
    return np.abs(guess - clip.luma[frame])
