"""The one decoder door. Raw footage is read by PyAV, the clips we wrote ourselves by decord.

    scan(uri, specs, spans) --one sequential decode--> small frames for every FrameSpec        (split, score)
    measure(uri) --packets, one frame--> size, rate, length                                    (studies)
    read_frames(uri, span, ...) --one decode of the span--> full-quality RGB at a steady rate  (transcode)
    read_member(bytes) --decord--> uint8 [T, H, W, 3]                                          (training)

Frames are told apart by their PTS, never by counting: PyAV was right on every file tried, while decord silently returns
wrong frames of edit lists, open-GOP HEVC and MPEG-TS. What does not decode is skipped and counted; what follows it
keeps its place. A scan at 144 lines cost 1.25 (luma) and 1.40 (luma and colour) times the CPU of a bare decode over 28
files of real footage; for small pictures the share is larger, for 720p it was 1.1.
Each reader uses one thread: run as many readers as there are cores.
"""

import bisect
import dataclasses
import io
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, Literal

import numpy as np

from curation.picture import Geometry, Halves, full_picture, opened_geometry, small_picture
from curation.records import Crop, Span
from curation.source import Reader, UnreadableVideo

SEEK_GAP_S = 4.0  # shorter gaps are decoded through: a seek lands a keyframe interval (often 2-10 s) too early anyway
ROUNDING_S = Fraction(1, 500)  # time bases of a millisecond round a frame's time, so a tick may come this much late
HEADER_TOLERANCE = 0.02  # some packets are missing from most files
MIN_RATE, MAX_RATE = 0.01, 1000.0  # frames per second; a header that claims another rate lies


@dataclass(frozen=True)
class FrameSpec:
    """Which frames a reader wants, and as what. Readers with equal specs share the same arrays.

    `fps` None means every frame, otherwise the first frame at or after each tick 1/fps of the source's clock, so a
    source slower than that gives all its frames, and which frames a clip gets does not depend on what else is read.
    `planes` "bgr" gives luma as well; "vectors" gives the codec's motion vectors and luma.
    """

    fps: float | None
    short_side_px: int
    planes: Literal["luma", "bgr", "vectors"] = "luma"


@dataclass(frozen=True)
class Frame:
    """One small upright picture: `luma` uint8 [h, w], 0 black to 255 white; `bgr` uint8 [h, w, 3] if asked for.

    `vectors`, if asked for and the codec has them: float32 [N, 5], for each block x and y of its centre in shares of
    the coded width and height, its motion since the frame it was predicted from (taken to be the one before) to the
    right and down in short sides per second, and its area as a share of the picture.
    """

    pts: int
    time_s: float
    luma: np.ndarray
    bgr: np.ndarray | None
    vectors: np.ndarray | None = None


@dataclass(frozen=True)
class Seen:
    """A frame that one spec wants of one span; `span_index` counts the spans given to `scan` (0 without spans).

    `stands_in` marks a span's first frame that no tick asked for: use it only if nothing else comes.
    """

    spec: FrameSpec
    span_index: int
    frame: Frame
    stands_in: bool = False


@dataclass(frozen=True)
class StreamFacts:
    """What the header and the first frame say. `frame_rate` is the header's average, 0 if it has none."""

    container: str
    codec: str
    pixel_format: str
    geometry: Geometry
    time_base: Fraction
    frame_rate: float
    title: str


@dataclass(frozen=True)
class Extent:
    """How many frames a file shows and when, `end_pts` exclusive, as its packets say."""

    facts: StreamFacts
    num_frames: int
    start_pts: int
    end_pts: int

    @property
    def span(self) -> Span:
        time_base = self.facts.time_base
        return Span(self.start_pts, self.end_pts, time_base.numerator, time_base.denominator)

    @property
    def duration_s(self) -> float:
        return float((self.end_pts - self.start_pts) * self.facts.time_base)

    @property
    def frame_rate(self) -> float:
        """Hz: the header's where the packets bear it out, else their mean."""
        mean, said = self.num_frames / self.duration_s, self.facts.frame_rate
        return said if abs(said - mean) <= HEADER_TOLERANCE * mean else mean


class Ticks:
    """The ticks of one spec on a source's clock, in whole numbers, as this is asked for every frame."""

    def __init__(self, fps: float, time_base: Fraction) -> None:
        rate = Fraction(fps).limit_denominator(1001)
        self._per_pts = time_base.numerator * ROUNDING_S.denominator * rate.numerator
        self._rounding = time_base.denominator * ROUNDING_S.numerator * rate.numerator
        self._divisor = time_base.denominator * ROUNDING_S.denominator * rate.denominator

    def last(self, pts: int) -> int:
        """Number of the last tick that had passed when a frame came."""
        return (pts * self._per_pts + self._rounding) // self._divisor

    def hit(self, pts: int) -> bool:
        """Whether a frame came on a tick, up to rounding of its time."""
        return self.last(pts) > (pts * self._per_pts - self._rounding) // self._divisor


