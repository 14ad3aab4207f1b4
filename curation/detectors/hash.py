"""Hard cuts by the change of a perceptual hash between neighbouring frames (PySceneDetect's hash).

The hash keeps the signs of the lowest frequencies of the grey picture, so it sees a change of layout and no change of
colour or exposure; the change is the share of bits that differ, 0-1. Cuts are known with their own frame.
"""

from fractions import Fraction
from typing import ClassVar

from pydantic import BaseModel, Field
from scenedetect.detectors import HashDetector as SceneDetectHash

from curation.scenedetect_binding import BINDING_VERSION, SceneDetectBinding


class HashSettings(BaseModel, frozen=True, extra="forbid"):
    threshold: float = Field(default=0.35, gt=0, le=1, description="share of differing bits from which on it is a cut")
    size: int = Field(default=8, ge=2, le=64, description="the hash has size x size bits")
    lowpass: int = Field(default=2, ge=1, description="one in this many frequencies is kept, per axis")
    min_shot_s: float = Field(default=0.6, ge=0, description="no second cut within this many seconds of the last")


class HashDetector(SceneDetectBinding):
    version: ClassVar[str] = BINDING_VERSION
    settings_class: ClassVar[type[BaseModel]] = HashSettings

    def __init__(self, settings: HashSettings, time_base: Fraction, frame_rate: float) -> None:
        detector = SceneDetectHash(
            threshold=settings.threshold,
            size=settings.size,
            lowpass=settings.lowpass,
            min_scene_len=settings.min_shot_s,
        )
        super().__init__(detector, time_base, frame_rate)
