"""What a scorer is: one number about one clip, from frames that somebody else decoded.

    ClipFrames(spec A) --> Scorer --> float        a scorer opens no file, decides nothing, knows no threshold
    ClipFrames(spec A) --> Scorer --> float        scorers that ask for equal frames are given the same arrays

A scorer that cannot answer raises; that becomes a score with an error, which goes to a person, never a sentinel value.
Adding one is adding a file to `scorers/` with `<Name>Settings` and `<Name>Scorer`; see `scorers/exposure.py`, the
shortest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from pydantic import BaseModel

from curation import scorers
from curation.named_modules import class_named, settings_named
from curation.video import Frame, FrameSpec

Direction = Literal["higher is better", "lower is better", "two-sided"]


@dataclass(frozen=True)
class ClipFrames:
    """The frames of one clip that one `FrameSpec` asked for, at least one. Shared between scorers: read only.

    Legend: T frames, H rows, W columns (the shorter of H and W is the spec's `short_side_px`).
    """

    luma: np.ndarray  # uint8 [T, H, W], 0 black to 255 white
    bgr: np.ndarray | None  # uint8 [T, H, W, 3], if the spec's planes are "bgr"
    times_s: np.ndarray  # float64 [T], rising, on the source's clock
    fps: float | None  # of the spec: the frames may be sparser where the source is

    @classmethod
    def of(cls, frames: Sequence[Frame], spec: FrameSpec) -> "ClipFrames":
        colour = [frame.bgr for frame in frames if frame.bgr is not None]
        return cls(
            luma=np.stack([frame.luma for frame in frames]),
            bgr=np.stack(colour) if spec.planes == "bgr" else None,
            times_s=np.array([frame.time_s for frame in frames]),
            fps=spec.fps,
        )


class Scorer(Protocol):
    """Made by `Scorer(settings)`, which is cheap; `load` reads weights; then it is called once per clip.

    `low` and `high` span what is usual, for plots and for setting thresholds; values outside are possible.
    """

    settings_class: ClassVar[type[BaseModel]]
    direction: ClassVar[Direction]
    unit: ClassVar[str]
    low: ClassVar[float]
    high: ClassVar[float]

    @property
    def version(self) -> str:
        """Changes when the same clip may get another value: code, settings, weights."""
        ...

    @property
    def frames(self) -> FrameSpec: ...

    def missing(self) -> str | None:
        """What weights or packages are not there and how to give them, in words, or None. Loads nothing."""
        ...

    def load(self) -> None:
        """Read weights, once, before the first call."""
        ...

    def __call__(self, clip: ClipFrames) -> float:
        """The clip's value.

        Raises:
            Exception: of any kind, if the clip has no answer; its text becomes the score's error.
        """
        ...


def scorer_class(name: str) -> type[Any]:
    """The class of `scorers/<name>.py`.

    Raises:
        UserError: there is no such file.
    """
    return class_named(scorers, name, "Scorer")


def make_scorer(name: str, given: dict[str, Any]) -> Scorer:
    """The scorer, not yet loaded.

    Raises:
        UserError: unknown scorer or setting, or a value out of range.
    """
    return scorer_class(name)(settings_named(scorers, name, "Scorer", given))
