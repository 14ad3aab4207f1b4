"""What a scorer is: one number about one clip, from frames that somebody else decoded.

    ClipFrames(spec A) --> Scorer --> float        a scorer opens no file, decides nothing, knows no threshold
    ClipFrames(spec A) --> Scorer --> Answer       scorers that ask for equal frames are given the same arrays, and
                                                   what one computes by `once` (flow, text boxes) the next finds there

A scorer that cannot answer raises; that becomes a score with an error, which goes to a person, never a sentinel value.
Adding one is adding a file to `scorers/` with `<Name>Settings` and `<Name>Scorer`; see `scorers/exposure.py`, the
shortest.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeVar

import numpy as np
from pydantic import BaseModel

from curation import scorers
from curation.named_modules import class_named, settings_named
from curation.picture import crop_slices
from curation.records import Crop
from curation.video import Frame, FrameSpec

Direction = Literal["higher is better", "lower is better", "two-sided"]
Made = TypeVar("Made")


@dataclass(frozen=True)
class Answer:
    """What a scorer that names a class gives: the class, and the confidence in it as the value, 0 to 1."""

    value: float
    label: str


@dataclass(frozen=True)
class About:
    """What is known of a clip beside its frames. Sizes are display px of the whole picture, before any crop."""

    width: int
    height: int
    frame_rate: float  # mean over the clip
    num_bytes: int | None = None  # coded size of the clip's packets, None if it was not counted
    num_frames: int | None = None  # of the source, in the clip; None if they were not counted
    caption: str = ""  # what somebody wrote about the clip or its source, empty if nobody did
    crop: Crop | None = None


@dataclass(frozen=True)
class ClipFrames:
    """The frames of one clip that one `FrameSpec` asked for, at least one. Shared between scorers: read only.

    Legend: T frames, H rows, W columns (the shorter of H and W is the spec's `short_side_px`).
    """

    luma: np.ndarray  # uint8 [T, H, W], 0 black to 255 white
    bgr: np.ndarray | None  # uint8 [T, H, W, 3], if the spec's planes are "bgr"
    times_s: np.ndarray  # float64 [T], rising, on the source's clock
    fps: float | None  # of the spec: the frames may be sparser where the source is
    about: About
    vectors: Sequence[np.ndarray | None] | None = None  # `Frame.vectors` of each, if the spec's planes are "vectors"
    whole: "ClipFrames | None" = None  # before the crop; None where nothing was cut off
    made: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, frames: Sequence[Frame], spec: FrameSpec, about: About) -> "ClipFrames":
        colour = [frame.bgr for frame in frames if frame.bgr is not None]
        return cls(
            luma=np.stack([frame.luma for frame in frames]),
            bgr=np.stack(colour) if spec.planes == "bgr" else None,
            times_s=np.array([frame.time_s for frame in frames]),
            fps=spec.fps,
            about=about,
            vectors=[frame.vectors for frame in frames] if spec.planes == "vectors" else None,
        )

    def cropped(self, crop: Crop) -> "ClipFrames":
        """Views of the part that `crop` keeps, whole frames remembered; itself if the crop keeps everything."""
        about = self.about
        if (crop.left, crop.top, crop.width, crop.height) == (0, 0, about.width, about.height):
            return self
        part = (slice(None), *crop_slices(crop, self.luma.shape[1:], (about.width, about.height)))
        return replace(
            self,
            luma=self.luma[part],
            bgr=None if self.bgr is None else self.bgr[part],
            about=replace(about, crop=crop),
            whole=self,
            made={},
        )

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What `make` gives, computed by the first scorer that asks for `key` and kept for the others.

        The key names the computation with all of its settings, such as ("flow", 0.3).
        """
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]


class Judge(Protocol):
    """Scorers and embedders: made by `Judge(settings)`, which is cheap; loaded; then called once per clip."""

    settings_class: ClassVar[type[BaseModel]]

    @property
    def version(self) -> str:
        """Changes when the same clip may get another answer: code, settings, weights."""
        ...

    @property
    def frames(self) -> FrameSpec: ...

    def missing(self) -> str | None:
        """What weights or packages are not there and how to give them, in words, or None. Loads nothing."""
        ...

    def load(self) -> None:
        """Read weights, once, before the first call."""
        ...


class Scorer(Judge, Protocol):
    """`low` and `high` span what is usual, for plots and for setting thresholds; values outside are possible."""

    direction: ClassVar[Direction]
    unit: ClassVar[str]
    low: ClassVar[float]
    high: ClassVar[float]

    def __call__(self, clip: ClipFrames) -> float | Answer:
        """The clip's value, or the class it belongs to with the confidence in that.

        Raises:
            Exception: of any kind, if the clip has no answer; its text becomes the score's error.
        """
        ...

    def draw(self, clip: ClipFrames) -> np.ndarray:
        """What the scorer saw, as a picture for people: uint8 BGR [H, W, 3], at most about 1600 px wide.

        Frames with the regions, arrows or graph that led to the answer; `curation.drawing` has the parts.
        """
        ...


class NeedsNothing:
    """A judge without weights."""

    def missing(self) -> str | None:
        return None

    def load(self) -> None:
        """There is nothing to read."""


def lacking_file(path: str, setting: str, what: str) -> str | None:
    """That `what` is not there, and how to give it, or None if `path` is a file."""
    if not path:
        *_, name, _ = setting.split(".")
        return f"{what}: set {setting} to the path of a file, or leave {name} out of the recipe"
    if not Path(path).is_file():
        return f"{what}: {setting} is {path!r}, and there is no such file"
    return None


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