class Scan:
    """One pass over a source; iterate it once. What it counted is valid when the iteration has ended.

    `facts` is there from the first frame on. `num_frames`, `start_pts` and `end_pts` (exclusive) cover the frames that
    lay in a wanted span, `num_decode_errors` all that was tried.
    """

    def __init__(self, uri: str, specs: Sequence[FrameSpec], spans: Sequence[Span] | None = None) -> None:
        if spans is not None and not spans:
            raise ValueError("scan needs at least one span; give None for the whole file")
        self.uri, self.specs, self.spans = uri, list(dict.fromkeys(specs)), spans
        self.facts: StreamFacts | None = None
        self.num_frames = self.num_decode_errors = 0
        self.start_pts: int | None = None
        self.end_pts = 0
        self._reader: Reader | None = None

    def __iter__(self) -> Iterator[Seen]:
        reader = Reader(self.uri, with_vectors=any(spec.planes == "vectors" for spec in self.specs))
        self._reader = reader
        try:
            windows = _windows(reader, self.spans)
            wanted = _Wanted(self.specs, windows, reader.time_base)
            for pts, frame in _frames_of(reader, windows):
                if self.facts is None:
                    self.facts = _facts(reader, frame)
                self._count(pts, frame)
                made: dict[FrameSpec, Frame] = {}
                halves = Halves(frame)
                for spec, span_index, stands_in in wanted(pts):
                    if spec not in made:
                        made[spec] = _small_frame(pts, frame, self.facts, spec, halves, made.values())
                    yield Seen(spec, span_index, made[spec], stands_in)
            if self.facts is None and self.spans is None:
                raise UnreadableVideo(
                    "no decodable frame",
                    f"{self.uri} ({reader.stream.codec_context.name}) gave no frame, {reader.num_decode_errors} errors",
                )
        finally:
            self.num_decode_errors = reader.num_decode_errors
            reader.close()

    def num_bytes(self, start_pts: int, end_pts: int) -> int:
        """Coded bytes of the frames in [start_pts, end_pts), once a frame at or after `end_pts` has been given."""
        if self._reader is None:
            return 0
        pts, size_of = self._reader.packet_pts, self._reader.packet_bytes
        return sum(size_of[each] for each in pts[bisect.bisect_left(pts, start_pts) : bisect.bisect_left(pts, end_pts)])

    def _count(self, pts: int, frame: Any) -> None:
        assert self.facts is not None
        self.num_frames += 1
        if self.start_pts is None:
            self.start_pts = pts
        second = 1 / float(self.facts.time_base)
        usual = max(1, round(second / (self.facts.frame_rate or 25)))
        self.end_pts = pts + min(frame.duration or usual, max(usual, round(second)))  # some headers claim years


class _Wanted:
    """Which specs want a frame of which span. Spans may overlap; frames come in rising PTS."""

    def __init__(self, specs: Sequence[FrameSpec], windows: list[tuple[int, int]], time_base: Fraction) -> None:
        self._specs = [(spec, None if spec.fps is None else Ticks(spec.fps, time_base)) for spec in specs]
        self._specs.sort(key=lambda each: each[0].planes != "bgr")  # the luma of a picture in colour serves others
        self._waiting = sorted(((start, end, index) for index, (start, end) in enumerate(windows)), reverse=True)
        self._open: list[tuple[int, int]] = []
        self._last: dict[tuple[FrameSpec, int], int] = {}

    def __call__(self, pts: int) -> Iterator[tuple[FrameSpec, int, bool]]:
        """(spec, span index, whether it only stands in) for each that wants the frame at `pts`."""
        self._open = [(end, index) for end, index in self._open if pts < end]
        while self._waiting and self._waiting[-1][0] <= pts:
            _, end, index = self._waiting.pop()
            if pts < end:
                self._open.append((end, index))
        self._open.sort(key=lambda window: window[1])
        for spec, ticks in self._specs:
            tick = None if ticks is None else ticks.last(pts)
            for _, index in self._open:
                if ticks is None or tick is None:
                    yield spec, index, False
                    continue
                last = self._last.get((spec, index))
                self._last[spec, index] = tick
                if last is None:
                    yield spec, index, not ticks.hit(pts)
                elif tick > last:
                    yield spec, index, False


