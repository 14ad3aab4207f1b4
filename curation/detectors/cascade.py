"""Hard cuts on every frame and slow dissolves on few, in the manner of Stable Video Diffusion's cascade of detectors at
several frame rates (arXiv 2311.15127, appendix C).

    every frame ------------------> content ----------------------------------cuts--+
    2 frames a second --> colours, 3 s apart: different, and calm on both sides --middle--+--> without those that
    (and more levels)                                                                       hold a hard cut

A dissolve of 2-3 s changes each frame by less than motion does, but the colours before and after it differ. Compared
across `span_s`, histograms of 8x8x8 colours keep what motion leaves alone: over the same clips, the change of `content`
did not tell dissolves from motion at any rate, their overlap did. Motion and light also change colours, so the change
has to stand out from those in the second before and after. Of 26 dissolves of 2-3 s between real clips, 26 were found
so, with 7 false cuts in 3 of 15 clips (fireworks, a bird close up, cars that fill the picture): use it for edited
films, not for raw camera footage. Cuts are known 3-6 s later.
"""

from collections import deque
from fractions import Fraction
from typing import ClassVar

import cv2
import numpy as np
from pydantic import BaseModel, Field

from curation.cut_queue import CutQueue
from curation.detectors.content import ContentDetector, ContentSettings
from curation.video import Frame

CALM_S = 1.0  # the time before and after a dissolve that is compared with it


class SlowLevel(BaseModel, frozen=True, extra="forbid"):
    fps: float = Field(default=2.0, gt=0, le=10, description="frames looked at per second")
    span_s: float = Field(default=3.0, gt=0, description="colours are compared across this time")
    threshold: float = Field(default=0.5, gt=0, le=1, description="share of the picture whose colours have changed")


class CascadeSettings(BaseModel, frozen=True, extra="forbid"):
    content: ContentSettings = Field(default=ContentSettings(), description="hard cuts, on every frame")
    slow: tuple[SlowLevel, ...] = Field(default=(SlowLevel(),), description="dissolves, each at a rate of its own")
    calm: float = Field(default=0.7, gt=0, le=1, description="largest change beside a dissolve, in shares of its own")


class CascadeDetector:
    version: ClassVar[str] = f"1/content-{ContentDetector.version}"
    settings_class: ClassVar[type[BaseModel]] = CascadeSettings

    def __init__(self, settings: CascadeSettings, time_base: Fraction, frame_rate: float) -> None:
        self._content = ContentDetector(settings.content, time_base, frame_rate)
        self._levels = [_Level(level, settings.calm, time_base) for level in settings.slow]
        self._queue = CutQueue(min_shot_pts=0)
        self._known: deque[int] = deque(maxlen=1000)  # cuts of content and of dissolves already taken

    @property
    def settled_pts(self) -> int | None:
        settled = [member.settled_pts for member in (self._content, *self._levels)]
        return None if None in settled else min(pts for pts in settled if pts is not None)

    def push(self, frame: Frame) -> list[int]:
        hard = self._content.push(frame)
        self._known.extend(hard)
        self._queue.add(hard)
        for level in self._levels:
            self._take(level.push(frame))
        return self._queue.release(self.settled_pts)

    def finish(self) -> list[int]:
        for level in self._levels:
            self._take(level.finish())
        return self._queue.release(None)

    def _take(self, change: "_Change | None") -> None:
        """Keep a dissolve unless a cut that is known, or still in doubt, explains the change of colours."""
        if change is None or any(change.first_pts < cut <= change.last_pts for cut in self._known):
            return
        in_doubt = self._content.settled_pts
        if in_doubt is not None and in_doubt > change.last_pts:
            self._known.append(change.cut_pts)
            self._queue.add([change.cut_pts])


class _Change(BaseModel, frozen=True):
    """Colours changed by `amount` (0-1) somewhere in (first_pts, last_pts]; the cut is put in the middle."""

    first_pts: int
    cut_pts: int
    last_pts: int
    amount: float


class _Level:
    """One frame rate; of changes that overlap the largest counts."""

    def __init__(self, settings: SlowLevel, calm: float, time_base: Fraction) -> None:
        self._settings, self._calm = settings, calm
        self._num_span = max(1, round(settings.span_s * settings.fps))
        self._num_calm = max(1, round(CALM_S * settings.fps))
        self._tick_pts = 1 / (Fraction(str(settings.fps)) * time_base)
        self._ticks: deque[tuple[int, np.ndarray]] = deque(maxlen=self._num_span + 2 * self._num_calm + 1)
        self._pts: deque[int] = deque()  # of every frame since the first tick
        self._start: int | None = None
        self._next_tick = 0
        self._best: _Change | None = None

    @property
    def settled_pts(self) -> int | None:
        """The middle of the next window, or the cut that a larger one may still replace."""
        if self._start is None:
            return None
        num_ready = len(self._ticks) - self._num_calm  # the window that ends with the next tick but `num_calm`
        first = num_ready - self._num_span
        settled = self._pts[0] if first < 0 else self._middle(self._ticks[first][0], self._ticks[num_ready][0])
        return settled if self._best is None else min(settled, self._best.cut_pts)

    def push(self, frame: Frame) -> _Change | None:
        self._start = frame.pts if self._start is None else self._start
        self._pts.append(frame.pts)
        tick = int((frame.pts - self._start) / self._tick_pts)
        if tick < self._next_tick:
            return None
        self._next_tick = tick + 1
        self._ticks.append((frame.pts, _colours(frame)))
        while self._pts[0] < self._ticks[0][0]:
            self._pts.popleft()
        return self._judge()

    def finish(self) -> _Change | None:
        best, self._best = self._best, None
        return best

    def _judge(self) -> _Change | None:
        """Compare the window that ends `num_calm` ticks ago; returns a change that none can replace any more."""
        last = len(self._ticks) - 1 - self._num_calm
        first = last - self._num_span
        if first < 0:
            return None
        amount = self._distance(first, last)
        beside = [self._distance(last, len(self._ticks) - 1)]
        if first >= self._num_calm:
            beside.append(self._distance(first - self._num_calm, first))
        first_pts, last_pts = self._ticks[first][0], self._ticks[last][0]
        ended = None
        if self._best is not None and first_pts >= self._best.last_pts:
            ended, self._best = self._best, None
        is_change = amount >= self._settings.threshold and max(beside) <= self._calm * amount
        if is_change and (self._best is None or amount > self._best.amount):
            cut_pts = self._middle(first_pts, last_pts)
            self._best = _Change(first_pts=first_pts, cut_pts=cut_pts, last_pts=last_pts, amount=amount)
        return ended

    def _middle(self, first_pts: int, last_pts: int) -> int:
        """The first frame at or after the middle of two."""
        return next(pts for pts in self._pts if 2 * pts >= first_pts + last_pts)

    def _distance(self, one: int, other: int) -> float:
        return 1 - float(np.minimum(self._ticks[one][1], self._ticks[other][1]).sum())


def _colours(frame: Frame) -> np.ndarray:
    """Shares of 8x8x8 colours in a frame."""
    assert frame.bgr is not None
    counts = cv2.calcHist([frame.bgr], [0, 1, 2], None, [8, 8, 8], [0, 256] * 3)
    return counts / counts.sum()
