"""What a shot detector is, and how one is found by its name (a file in `detectors/`).

A detector is fed every frame of a source once, in order, small and in colour, and answers with the PTS at which new
shots begin. It may answer late, but in rising order; it never sees the file, so any decode can feed it.

    frames ----push---->  | reported: every cut before settled_pts | not yet known: at most the detector's latency |

`settled_pts` lets a reader of the same decode let go of frames whose shot is known, long before the film ends. A
detector that needs more than PySceneDetect and OpenCV says so by a class method `missing() -> str | None`.
"""

from fractions import Fraction
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel

from curation import detectors
from curation.named_modules import class_named, settings_named
from curation.video import Frame


class Detector(Protocol):
    """Finds the first frames of new shots. Made anew for each source: `Detector(settings, time_base, frame_rate)`."""

    version: ClassVar[str]  # changes when the same frames may give other cuts
    settings_class: ClassVar[type[BaseModel]]

    @property
    def settled_pts(self) -> int | None:
        """Every cut before this PTS has been reported; None before the first frame. Never falls."""
        ...

    def push(self, frame: Frame) -> list[int]:
        """Take the next frame (with `bgr`); returns the PTS of first frames of new shots decided so far."""
        ...

    def finish(self) -> list[int]:
        """No more frames; returns what was still undecided."""
        ...


def detector_class(name: str) -> type[Any]:
    """The class of `detectors/<name>.py`.

    Raises:
        UserError: there is no such file.
    """
    return class_named(detectors, name, "Detector")


def detector_settings(name: str, given: dict[str, Any]) -> BaseModel:
    """The detector's settings, checked.

    Raises:
        UserError: unknown detector or setting, or a value out of range.
    """
    return settings_named(detectors, name, "Detector", given)


def missing_requirement(name: str) -> str | None:
    """What this machine lacks for the detector, in words, or None; ask before work starts.

    Raises:
        UserError: there is no such file.
    """
    ask = getattr(detector_class(name), "missing", None)
    return None if ask is None else ask()


def make_detector(name: str, settings: BaseModel, time_base: Fraction, frame_rate: float) -> Detector:
    return detector_class(name)(settings, time_base, frame_rate)
