"""Motion: how fast the picture moves, by dense optical flow; the mean over pixels and over pairs of frames.

    frame at t --\\
                  DIS optical flow [H, W, 2] px --> |flow| / short side / (t' - t) --> mean
    frame at t' -/

The unit, shares of the short side per second, depends on neither resolution nor frame rate: a pan that crosses a 16:9
picture in 5 s is 0.36. Pairs further apart than `max_gap_s` (a gap of undecodable frames) are left out. Flow is that of
`curation.flow`, shared with the other scorers of motion.
Real footage: photographs below 0.01, a fixed camera over a busy scene 0.03-0.08, hand-held 0.1-0.3, pans and sport
0.3-0.5; Koala-36M's published motion of its three sample clips has the same order (3.9, 5.3, 23.8: 0.03, 0.05, 0.25).
The mean hides small things that move before a still ground (a juggler: 0.03); `subject_motion` sees those.
"""

from typing import ClassVar

import numpy as np
from pydantic import BaseModel

from curation.flow import FLOW_LINES, FlowSettings, clip_flow
from curation.flow_drawing import flow_sheet
from curation.scorer import ClipFrames, Direction, NeedsNothing
from curation.video import FrameSpec


class MotionSettings(FlowSettings, frozen=True):
    pass


class MotionScorer(NeedsNothing):
    settings_class: ClassVar[type[BaseModel]] = MotionSettings
    direction: ClassVar[Direction] = "two-sided"
    unit: ClassVar[str] = "short sides per second"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0

    def __init__(self, settings: MotionSettings) -> None:
        self.settings = settings
        self.frames = FrameSpec(settings.fps, FLOW_LINES)
        self.version = f"2/{settings.flow_version}"

    def __call__(self, clip: ClipFrames) -> float:
        return float(np.mean(clip_flow(clip, self.settings.max_gap_s).speeds, dtype=np.float64))

    def draw(self, clip: ClipFrames) -> np.ndarray:
        """Frames with the flow as arrows, red where it is fast."""
        flow = clip_flow(clip, self.settings.max_gap_s)
        speeds = flow.speeds.mean(axis=(1, 2))
        texts = [f"{speed:.3f} short sides/s" for speed in speeds]
        return flow_sheet(clip, flow, flow.vectors, texts)
