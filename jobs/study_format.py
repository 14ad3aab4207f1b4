"""The one size, shape, rate and length that every video of a study is brought to, and which videos cannot be.

    Take, Take, ... --agree--> Format, and the takes, those that cannot be brought to it with the reason

The rate is that of the slowest system's middle video, the length that of the shortest video, the shape the middle one
of the systems' own: nothing is made longer and no frame is invented (a slower video repeats its own, as a player does).
A video that is far from the others is a failure instead of the measure of all. The watermark areas of all systems are
painted on every video.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median_low

from pydantic import BaseModel

from annotation.study.settings import NormaliseSettings, StudySettings
from curation.video import Extent

Box = tuple[int, int, int, int]  # left, top, right, bottom in px
Why = tuple[str, str] | None  # reason and detail
ROUNDING = 0.01  # of a frame, in which times of frames are written


@dataclass(frozen=True)
class Take:
    """A system's video of a prompt as it was found: measured, or with the reason why it cannot be shown."""

    system: str
    prompt_id: str
    uri: str = ""
    fingerprint: str = ""
    extent: Extent | None = None
    reason: str = ""
    detail: str = ""

    @property
    def aspect(self) -> float:
        assert self.extent is not None
        width, height = self.extent.facts.geometry.size
        return width / height


class Format(BaseModel, frozen=True, extra="forbid"):
    """What every video of a study is brought to."""

    width: int
    height: int
    frame_rate: float
    num_frames: int
    fit: str
    boxes: tuple[Box, ...] = ()

    @property
    def aspect(self) -> float:
        return self.width / self.height

    @property
    def seconds(self) -> float:
        return self.num_frames / self.frame_rate

    def inner(self, aspect: float) -> tuple[int, int]:
        """Width and height in px of the picture of a source of that shape."""
        if self.fit == "crop":
            return self.width, self.height
        if aspect >= self.aspect:
            return self.width, even(self.width / aspect)
        return even(self.height * aspect), self.height

    def __str__(self) -> str:
        return f"{self.width}x{self.height}, {self.seconds:.2f} s: {self.num_frames} frames at {self.frame_rate:.4g} Hz"


def agree(takes: Sequence[Take], settings: StudySettings, kept: Format | None) -> tuple[Format | None, list[Take]]:
    """The common format (the kept one if there is one), and the takes, those that cannot be brought to it with why.

    None: not a single video can be shown.
    """
    wanted = settings.normalise
    fit = _refused(takes, partial(_unfit_alone, wanted))
    if kept is not None:  # what was long enough once stays so, whatever comes later
        fit = _refused(fit, partial(_unfit_shape, wanted, kept.aspect))
        return kept, _refused(fit, partial(_unfit_format, kept))
    if standing := _by_system(fit):
        usual_s = min(median_low(extent.duration_s for _, extent in some) for some in standing.values())
        fit = _refused(fit, partial(_unfit_length, wanted, usual_s))
    if standing := _by_system(fit):
        aspect = median_low(median_low(take.aspect for take, _ in some) for some in standing.values())
        fit = _refused(fit, partial(_unfit_shape, wanted, aspect))
        kept = _common([each for some in _by_system(fit).values() for each in some], settings, aspect)
    return kept, fit


def _common(shown: Sequence[tuple[Take, Extent]], settings: StudySettings, aspect: float) -> Format:
    wanted = settings.normalise
    rates: dict[str, list[float]] = {}
    for take, extent in shown:
        rates.setdefault(take.system, []).append(extent.frame_rate)
    rate = wanted.frame_rate or min(median_low(some) for some in rates.values())
    seconds = wanted.seconds or min(extent.duration_s for _, extent in shown)
    plain = Format(
        width=even(wanted.height * aspect),
        height=wanted.height,
        frame_rate=rate,
        num_frames=max(2, math.floor(seconds * rate + ROUNDING)),
        fit=wanted.fit,
    )
    marks = {system.name: system.watermark for system in settings.systems if system.watermark}
    placed = {(marks[take.system], take.aspect) for take, _ in shown if take.system in marks}
    boxes = {_box(mark, shape, plain) for mark, shape in placed}
    return plain.model_copy(
        update={"boxes": tuple(sorted(box for box in boxes if box[0] < box[2] and box[1] < box[3]))}
    )


def _box(mark: tuple[float, float, float, float], aspect: float, common: Format) -> Box:
    """A watermark's area in px of the common picture; `mark` is in shares of a source of that shape."""
    if common.fit == "crop":
        scale = (max(1.0, aspect / common.aspect), max(1.0, common.aspect / aspect))
    else:
        inner = common.inner(aspect)
        scale = (inner[0] / common.width, inner[1] / common.height)
    edges = []
    for axis, size in enumerate((common.width, common.height)):
        for share, outward in ((mark[axis], math.floor), (mark[axis] + mark[axis + 2], math.ceil)):
            place = 0.5 + (share - 0.5) * scale[axis]
            edges.append(2 * outward(min(1.0, max(0.0, place)) * size / 2))
    left, right, top, bottom = edges
    return left, top, min(right, common.width), min(bottom, common.height)


