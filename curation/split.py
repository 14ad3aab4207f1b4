"""Split a source into virtual clips: one decode at low resolution, shots by a detector, spans by their times.

    source --scan--> small frames --Detector--> cuts --SpanFinder--> [start_pts, end_pts) of every clip, as they end
                                                    \\--Stitcher, if wanted: drops those between like pictures

A clip is one shot, or a window of a long one, without the frames next to a cut that may show both shots, and without
blank pictures and the fades that lead to them. Nothing is written or encoded, and the spans come while the source is
still being decoded, so that whoever scores clips needs to keep only the frames of the shot that is running.
"""

import bisect
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import cv2
from pyarrow import fs as pafs
from pydantic import BaseModel, Field, model_validator

from curation.detector import Detector, detector_class, detector_settings, make_detector, missing_requirement
from curation.embedder import embedder_version, make_embedder
from curation.filesystem import located
from curation.records import Clip, Span, Video, content_id
from curation.source import fingerprint
from curation.stitch import VERSION as STITCH_VERSION, Stitcher
from curation.video import Frame, FrameSpec, Scan, StreamFacts, scan

VERSION = "2"  # of this file and of how `curation.picture` shrinks frames
MAX_TITLE_CHARACTERS = 1000
REGULAR_SHARE = 0.9
UNKNOWN_RATE = 25.0  # for a file of one frame, or a header without a rate
FADE_STEP = 1.01  # contrast grows at least by this factor from frame to frame, going away from the blank picture


class SplitSettings(BaseModel, frozen=True, extra="forbid"):
    detector: str = Field(default="content", description="a file in curation/detectors/")
    options: dict[str, Any] = Field(default={}, description="the detector's own settings; see its file")
    short_side_px: int = Field(default=72, ge=16, description="frames are compared at this size; cuts depend on it")
    min_clip_s: float = Field(default=1.0, gt=0, description="shorter shots are dropped")
    max_clip_s: float = Field(default=10.0, gt=0, description="longer shots are cut into windows of this length")
    trim_frames: int = Field(default=2, ge=0, description="frames dropped on both sides of every cut")
    blank_contrast: float = Field(
        default=4.0,
        ge=0,
        description="pictures whose luma (0-255) deviates less than this are blank and no part of a clip; 0 keeps them",
    )
    max_fade_s: float = Field(
        default=2.0, ge=0, description="how much of a fade next to a blank picture is dropped, in seconds"
    )
    stitch_similarity: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="cuts between pictures whose vectors have at least this cosine are dropped; 0 keeps all cuts",
    )
    stitch_embedder: str = Field(default="perceptual_hash", description="a file in curation/embedders/")
    stitch_options: dict[str, Any] = Field(default={}, description="that embedder's own settings; see its file")

    @model_validator(mode="after")
    def _check(self) -> "SplitSettings":
        detector_settings(self.detector, self.options)
        make_embedder(self.stitch_embedder, self.stitch_options)
        if self.max_clip_s < 2 * self.min_clip_s:
            raise ValueError(
                f"max_clip_s {self.max_clip_s:g} must be at least twice min_clip_s {self.min_clip_s:g}, so that "
                "what is left of a long shot is never too short to keep"
            )
        return self

    @property
    def frames(self) -> FrameSpec:
        """The frames that a `Splitter` is fed."""
        return FrameSpec(fps=None, short_side_px=self.short_side_px, planes="bgr")


def splitter_version(settings: SplitSettings) -> str:
    """Name, code versions and digest of the settings: everything that decides where cuts fall, so part of a clip id.

    Ask `missing_requirements` first: a stitching embedder's weights are part of it.
    """
    decisive = settings.model_dump(exclude={"stitch_similarity", "stitch_embedder", "stitch_options"})
    decisive["options"] = detector_settings(settings.detector, settings.options).model_dump()
    if settings.stitch_similarity:
        vectors = embedder_version(settings.stitch_embedder, settings.stitch_options)
        decisive["stitch"] = [STITCH_VERSION, settings.stitch_similarity, settings.stitch_embedder, vectors]
    resolved = json.dumps(decisive, sort_keys=True)
    return f"{settings.detector}-{VERSION}.{detector_class(settings.detector).version}+{content_id(resolved)[:8]}"


