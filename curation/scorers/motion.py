"""Motion: how fast the picture moves, by dense optical flow; the mean over pixels and over pairs of frames.

    frame at t --\\
                  DIS optical flow [H, W, 2] px --> |flow| / short side / (t' - t) --> mean
    frame at t' -/

The unit, shares of the short side per second, depends on neither resolution nor frame rate: a pan that crosses a 16:9
picture in 5 s is 0.36. Pairs further apart than `max_gap_s` (a gap of undecodable frames) are left out. Flow is Kroeger
et al. 2016 ("Fast Optical Flow using Dense Inverse Search") at 144 lines: 0.3 ms a pair.
Real footage: photographs below 0.01, a fixed camera over a busy scene 0.03-0.08, hand-held 0.1-0.3, pans and sport
0.3-0.5; Koala-36M's published motion of its three sample clips has the same order (3.9, 5.3, 23.8: 0.03, 0.05, 0.25).
"""

from typing import Any, ClassVar

import cv2
import numpy as np
from pydantic import BaseModel, Field

from curation.scorer import ClipFrames, Direction
from curation.video import FrameSpec


class MotionSettings(BaseModel, frozen=True, extra="forbid"):
    fps: float = Field(default=10.0, gt=0, description="frames looked at per second; lower loses fast motion")
    max_gap_s: float = Field(default=0.3, gt=0, description="frames further apart than this are not compared")


class MotionScorer:
    settings_class: ClassVar[type[BaseModel]] = MotionSettings
    direction: ClassVar[Direction] = "two-sided"
    unit: ClassVar[str] = "short sides per second"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0

    def __init__(self, settings: MotionSettings) -> None:
        self.settings = settings
        self.frames = FrameSpec(settings.fps, short_side_px=144)
        self.version = f"1/{settings.fps:g}fps-{settings.max_gap_s:g}s"
        self._flow: Any = None

    def missing(self) -> str | None:
        return None

    def load(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)

    def __call__(self, clip: ClipFrames) -> float:
        steps_s = np.diff(clip.times_s)
        short_side_px = min(clip.luma.shape[1:])
        speeds = []
        for index in np.flatnonzero(steps_s <= self.settings.max_gap_s):
            flow = self._flow.calc(clip.luma[index], clip.luma[index + 1], None)
            speeds.append(cv2.magnitude(flow[..., 0], flow[..., 1]).mean() / short_side_px / steps_s[index])
        if not speeds:
            raise ValueError(
                f"{len(clip.times_s)} frames over {np.ptp(clip.times_s):.2f} s have no two within "
                f"{self.settings.max_gap_s:g} s of each other, so motion cannot be told"
            )
        return float(np.mean(speeds))
