"""Jitter: how far the picture's centre strays from a smooth path of the camera, RMS in shares of the short side.

    ClipFlow --global motion--> translation of each pair --sum--> path --minus a smooth path--> RMS

The smooth path is a local quadratic through about `smooth_s` of the path around each moment (Savitzky and Golay 1964),
so that a pan, its start and its end cost nothing and what is left is tremor above about 1 Hz. Only the camera's motion
counts, so a dancer before a tripod has none; a subject that fills the picture is taken for the world.
Real footage: tripods and smooth moves below 0.001, driving before a car 0.003, a city from the hand 0.011, gym 0.013.
A cut or flicker inside the clip, fireworks and darkness read as jitter too (0.01-0.03), as flow is wrong there.
"""

from typing import ClassVar

import numpy as np
from pydantic import BaseModel, Field

from curation.flow import FLOW_LINES, FlowSettings, camera_path, clip_flow, global_motion, smoothed
from curation.flow_drawing import flow_sheet, graph
from curation.scorer import ClipFrames, Direction, NeedsNothing
from curation.video import FrameSpec


class JitterSettings(FlowSettings, frozen=True):
    smooth_s: float = Field(default=1.0, gt=0, description="time that the smooth path is fitted through")


class JitterScorer(NeedsNothing):
    settings_class: ClassVar[type[BaseModel]] = JitterSettings
    direction: ClassVar[Direction] = "lower is better"
    unit: ClassVar[str] = "short sides, RMS"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 0.02

    def __init__(self, settings: JitterSettings) -> None:
        self.settings = settings
        self.frames = FrameSpec(settings.fps, FLOW_LINES)
        self.version = f"1/{settings.flow_version}-{settings.smooth_s:g}s"

    def __call__(self, clip: ClipFrames) -> float:
        path, smooth = self._paths(clip)
        return float(np.sqrt(np.mean(np.sum((path - smooth) ** 2, axis=1))))

    def _paths(self, clip: ClipFrames) -> tuple[np.ndarray, np.ndarray]:
        """The path and the smooth path, float64 [P, 2]."""
        flow = clip_flow(clip, self.settings.max_gap_s)
        path = camera_path(flow, global_motion(clip, self.settings.max_gap_s))
        return path, smoothed(path, flow.steps_s, self.settings.smooth_s)

    def draw(self, clip: ClipFrames) -> np.ndarray:
        """What the path strays by over time, and frames with the flow."""
        flow = clip_flow(clip, self.settings.max_gap_s)
        path, smooth = self._paths(clip)
        astray = path - smooth
        texts = [f"astray {1000 * np.hypot(*each):.1f} / 1000 short sides" for each in astray]
        picture = flow_sheet(clip, flow, flow.vectors, texts)
        lines = {"astray, right": astray[:, 0], "astray, down": astray[:, 1]}
        over_time = graph(lines, clip.times_s[flow.first + 1], picture.shape[1], "short sides")
        return np.vstack([over_time, picture])
