"""Slideshow: the share of the clip that one still picture explains, held, shifted, turned or scaled, 0 to 1.

    ClipFlow --minus the pair's affine motion--> residual --nearly all of the picture near 0?--> share of pairs

Counts are pairs in which nothing moves and pairs in which everything moves as one sheet ("Ken Burns"). Frames that are
repeated count too, so footage that was slowed down or stuck shows here, as far as the repeats last longer than 1/`fps`.
Cuts and dissolves between the pictures do not count, so a show of slides of 3 s with dissolves of half a second gets
about 0.85. A tripod that turns over a scene where nothing stirs looks the same and is caught as well; footage with a
breath of wind, people or parallax in most of its seconds is not. Half of a clip held still (a title, a freeze at the
end) gives about one half.
Real footage: text on black 1.00, a film of test slides 0.73, animation with held drawings 0.26, a clip with stuck
frames 0.13, a film's title and fade 0.06, everything else filmed below 0.02.
"""

from typing import ClassVar

import numpy as np
from pydantic import BaseModel, Field

from curation.flow import FLOW_LINES, FlowSettings, clip_flow, global_motion
from curation.flow_drawing import flow_sheet
from curation.scorer import ClipFrames, Direction, NeedsNothing
from curation.video import FrameSpec

BORDER_CELLS = 2  # what comes into the picture at its edge has no flow yet
PERCENTILE = 98
STILL_PX = 0.15  # residual flow that compression and noise alone give


class SlideshowSettings(FlowSettings, frozen=True):
    slack: float = Field(default=0.08, ge=0, description="residual allowed in a moving sheet, as a share of its speed")


class SlideshowScorer(NeedsNothing):
    settings_class: ClassVar[type[BaseModel]] = SlideshowSettings
    direction: ClassVar[Direction] = "lower is better"
    unit: ClassVar[str] = "share of pairs of frames that show one still picture"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0

    def __init__(self, settings: SlideshowSettings) -> None:
        self.settings = settings
        self.frames = FrameSpec(settings.fps, FLOW_LINES)
        self.version = f"1/{settings.flow_version}-{settings.slack:g}"

    def __call__(self, clip: ClipFrames) -> float:
        residuals, limits = self._residuals_and_limits(clip)
        return float(np.mean(residuals <= limits))

    def _residuals_and_limits(self, clip: ClipFrames) -> tuple[np.ndarray, np.ndarray]:
        """What nearly all of the picture's residual speeds are below, and what they may be, each [P]."""
        flow = clip_flow(clip, self.settings.max_gap_s)
        residuals = global_motion(clip, self.settings.max_gap_s).residuals
        rows, columns = (
            slice(BORDER_CELLS, -BORDER_CELLS) if size > 4 * BORDER_CELLS else slice(None)
            for size in residuals.shape[1:3]
        )
        inner, whole = residuals[:, rows, columns], flow.vectors[:, rows, columns]
        speeds = np.hypot(inner[..., 0], inner[..., 1]).reshape(len(inner), -1)
        sheet_speeds = np.hypot(*np.moveaxis(whole - inner, -1, 0)).mean(axis=(1, 2))
        limits = np.maximum(flow.speed_of_px(STILL_PX), self.settings.slack * sheet_speeds)
        return np.percentile(speeds, PERCENTILE, axis=1), limits

    def draw(self, clip: ClipFrames) -> np.ndarray:
        """Frames with the flow that one moving sheet leaves over, and whether that passes for a still picture."""
        flow = clip_flow(clip, self.settings.max_gap_s)
        texts = [
            f"{'one still picture' if residual <= limit else 'alive'}: {residual:.3f} of {limit:.3f}"
            for residual, limit in zip(*self._residuals_and_limits(clip), strict=True)
        ]
        return flow_sheet(clip, flow, global_motion(clip, self.settings.max_gap_s).residuals, texts)
