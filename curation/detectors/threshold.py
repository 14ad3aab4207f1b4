"""Fades through black: one cut in the middle of every stretch that is darker than `threshold` (PySceneDetect's
threshold detector).

    bright | fade-out | dark ...... X ...... dark | fade-in | bright        X: the cut, known when the light is back

It finds fades and no hard cuts, so it is meant as a member of `combined`. A film that ends dark has no cut there.
"""

from bisect import bisect_left
from fractions import Fraction
from typing import ClassVar

from pydantic import BaseModel, Field
from scenedetect.common import FrameTimecode
from scenedetect.detectors import ThresholdDetector as SceneDetectThreshold

from curation.scenedetect_binding import BINDING_VERSION, SceneDetectBinding
from curation.video import Frame


class ThresholdSettings(BaseModel, frozen=True, extra="forbid"):
    threshold: int = Field(default=12, ge=1, le=255, description="a mean of all colours below this is dark, 0-255")
    min_shot_s: float = Field(default=0.6, ge=0, description="no second cut within this many seconds of the last")


class ThresholdDetector(SceneDetectBinding):
    version: ClassVar[str] = BINDING_VERSION
    settings_class: ClassVar[type[BaseModel]] = ThresholdSettings

    def __init__(self, settings: ThresholdSettings, time_base: Fraction, frame_rate: float) -> None:
        self._fades = SceneDetectThreshold(threshold=settings.threshold, min_scene_len=settings.min_shot_s)
        self._dark_pts: list[int] = []  # of the dark stretch that goes on, if any
        super().__init__(self._fades, time_base, frame_rate)

    @property
    def settled_pts(self) -> int | None:
        return self._dark_pts[0] if self._dark_pts else super().settled_pts

    def push(self, frame: Frame) -> list[int]:
        self._dark_pts.append(frame.pts)
        cuts = super().push(frame)
        if self._fades.last_fade["type"] == "in":
            self._dark_pts.clear()
        return cuts

    def _pts_of(self, cut: FrameTimecode) -> int:
        """The first frame at or after a time that PySceneDetect counts in frames of the mean rate."""
        assert self._first_pts is not None
        cut_pts = self._first_pts + round(Fraction(cut.frame_num) / self._rate / self._time_base)
        return self._dark_pts[min(bisect_left(self._dark_pts, cut_pts), len(self._dark_pts) - 1)]
