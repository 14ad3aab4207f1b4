"""Hard cuts by the change of hue, saturation and brightness between neighbouring frames (PySceneDetect's content).

    frames --ColourChange--> change 0-255 --threshold--> changes --CloseCuts--> cuts

A frame's change is the mean absolute difference of its HSV planes from the frame before; a cut is a change of at least
`threshold`. 31 with 0.6 s is the best single setting in PySceneDetect's own benchmark (mean F1 73.4 over three data
sets; `adaptive` at its best 76.3), at about 144 lines; fewer lines are averages of more pixels and change less. On 19
real files F1 at +-2 frames was 0.941 with 29-31 at 144 lines and with 29-30 at 96 and 72 lines, which cost a half and a
quarter; hence 30. Changes closer together than `min_shot_s` are flashes and count as one, by the rule
of PySceneDetect's merging filter, with one difference: it also drops what comes within `min_shot_s` of the first frame,
where nothing can be a flash, so that the first clip of a file kept a hidden cut. Cuts are known with their own frame,
except while a burst of changes goes on.
"""

from fractions import Fraction
from typing import ClassVar

from pydantic import BaseModel, Field

from curation.colour_change import VERSION, ColourChange, pts_of_seconds
from curation.video import Frame


class ContentSettings(BaseModel, frozen=True, extra="forbid"):
    threshold: float = Field(default=30.0, gt=0, le=255, description="change of HSV (0-255) from which on it is a cut")
    min_shot_s: float = Field(default=0.6, ge=0, description="cuts closer together than this, in seconds, are one")


class ContentDetector:
    version: ClassVar[str] = VERSION
    settings_class: ClassVar[type[BaseModel]] = ContentSettings

    def __init__(self, settings: ContentSettings, time_base: Fraction, frame_rate: float) -> None:
        self._threshold = settings.threshold
        self._change = ColourChange()
        self._close = CloseCuts(pts_of_seconds(settings.min_shot_s, time_base))

    @property
    def settled_pts(self) -> int | None:
        return self._close.settled_pts

    def push(self, frame: Frame) -> list[int]:
        cut = self._close.push(frame.pts, changed=self._change.push(frame) >= self._threshold)
        return [] if cut is None else [cut]

    def finish(self) -> list[int]:
        return []


class CloseCuts:
    """Makes one cut of changes that follow each other within `min_shot_pts`.

    A change after a quiet time is a cut at once. One that comes sooner starts a burst: nothing is reported until it has
    lasted `min_shot_pts` and been quiet for as long; then its last change is the cut. A change from the first frame to
    the second starts what may be a burst without a cut: a film that moves that fast from its start has none there.
    """

    def __init__(self, min_shot_pts: int) -> None:
        self._min_shot_pts = min_shot_pts
        self._last_change: int | None = None
        self._burst_start: int | None = None
        self._num_frames = 0
        self.settled_pts: int | None = None

    def push(self, pts: int, changed: bool) -> int | None:
        quiet = self._last_change is None or pts - self._last_change >= self._min_shot_pts
        self._last_change = pts if changed else self._last_change
        cut = None
        if self._burst_start is None:
            if changed and quiet:
                cut = pts if self._num_frames != 1 or self._min_shot_pts == 0 else None
            elif changed:
                self._burst_start = pts
        elif quiet and not changed and self._long_burst():
            cut, self._burst_start = self._last_change, None
        self._num_frames += 1
        self.settled_pts = self._last_change if self._long_burst() else pts
        return cut

    def _long_burst(self) -> bool:
        """Whether the last change will be a cut unless another follows."""
        if self._burst_start is None or self._last_change is None:
            return False
        return self._last_change - self._burst_start >= self._min_shot_pts
