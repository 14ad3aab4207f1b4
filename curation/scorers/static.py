"""Static: the share of the clip in which nothing moves, 0 to 1.

    ClipFlow --99th percentile of speed in each pair--> below `still_speed`? --share of pairs

The 99th percentile, not the mean, so that one small thing that moves (a bird, a mouth) is enough to be alive; 1 % of a
picture is about 20 x 20 px of the 144 lines. Where there is nothing to see move (black, fog) nothing moves. A pair that
repeats its frame counts as still, so footage of fewer than `fps` pictures a second has a share of still pairs.
Real footage: burnt-in text on black 1.0, a film of test slides 0.73, animation with held drawings 0.09-0.26, stuck
frames 0.13-0.18, everything else filmed below 0.02, tripods before traffic and juggler too.
"""

from typing import ClassVar

import numpy as np
from pydantic import BaseModel, Field

from curation.flow import FLOW_LINES, FlowSettings, clip_flow
from curation.flow_drawing import flow_sheet
from curation.scorer import ClipFrames, Direction, NeedsNothing
from curation.video import FrameSpec

PERCENTILE = 99


class StaticSettings(FlowSettings, frozen=True):
    still_speed: float = Field(
        default=0.02, gt=0, description="short sides per second; pairs whose 99th percentile is below it are still"
    )


class StaticScorer(NeedsNothing):
    settings_class: ClassVar[type[BaseModel]] = StaticSettings
    direction: ClassVar[Direction] = "lower is better"
    unit: ClassVar[str] = "share of pairs of frames in which nothing moves"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0

    def __init__(self, settings: StaticSettings) -> None:
        self.settings = settings
        self.frames = FrameSpec(settings.fps, FLOW_LINES)
        self.version = f"1/{settings.flow_version}-{settings.still_speed:g}"

    def __call__(self, clip: ClipFrames) -> float:
        return float(np.mean(self._fastest(clip) < self.settings.still_speed))

    def _fastest(self, clip: ClipFrames) -> np.ndarray:
        speeds = clip_flow(clip, self.settings.max_gap_s).speeds
        return np.percentile(speeds.reshape(len(speeds), -1), PERCENTILE, axis=1)

    def draw(self, clip: ClipFrames) -> np.ndarray:
        """Frames with the flow, and whether that counts as still."""
        flow = clip_flow(clip, self.settings.max_gap_s)
        texts = [
            f"{'still' if speed < self.settings.still_speed else 'moves'}, fastest {speed:.3f}"
            for speed in self._fastest(clip)
        ]
        return flow_sheet(clip, flow, flow.vectors, texts)