def missing_requirements(settings: SplitSettings) -> list[str]:
    """What the detector and the stitching lack, one sentence for each that lacks anything. Quick: nothing is loaded."""
    lacking = {f"detector {settings.detector}": missing_requirement(settings.detector)}
    if settings.stitch_similarity:
        name = settings.stitch_embedder
        what = make_embedder(name, settings.stitch_options).missing()
        lacking[f"stitch_embedder {name}"] = what and what.replace(f"score.options.{name}", "split.stitch_options")
    return [f"{name} lacks {what}" for name, what in lacking.items() if what]


class SpanFinder:
    """Turns times, contrasts and cuts of frames into frame ranges [first, last) of clips, each as soon as it is sure.

    Which window of a long shot a frame falls into never depends on what comes more than `max_clip_s + min_clip_s`
    later, and whether it belongs to a fade not on what comes more than `max_fade_s` later.
    """

    def __init__(self, time_base: Fraction, settings: SplitSettings) -> None:
        self.time_base, self.settings = float(time_base), settings
        self.pts: list[int] = []
        self._contrast: list[float] = []
        self._fade_pts = math.ceil(settings.max_fade_s / self.time_base) if settings.blank_contrast else 0
        self._cuts: set[int] = set()
        self._next = 0  # the first frame of which it is not known yet whether it is a cut or usable
        self._first: int | None = None  # first frame of what is open, None between clips
        self._blank_end = -1  # fades in from a blank picture run up to here

    def push(self, pts: int, contrast: float, cuts: Sequence[int], settled_pts: int | None) -> list[tuple[int, int]]:
        """Take a frame and the cuts that became known with it; gives the ranges that nothing can change any more."""
        self.pts.append(pts)
        self._contrast.append(contrast)
        self._cuts.update(cuts)
        horizon = min(pts - self._fade_pts, pts if settled_pts is None else settled_pts)
        return self._whole(self._advance(bisect.bisect_left(self.pts, horizon, self._next)))

    def finish(self, end_pts: int, cuts: Sequence[int]) -> list[tuple[int, int]]:
        """No more frames: the last ends at `end_pts`."""
        self._cuts.update(cuts)
        num_frames = len(self.pts)
        ranges = list(self._advance(num_frames))
        self.pts.append(end_pts)
        if self._first is not None:
            ranges += self._windows(self._first, num_frames)
        return self._whole(ranges)

    @property
    def open_pts(self) -> int:
        """Frames before this are in no clip that is still to come."""
        return self.pts[min(self._next if self._first is None else self._first, len(self.pts) - 1)]

    def _advance(self, until: int) -> Iterator[tuple[int, int]]:
        trim = self.settings.trim_frames
        while self._next < until:
            index = self._next
            is_cut, usable = index > 0 and self.pts[index] in self._cuts, self._usable(index)
            if self._first is not None and (is_cut or not usable):
                yield from self._windows(self._first, index - trim)
                self._first = None
            if self._first is None and usable:
                self._first = index + (trim if index else 0)
            self._next += 1
            known = self._next - max(trim, 1)
            if self._first is not None:
                for first, last, rest in self._full_windows(self._first, known):
                    yield first, last
                    self._first = rest

    def _whole(self, ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Without those that one frame makes too long: a gap of lost frames, or a time that lies."""
        longest_s = self.settings.max_clip_s + self.settings.min_clip_s
        return [(first, last) for first, last in ranges if self._seconds(first, last) <= longest_s]

    def _usable(self, index: int) -> bool:
        """Whether a frame is neither blank nor part of a fade from or to a blank one."""
        contrast, blank = self._contrast, self.settings.blank_contrast
        if contrast[index] < blank:
            self._blank_end = index
            return False
        if self._blank_end == index - 1 >= 0 and self._fading(index, index - 1) and self._recent_blank(index):
            self._blank_end = index
            return False
        ahead = index
        limit = self.pts[index] + self._fade_pts
        while ahead + 1 < len(self.pts) and self.pts[ahead + 1] <= limit and self._fading(ahead, ahead + 1):
            ahead += 1
            if contrast[ahead] < blank:
                return False
        return True

    def _fading(self, outer: int, inner: int) -> bool:
        """Whether contrast falls from the outer frame towards the inner one, which is nearer to the blank picture."""
        return self._contrast[outer] > FADE_STEP * self._contrast[inner]

    def _recent_blank(self, index: int) -> bool:
        behind = index
        while behind > 0 and self._contrast[behind] >= self.settings.blank_contrast:
            behind -= 1
        return self.pts[index] - self.pts[behind] <= self._fade_pts

    def _seconds(self, first: int, last: int) -> float:
        return (self.pts[last] - self.pts[first]) * self.time_base

    def _after(self, first: int, last: int, length_s: float) -> int:
        """The last frame up to which a window from `first` is at most so long, but not beyond `last`."""
        limit = self.pts[first] + length_s / self.time_base
        return min(last, max(first + 1, bisect.bisect_right(self.pts, limit, first) - 1))

    def _full_windows(self, first: int, last: int) -> Iterator[tuple[int, int, int]]:
        """Windows of the greatest length, as (first, last, what is left begins), while enough is left after them."""
        longest = self.settings.max_clip_s + self.settings.min_clip_s
        while first < last and self._seconds(first, last) > longest:
            end = self._after(first, last, self.settings.max_clip_s)
            yield first, end, end
            first = end

    def _windows(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """What is left of a shot; its last two windows share evenly what would make one of them too short."""
        for begin, end, rest in self._full_windows(first, last):
            yield begin, end
            first = rest
        if first < last and self._seconds(first, last) > self.settings.max_clip_s:
            end = self._after(first, last, self._seconds(first, last) / 2)
            yield first, end
            first = end
        if first < last and self._seconds(first, last) >= self.settings.min_clip_s:
            yield first, last


class Splitter:
    """Feeds the detector and the span finder with one source's frames."""

    def __init__(self, facts: StreamFacts, settings: SplitSettings) -> None:
        options = detector_settings(settings.detector, settings.options)
        rate = facts.frame_rate or UNKNOWN_RATE
        self._detector: Detector | Stitcher = make_detector(settings.detector, options, facts.time_base, rate)
        if settings.stitch_similarity:
            embedder = make_embedder(settings.stitch_embedder, settings.stitch_options)
            embedder.load()
            self._detector = Stitcher(self._detector, settings.stitch_similarity, embedder, facts.time_base)
        self._finder = SpanFinder(facts.time_base, settings)

    @property
    def pts(self) -> Sequence[int]:
        """Times of all frames; the end of the last one too, after `finish`."""
        return self._finder.pts

    @property
    def open_pts(self) -> int:
        """Frames before this are in no clip that is still to come."""
        return self._finder.open_pts

    def push(self, frame: Frame) -> list[tuple[int, int]]:
        """Frame ranges [first, last) of the clips that are now sure."""
        cuts = self._detector.push(frame)
        contrast = float(cv2.meanStdDev(frame.luma)[1][0, 0])
        return self._finder.push(frame.pts, contrast, cuts, self._detector.settled_pts)

    def finish(self, end_pts: int) -> list[tuple[int, int]]:
        return self._finder.finish(end_pts, self._detector.finish())


def split_video(uri: str, settings: SplitSettings) -> tuple[Video, list[Clip]]:
    """Decode a source once and give what it is and its clips, in order; a video of only short shots has no clip.

    Raises:
        UnreadableVideo: the file gives no frame at all.
        OSError: the storage failed.
    """
    frames = scan(uri, [settings.frames])
    splitter: Splitter | None = None
    ranges: list[tuple[int, int]] = []
    for seen in frames:
        if splitter is None:
            assert frames.facts is not None
            splitter = Splitter(frames.facts, settings)
        ranges += splitter.push(seen.frame)
    assert splitter is not None
    ranges += splitter.finish(frames.end_pts)
    video = video_of(uri, frames, splitter.pts[:-1])
    version = splitter_version(settings)
    return video, [clip_of(video, splitter.pts, first, last, version) for first, last in ranges]


def clip_of(video: Video, pts: Sequence[int], first: int, last: int, splitter: str) -> Clip:
    """The clip of frames [first, last), where `pts` are the times of all frames and the end of the last one."""
    span = Span(pts[first], pts[last], video.time_base_num, video.time_base_den)
    return Clip.of(video, span, last - first, splitter)


def video_of(uri: str, frames: Scan, pts: Sequence[int]) -> Video:
    """What a finished scan knows of its source; `pts` are the times of its frames."""
    facts = frames.facts
    assert facts is not None
    geometry, base = facts.geometry, facts.time_base
    width, height = geometry.size
    return Video(
        video_id=fingerprint(uri),
        uri=uri,
        size_bytes=_info(uri).size,
        container=facts.container,
        codec=facts.codec,
        pixel_format=facts.pixel_format,
        coded_width=geometry.coded_width,
        coded_height=geometry.coded_height,
        width=width,
        height=height,
        rotation=geometry.rotation,
        time_base_num=base.numerator,
        time_base_den=base.denominator,
        start_pts=pts[0],
        end_pts=frames.end_pts,
        duration_s=float((frames.end_pts - pts[0]) * base),
        frame_rate=_frame_rate(facts, pts),
        num_frames=frames.num_frames,
        num_decode_errors=frames.num_decode_errors,
        title=title_of(uri, facts),
    )


def _frame_rate(facts: StreamFacts, pts: Sequence[int]) -> float:
    """The header's rate if the mean rate is within 1 % of it, as times are rounded, or if nearly all steps are its
    steps, as damaged files lose frames; else the mean."""
    if len(pts) < 2:
        return facts.frame_rate or UNKNOWN_RATE
    mean = float((len(pts) - 1) / ((pts[-1] - pts[0]) * facts.time_base))
    if facts.frame_rate and abs(mean - facts.frame_rate) >= 0.01 * mean:
        step = 1 / (facts.frame_rate * float(facts.time_base))
        num_regular = sum(abs(after - before - step) <= max(1, 0.01 * step) for before, after in pairwise(pts))
        return facts.frame_rate if num_regular >= REGULAR_SHARE * (len(pts) - 1) else mean
    return facts.frame_rate or mean


def _info(uri: str) -> pafs.FileInfo:
    filesystem, path = located(uri)
    return filesystem.get_file_info(path)


def title_of(uri: str, facts: StreamFacts) -> str:
    """The text beside a video, `clip.mp4.txt` or `clip.txt`: a person wrote it, so it wins over the container's."""
    filesystem, path = located(uri)
    stem = path.rsplit(".", 1)[0] if "." in path.rsplit("/", 1)[-1] else path
    for candidate in (f"{path}.txt", f"{stem}.txt"):
        if candidate != path and filesystem.get_file_info(candidate).type == pafs.FileType.File:
            with filesystem.open_input_stream(candidate) as stream:
                text = stream.read(4 * MAX_TITLE_CHARACTERS).decode("utf-8", errors="replace")
            if title := " ".join(text.split())[:MAX_TITLE_CHARACTERS]:
                return title
    return facts.title
