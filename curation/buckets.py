"""Buckets: the few shapes that training members have, and which of them a clip goes into. Plain arithmetic, no pixels.

    StageBuckets --sizes x aspects x durations--> Bucket(width, height, num_frames)
    Footage (size, span, rate) --nearest shape, largest size it fills, longest duration it lasts--> Placement, or Misfit

HunyuanVideo trains on buckets of duration x aspect ratio (report section 4.5). What becomes of a clip is decided here
from what the catalogue knows, before anything is decoded or written; one that fits nowhere is told why:

    too short     it ends before the shortest duration does
    too slow      the source has so few frames per second that it would have to show each several times
    too small     the picture would have to be enlarged by more than `max_enlarge`
    in no bucket  every shape would cut off more of the picture than `max_crop`

Sides are multiples of 16 px (the VAE shrinks by 8, the DiT's patches by 2), durations 4n+1 frames (the VAE's first
frame stands alone, the others go by four). A size of S px means buckets of at most S x S px, so those of one size cost
about the same, whatever their shape; 724 and 960 give the sizes that the released model lists for 540p and 720p.
"""

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from curation.records import Span, content_id

SIDE_STEP_PX = 16
MIN_SIDE_PX = 64  # decord, which reads members, fails on some narrower frames
FRAME_STEP = 4
MAX_BENT = 0.1  # how far a bucket's shape may be from the aspect it stands for, as a log ratio
ASPECTS = ("16:9", "4:3", "1:1", "3:4", "9:16")
LAST_FRAME_SHARE = Fraction(1, 4)  # of its time that a member's last frame is on show: time bases round
MAX_DENOMINATOR = 1001  # of frame rates: 24000/1001 is exact

MisfitReason = Literal["too short", "too slow", "too small", "in no bucket"]


