"""PySceneDetect and TransNetV2 together, as HunyuanVideo's report cuts its footage (arXiv 2412.03603, section 3).

    frames --+--> content (or another) --cuts--+--> any:  all of them, those closer than min_shot_s taken as one
             +--> transnetv2 ------------cuts--+    both: content's cuts that transnetv2 has within agree_frames

The report does not say how they are joined. `any` loses the fewest cuts, which is what keeps two shots out of one clip;
`both` makes the fewest false ones. The cost is that of transnetv2.
"""

from bisect import bisect_left
from fractions import Fraction
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, Field, model_validator

from curation.colour_change import pts_of_seconds
from curation.cut_queue import CutQueue
from curation.detector import Detector, detector_settings, make_detector
from curation.detectors.cascade import CascadeDetector
from curation.detectors.transnetv2 import Transnetv2Detector, Transnetv2Settings
from curation.scenedetect_binding import BINDING_VERSION
from curation.video import Frame


class CombinedSettings(BaseModel, frozen=True, extra="forbid"):
    join: Literal["any", "both"] = Field(default="any", description="any: cuts of either; both: cuts of both")
    first: Literal["content", "adaptive", "hash", "histogram", "threshold", "cascade"] = Field(
        default="content", description="the detector beside transnetv2"
    )
    options: dict[str, Any] = Field(default={}, description="settings of the first; see its file")
    transnetv2: Transnetv2Settings = Field(default=Transnetv2Settings(), description="settings of transnetv2")
    agree_frames: int = Field(default=3, ge=0, description="both: how far apart two cuts may be that are the same")
    min_shot_s: float = Field(default=0.6, ge=0, description="no second cut within this many seconds of the last")

    @model_validator(mode="after")
    def _check(self) -> Self:
        detector_settings(self.first, self.options)
        return self


class CombinedDetector:
    version: ClassVar[str] = f"1/{CascadeDetector.version}/{BINDING_VERSION}/{Transnetv2Detector.version}"
    settings_class: ClassVar[type[BaseModel]] = CombinedSettings

    @classmethod
    def missing(cls) -> str | None:
        return Transnetv2Detector.missing()

    def __init__(self, settings: CombinedSettings, time_base: Fraction, frame_rate: float) -> None:
        self._settings = settings
        options = detector_settings(settings.first, settings.options)
        self._first: Detector = make_detector(settings.first, options, time_base, frame_rate)
        self._second: Detector = Transnetv2Detector(settings.transnetv2, time_base, frame_rate)
        self._queue = CutQueue(pts_of_seconds(settings.min_shot_s, time_base))
        self._pts: list[int] = []  # of every frame: 8 bytes each
        self._first_cuts: list[int] = []
        self._second_cuts: list[int] = []

    @property
    def settled_pts(self) -> int | None:
        first, second = self._first.settled_pts, self._second.settled_pts
        if first is None or second is None:
            return None
        if self._settings.join == "any":
            return min(first, second)
        return min(first, self._pts[max(0, self._index(second) - self._settings.agree_frames)])

    def push(self, frame: Frame) -> list[int]:
        self._pts.append(frame.pts)
        return self._join(self._first.push(frame), self._second.push(frame), self.settled_pts)

    def finish(self) -> list[int]:
        return self._join(self._first.finish(), self._second.finish(), None)

    def _join(self, first: list[int], second: list[int], settled_pts: int | None) -> list[int]:
        if self._settings.join == "any":
            self._queue.add(first + second)
            return self._queue.release(settled_pts)
        self._first_cuts += first
        self._second_cuts += second
        while self._first_cuts and (settled_pts is None or self._first_cuts[0] < settled_pts):
            cut = self._first_cuts.pop(0)
            if any(self._agree(cut, other) for other in self._second_cuts):
                self._queue.add([cut])
        return self._queue.release(settled_pts)

    def _agree(self, cut: int, other: int) -> bool:
        return abs(self._index(cut) - self._index(other)) <= self._settings.agree_frames

    def _index(self, pts: int) -> int:
        return bisect_left(self._pts, pts)
