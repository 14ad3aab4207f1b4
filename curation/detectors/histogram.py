"""Hard cuts by the change of the brightness histogram between neighbouring frames (PySceneDetect's histogram).

The change is 1 - correlation of the two histograms of Y. It sees no motion at all, since that moves brightness about,
and no cut between shots of equal light; best of PySceneDetect's detectors on fades (F1 75.3 on ClipShots' fades). Cuts
are known with their own frame.
"""

from fractions import Fraction
from typing import ClassVar

from pydantic import BaseModel, Field
from scenedetect.detectors import HistogramDetector as SceneDetectHistogram

from curation.scenedetect_binding import BINDING_VERSION, SceneDetectBinding


class HistogramSettings(BaseModel, frozen=True, extra="forbid"):
    threshold: float = Field(default=0.2, gt=0, le=1, description="1 - correlation from which on it is a cut")
    bins: int = Field(default=128, ge=2, le=256, description="of the histogram of brightness")
    min_shot_s: float = Field(default=0.6, ge=0, description="no second cut within this many seconds of the last")


class HistogramDetector(SceneDetectBinding):
    version: ClassVar[str] = BINDING_VERSION
    settings_class: ClassVar[type[BaseModel]] = HistogramSettings

    def __init__(self, settings: HistogramSettings, time_base: Fraction, frame_rate: float) -> None:
        detector = SceneDetectHistogram(
            threshold=settings.threshold, bins=settings.bins, min_scene_len=settings.min_shot_s
        )
        super().__init__(detector, time_base, frame_rate)
