"""Hard cuts where the change stands out from its neighbourhood, so fast motion is no cut (PySceneDetect's adaptive).

The change of `content` is divided by its mean over `window_frames` frames on both sides; a cut is a ratio of at least
`ratio` together with a change of at least `min_change`. 3.5, 3 frames and 0.6 s is the best single setting in
PySceneDetect's own benchmark (mean F1 76.3 over three data sets). A cut is known `window_frames` frames later, so the
first and last `window_frames` frames hold none.
"""

from collections import deque
from fractions import Fraction
from typing import ClassVar

from pydantic import BaseModel, Field

from curation.colour_change import VERSION, ColourChange, pts_of_seconds
from curation.video import Frame


class AdaptiveSettings(BaseModel, frozen=True, extra="forbid"):
    ratio: float = Field(default=3.5, gt=1, description="change over its neighbours' mean from which on it is a cut")
    window_frames: int = Field(default=3, ge=1, description="frames on each side that count as neighbours")
    min_change: float = Field(default=15.0, gt=0, le=255, description="change of HSV (0-255) that a cut needs")
    min_shot_s: float = Field(default=0.6, ge=0, description="no second cut within this many seconds of the last")


class AdaptiveDetector:
    version: ClassVar[str] = VERSION
    settings_class: ClassVar[type[BaseModel]] = AdaptiveSettings

    def __init__(self, settings: AdaptiveSettings, time_base: Fraction, frame_rate: float) -> None:
        self._settings = settings
        self._change = ColourChange()
        self._window: deque[tuple[int, float]] = deque(maxlen=2 * settings.window_frames + 1)
        self._min_shot_pts = pts_of_seconds(settings.min_shot_s, time_base)
        self._last_cut: int | None = None

    @property
    def settled_pts(self) -> int | None:
        """The next frame to be judged has this PTS."""
        if not self._window:
            return None
        return self._window[max(0, len(self._window) - self._settings.window_frames)][0]

    def push(self, frame: Frame) -> list[int]:
        self._window.append((frame.pts, self._change.push(frame)))
        middle = self._settings.window_frames
        if len(self._window) < 2 * middle + 1:
            return []
        pts, change = self._window[middle]
        neighbours = sum(other for index, (_, other) in enumerate(self._window) if index != middle) / (2 * middle)
        stands_out = change >= self._settings.min_change and change >= self._settings.ratio * neighbours
        if not stands_out or (self._last_cut is not None and pts - self._last_cut < self._min_shot_pts):
            return []
        self._last_cut = pts
        return [pts]

    def finish(self) -> list[int]:
        return []