def scan(uri: str, specs: Sequence[FrameSpec], spans: Span | Sequence[Span] | None = None) -> Scan:
    """Decode a source once, in order, and give every spec its small frames of the wanted spans (default: everything).

    Nothing is kept: memory is that of one frame. Spans may overlap; gaps longer than SEEK_GAP_S are jumped over.

    Raises (while iterating):
        UnreadableVideo: the file gives no video. A span in which nothing decodes just yields no frame.
    """
    return Scan(uri, specs, [spans] if isinstance(spans, Span) else spans)


def measure(uri: str) -> Extent:
    """What a file holds, by its packets and its first frame: 2 to 95 ms of CPU over 28 files of real footage.

    Raises:
        UnreadableVideo: the file gives no video.
    """
    reader = Reader(uri)
    try:
        first = next(reader.decode(), None)
        if first is None:
            raise UnreadableVideo("no decodable frame", f"{uri} ({reader.stream.codec_context.name}) gave no frame")
        facts = _facts(reader, first[1])
        reader.reopen()
        times = reader.packet_times()
    finally:
        reader.close()
    gap = Fraction(times[-1] - times[0], len(times) - 1) if len(times) > 1 else Fraction(1)
    return Extent(facts, len(times), times[0], times[-1] + max(1, round(gap)))


def read_frames(
    uri: str,
    span: Span,
    width: int,
    height: int,
    num_frames: int | None,
    fps: Fraction | float,
    earliest_pts: int | None = None,
    crop: Crop | None = None,
) -> Iterator[np.ndarray]:
    """RGB uint8 [height, width, 3] at the times start + k / fps of a span: the picture that is on show then.

    The largest centred part of the wanted shape is cut out, so nothing is distorted and no bar is added.

    Args:
        num_frames: how many; None for as many as the span holds.
        earliest_pts: where the shot began, if the span begins later, perhaps between two frames: then the one before
            is on show at first. By default the span's first frame stands in until the second comes.
        crop: the part of the picture to take; default all of it.

    Raises:
        ValueError: the span is too short for `num_frames` at `fps`.
        UnreadableVideo: nothing of the span decodes.
    """
    fps = Fraction(fps).limit_denominator(1001)
    duration = (span.end_pts - span.start_pts) * span.time_base
    num_available = math.ceil(duration * fps)
    if num_frames is not None and num_frames > num_available:
        raise ValueError(
            f"{num_frames} frames at {float(fps):g} per second were asked of a span of {float(duration):.3f} s, which "
            f"holds {num_available}; ask for fewer frames or a higher rate, or gate such short clips out"
        )
    times = [span.start_pts * span.time_base + index / fps for index in range(num_frames or num_available)]
    start_pts = span.start_pts if earliest_pts is None else min(earliest_pts, span.start_pts)
    picture = partial(full_picture, width=width, height=height, crop=crop)
    return _shown_at(uri, dataclasses.replace(span, start_pts=start_pts), times, picture)


def read_member(video: bytes) -> np.ndarray:
    """All frames of a training member (an mp4 written by `curation.transcode`), uint8 RGB [T, H, W, 3].

    Raises:
        ValueError: not such a file: it does not open, or starts before 0, where decord would return wrong frames.
    """
    import decord  # splitting and scoring never read members, and starting is most of a short file's time

    try:
        reader = decord.VideoReader(io.BytesIO(video), num_threads=1)
        start_s = float(reader.get_frame_timestamp(0)[0])
        frames = reader.get_batch(range(len(reader))).asnumpy()
    except (RuntimeError, decord.DECORDError) as error:
        raise ValueError(f"a training member of {len(video)} bytes does not decode: {error}") from error
    if start_s < 0:
        raise ValueError(f"a training member must start at 0 s and have no edit list; this one starts at {start_s} s")
    return frames


def _shown_at(
    uri: str, span: Span, times: list[Fraction], picture: Callable[[Any, Geometry], np.ndarray]
) -> Iterator[np.ndarray]:
    """For each time the last frame at or before it; the first frame stands in before it came."""
    reader = Reader(uri)
    try:
        windows = _windows(reader, [span])
        geometry: Geometry | None = None
        image: np.ndarray | None = None
        shown: Any = None
        waiting = iter(times)
        due = next(waiting)
        for pts, frame in _frames_of(reader, windows):
            geometry = geometry or opened_geometry(reader.stream, frame)
            while shown is not None and pts * span.time_base > due + ROUNDING_S:
                image = picture(shown, geometry) if image is None else image
                yield image
                due = next(waiting, None)
                if due is None:
                    return
            shown, image = frame, None
        if shown is None or geometry is None:
            raise UnreadableVideo("no decodable frame", f"{uri} from {span.start_s:.3f} s to {span.end_s:.3f} s")
        image = picture(shown, geometry)
        for _ in (due, *waiting):
            yield image
    finally:
        reader.close()