def changes(take: Take, common: Format) -> str:
    """What is done to a source, in words."""
    assert take.extent is not None
    width, height = take.extent.facts.geometry.size
    scale = max(common.width / width, common.height / height)
    if common.fit == "pad":
        scale = min(common.width / width, common.height / height)
    cut = _cut_share(take.aspect, common.aspect)
    said = [f"{width}x{height} scaled by {scale:.3g} to {common.width}x{common.height}"]
    if cut > 0.005:
        said.append(f"{cut:.0%} of the picture cut off" if common.fit == "crop" else f"bars over {cut:.0%}")
    if abs(take.extent.frame_rate - common.frame_rate) > 0.01:
        said.append(f"{take.extent.frame_rate:.4g} to {common.frame_rate:.4g} frames per second")
    if take.extent.duration_s - common.seconds > 1 / common.frame_rate:
        said.append(f"the first {common.seconds:.2f} of {take.extent.duration_s:.2f} s")
    if common.boxes:
        said.append(f"{len(common.boxes)} areas of watermarks painted over")
    return ", ".join([*said, "no sound"])


def tell_failures(takes: Iterable[Take]) -> list[str]:
    """A line for each system with what could not be compared, counted by reason."""
    by_system: dict[str, Counter[str]] = {}
    for take in takes:
        counted = by_system.setdefault(take.system, Counter())
        counted[take.reason] += 1
    lines = []
    for system, counted in sorted(by_system.items()):
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(counted.items()) if reason)
        lines.append(f"{system}: {counted['']} of {counted.total()} videos{f'; {reasons}' if reasons else ''}")
    return lines


def _by_system(takes: Iterable[Take]) -> dict[str, list[tuple[Take, Extent]]]:
    """The takes that can be shown so far."""
    found: dict[str, list[tuple[Take, Extent]]] = {}
    for take in takes:
        if take.extent and not take.reason:
            found.setdefault(take.system, []).append((take, take.extent))
    return found


def _refused(takes: Iterable[Take], why_not: Callable[[Take, Extent], Why]) -> list[Take]:
    """The takes, those that could be shown so far with the reason why they cannot be, if there is one."""
    judged = []
    for take in takes:
        why = why_not(take, take.extent) if take.extent and not take.reason else None
        judged.append(replace(take, reason=why[0], detail=why[1]) if why else take)
    return judged


def _unfit_alone(wanted: NormaliseSettings, take: Take, extent: Extent) -> Why:
    del take
    width, height = extent.facts.geometry.size
    if height < wanted.min_height:
        return "too small", f"{width}x{height}, study.normalise.min_height is {wanted.min_height}"
    if extent.num_frames < 2:
        return "no motion", "a single frame"
    if extent.frame_rate < wanted.least_frame_rate:
        return "too slow", f"{extent.frame_rate:.3g} frames per second, at least {wanted.least_frame_rate:g} are needed"
    return None


def _unfit_length(wanted: NormaliseSettings, usual_s: float, take: Take, extent: Extent) -> Why:
    del take
    seconds, ratio = extent.duration_s, wanted.max_length_ratio
    if seconds > usual_s * ratio:
        return "too long", f"{seconds:.2f} s, more than {ratio:g} x {usual_s:.2f} s, the shortest system's median"
    least = wanted.seconds or usual_s / ratio
    if seconds < least - 1 / extent.frame_rate:
        return "too short", f"{seconds:.2f} s, at least {least:.2f} s are needed"
    return None


def _unfit_shape(wanted: NormaliseSettings, aspect: float, take: Take, extent: Extent) -> Why:
    del extent
    cut = _cut_share(take.aspect, aspect)
    if wanted.fit == "crop" and cut > wanted.most_cropped:
        return "other shape", f"{take.aspect:.3f} to 1 where {aspect:.3f} to 1 is shown: {cut:.0%} would be cut off"
    return None


def _unfit_format(common: Format, take: Take, extent: Extent) -> Why:
    """Of a video that came when the format was kept already."""
    del take
    if extent.duration_s >= common.seconds - 0.5 / common.frame_rate:
        return None
    return "too short", f"{extent.duration_s:.2f} s, this study shows {common.seconds:.2f} s"


def _cut_share(one: float, other: float) -> float:
    return 1 - min(one / other, other / one)


def even(size_px: float) -> int:
    """The nearest even size; what 4:2:0 video has."""
    return max(2, 2 * round(size_px / 2))