class StageBuckets(BaseModel, frozen=True, extra="forbid"):
    """The shapes that the members of a stage may have: one (`width`, `height`, `num_frames`), or a plan of several.

    Members are cropped about the centre, resized, and re-timed from the middle of the clip.
    """

    width: int = Field(default=64, ge=MIN_SIDE_PX, multiple_of=SIDE_STEP_PX, description="one size: px")
    height: int = Field(default=64, ge=MIN_SIDE_PX, multiple_of=SIDE_STEP_PX, description="one size: px")
    sizes: tuple[int, ...] = Field(
        default=(),
        description="in place of width and height: sizes S, each with a bucket of about S x S px for every aspect; a "
        "clip goes into the largest that it fills",
    )
    aspects: tuple[str, ...] = Field(default=ASPECTS, description="with sizes: width:height of their buckets")
    every_size: bool = Field(default=False, description="with sizes: a clip goes into all that it fills")
    num_frames: int = Field(default=1, ge=1, description="one duration, 4n+1 frames; 1 is an image: the sharpest frame")
    durations: tuple[int, ...] = Field(
        default=(), description="in place of num_frames: several; a clip goes into the longest that it lasts"
    )
    frame_rate: float = Field(default=8.0, gt=0, description="frames per second after re-timing")
    frame_intervals: tuple[int, int] | None = Field(
        default=None,
        description="in place of frame_rate: take every k-th frame of the source, k from the first to the second of "
        "these, drawn for each clip from those it is long enough for (the report trains its VAE with 1 to 8)",
    )
    windows: int = Field(
        default=1, ge=1, description="most members that a long clip gives, one after the other; 1: its middle"
    )
    max_crop: float = Field(
        default=0.5, ge=0, le=1, description="largest share of the picture that a bucket's shape may cut off"
    )
    max_enlarge: float = Field(default=1.25, ge=1, description="most that a picture may be enlarged, as a factor")
    max_repeat: float = Field(
        default=1.5, ge=1, description="how many times slower than frame_rate a source may be: it then repeats frames"
    )

    @field_validator("aspects")
    @classmethod
    def _are_ratios(cls, aspects: tuple[str, ...]) -> tuple[str, ...]:
        for aspect in aspects:
            ratio_of(aspect)
        return aspects

    @model_validator(mode="after")
    def _one_form_of_each(self) -> Self:
        given = self.model_fields_set
        for plan, single in (("sizes", {"width", "height"}), ("durations", {"num_frames"})):
            if getattr(self, plan) and given & single:
                raise ValueError(f"{plan} stands in place of {' and '.join(sorted(single))}; give one of both")
        if self.frame_intervals and "frame_rate" in given:
            raise ValueError("frame_intervals go by the source's own rate; leave out frame_rate")
        if self.frame_intervals and not 1 <= self.frame_intervals[0] <= self.frame_intervals[1]:
            raise ValueError(f"frame_intervals are the least and the greatest, got {list(self.frame_intervals)}")
        if not self.sizes and given & {"aspects", "every_size"}:
            raise ValueError("aspects and every_size go with sizes; width and height are one shape")
        for num_frames in self.durations or (self.num_frames,):
            if num_frames < 1 or num_frames % FRAME_STEP != 1:
                below = max(1, (num_frames - 1) // FRAME_STEP * FRAME_STEP + 1)
                raise ValueError(
                    f"{num_frames} frames are not 4n+1, as the VAE needs; the nearest are {below} and {below + 4}"
                )
        for size_px in self.sizes:
            for aspect in self.aspects:
                bucket_size(size_px, aspect)
        return self

    @property
    def name(self) -> str:
        """For people: the bucket, or how many there are."""
        first, *others = self.buckets()
        if not others:
            return first.name
        frames = "/".join(str(num_frames) for num_frames in sorted(set(self.durations or (self.num_frames,))))
        sizes = "/".join(str(size_px) for size_px in sorted(set(self.sizes))) or f"{self.width}x{self.height}"
        return f"{1 + len(others)} buckets of {sizes} px, {frames} frames @{first.timing}"

    def shapes(self) -> dict[int, list[tuple[int, int]]]:
        """Size -> (width, height) in px of its buckets, largest size first; one size, 0, without a plan."""
        if not self.sizes:
            return {0: [(self.width, self.height)]}
        sizes_px = sorted(set(self.sizes), reverse=True)
        return {size: list(dict.fromkeys(bucket_size(size, aspect) for aspect in self.aspects)) for size in sizes_px}

    def buckets(self) -> list["Bucket"]:
        """Every bucket of the plan, in order of size, shape and duration."""
        durations = sorted(set(self.durations or (self.num_frames,)))
        shapes = dict.fromkeys(shape for shapes in self.shapes().values() for shape in shapes)
        return [self.bucket(*shape, num_frames) for shape in shapes for num_frames in durations]

    def bucket(self, width: int, height: int, num_frames: int) -> "Bucket":
        if self.frame_intervals:
            return Bucket(width, height, num_frames, "every{}-{}".format(*self.frame_intervals))
        return Bucket(width, height, num_frames, f"{self.frame_rate:g}")


@dataclass(frozen=True, order=True)
class Bucket:
    """One shape of members; `timing` is the frame rate, or which frame intervals are drawn from."""

    width: int
    height: int
    num_frames: int
    timing: str

    @property
    def name(self) -> str:
        return f"{self.width}x{self.height}x{self.num_frames}@{self.timing}"


@dataclass(frozen=True)
class Footage:
    """What of a clip may be used: its span after people's trim, its picture in display px after the crop."""

    clip_id: str
    span: Span
    width: int
    height: int
    frame_rate: float  # of the source

    @property
    def duration(self) -> Fraction:
        return (self.span.end_pts - self.span.start_pts) * self.span.time_base


@dataclass(frozen=True)
class Placement:
    """One member to be: which part of the clip, and how it becomes one of the bucket's."""

    bucket: Bucket
    window: int  # number of this part of the clip, 0 first
    span: Span  # from the first frame's time to the last one's end; of an image: where it is chosen from
    frame_rate: float  # of the member
    frame_interval: int  # every so many frames of the source; 0 where the stage has a rate
    cropped: float  # share of the picture that is cut off
    enlarged: float  # factor, below 1 where the picture shrinks


@dataclass(frozen=True)
class Misfit:
    """Why a clip fits in no bucket."""

    reason: MisfitReason
    detail: str


@dataclass(frozen=True)
class _Timing:
    num_frames: int
    rate: Fraction
    interval: int


@cache
def bucket_size(size_px: int, aspect: str) -> tuple[int, int]:
    """Width and height of a size's bucket: of at most size_px^2 px, as near to that and to the aspect as 16s allow.

    Raises:
        ValueError: a side would be shorter than members can be; names the least size that does.
    """
    ratio = ratio_of(aspect)
    found = _in_steps(size_px, max(ratio, 1 / ratio))
    if found is None:
        enough = next(size for size in range(size_px, 1 << 14, SIDE_STEP_PX) if _in_steps(size, max(ratio, 1 / ratio)))
        raise ValueError(
            f"a size of {size_px} px is too small for {aspect}, whose short side needs {MIN_SIDE_PX} px; try {enough}"
        )
    long, short = found
    return (long, short) if ratio >= 1 else (short, long)


def _in_steps(size_px: int, ratio: float) -> tuple[int, int] | None:
    """The long and the short side of a bucket for ratio >= 1."""
    area = (size_px / SIDE_STEP_PX) ** 2
    least = MIN_SIDE_PX // SIDE_STEP_PX
    best = None
    for short in range(least, math.isqrt(int(area)) + 1):
        for long in {math.floor(short * ratio), math.ceil(short * ratio), math.floor(area / short)}:
            if long >= short and long * short <= area:
                bent = abs(math.log(long / short / ratio))
                miss = (2 * bent + math.log(area / (long * short)), long, short)
                best = min(best or miss, miss) if bent <= MAX_BENT else best
    return None if best is None else (best[1] * SIDE_STEP_PX, best[2] * SIDE_STEP_PX)


def ratio_of(aspect: str) -> float:
    """Width over height of a text such as "16:9" or "2.39:1".

    Raises:
        ValueError: it is no such text.
    """
    try:
        width, height = (float(side) for side in aspect.split(":"))
    except ValueError:
        width = height = math.nan
    if not (0 < width < math.inf and 0 < height < math.inf):
        raise ValueError(f'an aspect is width:height, e.g. "16:9", got {aspect!r}')
    return width / height


def place(footage: Footage, settings: StageBuckets) -> tuple[Placement, ...] | Misfit:
    """The members that a clip becomes: `windows` parts at most, in one size or in every size it fills."""
    timing = _timing(footage, settings)
    if isinstance(timing, Misfit):
        return timing
    shapes = _shapes(footage, settings)
    if isinstance(shapes, Misfit):
        return shapes
    spans = _windows(footage, timing, settings.windows)
    return tuple(
        Placement(
            bucket=settings.bucket(width, height, timing.num_frames),
            window=window,
            span=span,
            frame_rate=float(timing.rate),
            frame_interval=timing.interval,
            cropped=_cropped(footage, width, height),
            enlarged=max(width / footage.width, height / footage.height),
        )
        for width, height in shapes
        for window, span in enumerate(spans)
    )


def _timing(footage: Footage, settings: StageBuckets) -> _Timing | Misfit:
    """The longest duration that the clip lasts, and the rate at which its frames are taken."""
    durations = sorted(settings.durations or (settings.num_frames,), reverse=True)
    source_rate = Fraction(footage.frame_rate).limit_denominator(MAX_DENOMINATOR)
    first, last = settings.frame_intervals or (0, 0)
    rates = {
        interval: (source_rate / interval if interval else Fraction(settings.frame_rate)).limit_denominator(
            MAX_DENOMINATOR
        )
        for interval in range(first, last + 1)
    }
    for num_frames in durations:
        lasting = [interval for interval, rate in rates.items() if num_available(footage.duration, rate) >= num_frames]
        if not lasting:
            continue
        interval = lasting[int(content_id("frame interval", footage.clip_id), 16) % len(lasting)]
        if num_frames > 1 and rates[interval] > source_rate * Fraction(settings.max_repeat):
            return Misfit(
                "too slow",
                f"the source has {footage.frame_rate:.4g} frames/s, and at {float(rates[interval]):g} each would be "
                f"shown {float(rates[interval] / source_rate):.3g} times (max_repeat = {settings.max_repeat:g})",
            )
        return _Timing(num_frames, rates[interval], interval)
    least, rate = durations[-1], max(rates.values())
    return Misfit(
        "too short",
        f"{float(footage.duration):.3f} s, and {least} frames at {float(rate):g}/s last {float(least / rate):.3f} s",
    )


def num_available(duration: Fraction, rate: Fraction) -> int:
    """Frames that a span holds: every one is on show for a while, and there is always one."""
    return max(1, math.ceil(duration * rate - LAST_FRAME_SHARE))


def _shapes(footage: Footage, settings: StageBuckets) -> list[tuple[int, int]] | Misfit:
    """The nearest shape of the largest size, or of every size, that the picture fills."""
    found, too_small, too_much = [], "", ""
    for shapes in settings.shapes().values():
        width, height = min(shapes, key=lambda shape: _cropped(footage, *shape))
        lost, factor = _cropped(footage, width, height), max(width / footage.width, height / footage.height)
        if lost > settings.max_crop:
            too_much = (
                f"of {footage.width}x{footage.height} the nearest shape, {width}x{height}, would cut off {lost:.0%} "
                f"(max_crop = {settings.max_crop:g})"
            )
        elif factor > settings.max_enlarge:
            too_small = (
                f"{footage.width}x{footage.height} would be enlarged {factor:.2f} times to fill {width}x{height} "
                f"(max_enlarge = {settings.max_enlarge:g})"
            )
        else:
            found.append((width, height))
            if not settings.every_size:
                break
    if found:
        return found
    return Misfit("too small", too_small) if too_small else Misfit("in no bucket", too_much)


def _cropped(footage: Footage, width: int, height: int) -> float:
    """Share of the picture that the largest centred part of this shape leaves out; the log ratio's exponential."""
    ratio = footage.width * height / (footage.height * width)
    return 1 - min(ratio, 1 / ratio)


def _windows(footage: Footage, timing: _Timing, most: int) -> list[Span]:
    """Up to `most` parts of the clip, one after the other about its middle; of an image: equal parts of all of it."""
    available = num_available(footage.duration, timing.rate)
    span, time_base = footage.span, footage.span.time_base
    if timing.num_frames == 1:
        source_rate = Fraction(footage.frame_rate).limit_denominator(MAX_DENOMINATOR)
        count = min(most, num_available(footage.duration, source_rate), span.end_pts - span.start_pts)
        edges = [span.start_pts + (span.end_pts - span.start_pts) * index // count for index in range(count + 1)]
        return [replace(span, start_pts=begin, end_pts=end) for begin, end in pairwise(edges)]
    count = min(most, available // timing.num_frames)
    length = timing.num_frames / timing.rate / time_base
    start = span.start_pts + max(Fraction(0), ((span.end_pts - span.start_pts) - count * length) / 2)
    begins = [math.floor(start + index * length) for index in range(count)]
    return [replace(span, start_pts=begin, end_pts=min(span.end_pts, begin + math.ceil(length))) for begin in begins]