def _frames_of(reader: Reader, windows: list[tuple[int, int]]) -> Iterator[tuple[int, Any]]:
    """(pts, frame) of all frames in any of the [start, end) windows, in order, each once."""
    gap = SEEK_GAP_S / reader.time_base
    position = reader.stream.start_time or 0
    frames: Iterator[tuple[int, Any]] | None = None
    item: tuple[int, Any] | None = None
    for start, end in _merge(windows):
        jump = start - position > gap
        if jump:
            reader.seek(start)
        if jump or frames is None:
            frames, item = _first_from(reader, start)
        while item is not None and item[0] < end:
            if item[0] >= start:
                yield item
            item = next(frames, None)
        if item is None:
            return
        position = item[0]


def _first_from(reader: Reader, start: int) -> tuple[Iterator[tuple[int, Any]], tuple[int, Any] | None]:
    """The decode from where the reader stands, run up to the first frame at or after `start`.

    Some keyframes are none: what follows them refers to frames before (intra refresh, recovery points of H.264). From
    there, frames are missing, or green and grey and marked by the decoder; then the file is decoded from its start.
    """
    while True:
        jumped, frames = reader.has_jumped, reader.decode()
        item = landed = next(frames, None)
        while item is not None and item[0] < start:
            item = next(frames, None)
        if not jumped or (landed and landed[0] <= start and item and not item[1].is_corrupt):
            return frames, item
        reader.reopen()


def _merge(windows: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(windows):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _windows(reader: Reader, spans: Sequence[Span] | None) -> list[tuple[int, int]]:
    if spans is None:
        return [(-(1 << 62), 1 << 62)]
    for span in spans:
        if span.time_base != reader.time_base:
            raise UnreadableVideo(
                "source changed",
                f"{reader.uri} counts time in {reader.time_base} s, the span in {span.time_base} s; split it again",
            )
    return [(span.start_pts, span.end_pts) for span in spans]


def _facts(reader: Reader, frame: Any) -> StreamFacts:
    stream, container = reader.stream, reader.container
    rate = float(stream.average_rate or 0)
    return StreamFacts(
        container=container.format.name,
        codec=stream.codec_context.codec.canonical_name,
        pixel_format=frame.format.name,
        geometry=opened_geometry(stream, frame),
        time_base=reader.time_base,
        frame_rate=rate if MIN_RATE <= rate <= MAX_RATE else 0.0,
        title=str(container.metadata.get("title", "")).strip(),
    )


def _small_frame(
    pts: int, frame: Any, facts: StreamFacts, spec: FrameSpec, halves: Halves, made: Iterable[Frame]
) -> Frame:
    """The frame as a spec wants it; pictures of that size which others were given are not made again."""
    time_s = pts * facts.time_base.numerator / facts.time_base.denominator
    with_bgr = spec.planes == "bgr"
    vectors = _vectors(frame, facts.frame_rate or 25) if spec.planes == "vectors" else None
    width, height = facts.geometry.small_size(spec.short_side_px)
    for other in made:
        if other.luma.shape == (height, width) and (other.bgr is not None or not with_bgr):
            return Frame(pts, time_s, other.luma, other.bgr if with_bgr else None, vectors)
    luma, bgr = small_picture(frame, facts.geometry, spec.short_side_px, with_bgr, halves)
    return Frame(pts, time_s, luma, bgr, vectors)


def _vectors(frame: Any, frame_rate: float) -> np.ndarray | None:
    """The codec's motion vectors as `Frame.vectors` describes; None for a frame that was coded without any."""
    data = frame.side_data.get("MOTION_VECTORS")
    if data is None:
        return None
    blocks = data.to_ndarray()
    forward = np.where(blocks["source"] > 0, -1, 1)  # a block predicted from the future moved the other way
    speed = frame_rate / min(frame.width, frame.height)
    return np.column_stack(
        [
            blocks["dst_x"] / frame.width,
            blocks["dst_y"] / frame.height,
            (blocks["dst_x"] - blocks["src_x"]) * forward * speed,
            (blocks["dst_y"] - blocks["src_y"]) * forward * speed,
            blocks["w"].astype(np.float32) * blocks["h"] / (frame.width * frame.height),
        ]
    ).astype(np.float32)
