"""The one decoder door. Raw footage is read by PyAV, the clips we wrote ourselves by decord.

    scan(uri, specs, spans) --one sequential decode--> small frames for every FrameSpec        (split, score)
    read_frames(uri, span, ...) --one decode of the span--> full-quality RGB at a steady rate  (transcode)
    read_member(bytes) --decord--> uint8 [T, H, W, 3]                                          (training)

Frames are told apart by their PTS, never by counting: PyAV was right on every file tried, while decord silently returns
wrong frames of edit lists, open-GOP HEVC and MPEG-TS. What does not decode is skipped and counted; what follows it
keeps its place. A scan at 144 lines cost 1.25 (luma) and 1.40 (luma and colour) times the CPU of a bare decode over 28
files of real footage; for small pictures the share is larger, for 720p it was 1.1.
Each reader uses one thread: run as many readers as there are cores.
"""

import dataclasses
import hashlib
import io
import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import av
import cv2
import decord
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from pyarrow import fs as pafs

from curation.picture import Geometry, full_picture, opened_geometry, small_picture
from curation.records import Span, content_id

# Playlists and image sequences are left out: they would open further files or addresses named inside them.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,avi,asf,flv,ogg,mxf,rm,gif,dv,nut,ivf,wtv,"
    "h264,hevc,av1,obu,m4v,mpegvideo,yuv4mpegpipe,mp3,wav,flac,aac,ac3,aiff"
)
READ_AHEAD_BYTES = 1 << 20  # one object-store request each
SEEK_GAP_S = 4.0  # shorter gaps are decoded through: a seek lands a keyframe interval (often 2-10 s) too early anyway
SEEK_MARGINS_S = (0.0, 2.0, 10.0, 30.0)  # keyframes are indexed by decoding time, so the first try may land too late
ROUNDING_S = Fraction(1, 500)  # time bases of a millisecond round a frame's time, so a tick may come this much late
MAX_DEMUX_ERRORS = 16  # in a row; then the rest of the file is given up
FINGERPRINT_BLOCK_BYTES = 1 << 16
FINGERPRINT_BLOCKS = 16


class UnreadableVideo(Exception):
    """A file that gives no video. `reason` is one of a few short kinds, for counting; the message has the detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)  # both, so that it survives pickling between processes
        self.reason, self.detail = reason, detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@dataclass(frozen=True)
class FrameSpec:
    """Which frames a reader wants, and as what. Readers with equal specs share the same arrays.

    `fps` None means every frame, otherwise the first frame at or after each tick 1/fps from the start of the span, so
    a source slower than that gives all its frames. `planes` "bgr" gives luma as well.
    """

    fps: float | None
    short_side_px: int
    planes: Literal["luma", "bgr"] = "luma"


@dataclass(frozen=True)
class Frame:
    """One small upright picture: `luma` uint8 [h, w], 0 black to 255 white; `bgr` uint8 [h, w, 3] if asked for."""

    pts: int
    time_s: float
    luma: np.ndarray
    bgr: np.ndarray | None


@dataclass(frozen=True)
class Seen:
    """A frame that one spec wants of one span; `span_index` counts the spans given to `scan` (0 without spans)."""

    spec: FrameSpec
    span_index: int
    frame: Frame


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


@contextmanager
def _file_of(uri: str) -> Iterator[Any]:
    """A seekable binary file for any URI that pyarrow understands, or a local path."""
    try:
        filesystem, path = pafs.FileSystem.from_uri(uri) if "://" in uri else (pafs.LocalFileSystem(), uri)
        file = filesystem.open_input_file(path)
    except FileNotFoundError as error:
        raise UnreadableVideo("not found", f"{uri} does not exist: {error}") from error
    with file:
        yield file


@contextmanager
def open_source(uri: str) -> Iterator[InputContainer]:
    """Open a video file by local path or by a URI that `pyarrow.fs` understands (s3://bucket/key).

    Raises:
        UnreadableVideo: the file is missing, empty or no known video format. Network errors stay OSError.
    """
    local = uri.removeprefix("file://") if uri.startswith("file://") or "://" not in uri else None
    with _file_of(uri) as file:
        if file.size() == 0:
            raise UnreadableVideo("empty file", f"{uri} has 0 bytes")
        try:
            container = av.open(
                local or file,
                mode="r",
                options={"format_whitelist": FORMATS},
                buffer_size=READ_AHEAD_BYTES,
                metadata_errors="replace",
            )
        except FFmpegError as error:
            raise UnreadableVideo(
                "not a video", f"{uri} ({file.size()} bytes) opens as none of the known formats: {error.strerror}"
            ) from error
        with container:
            yield container


def fingerprint(uri: str) -> str:
    """Hex id of a file's content: its size, first and last 64 KiB and 14 blocks of 64 KiB evenly between.

    Files up to 1 MiB are covered whole; larger ones by 1 MiB in 16 reads, so an object store is asked for little. Two
    files of one size that differ only between the blocks get the same id: footage never does, a patched file may.
    """
    with _file_of(uri) as file:
        size, block = file.size(), FINGERPRINT_BLOCK_BYTES
        digest = hashlib.sha256()
        if size <= FINGERPRINT_BLOCKS * block:
            digest.update(file.read())
        else:
            for index in range(FINGERPRINT_BLOCKS):
                digest.update(file.read_at(block, (size - block) * index // (FINGERPRINT_BLOCKS - 1)))
    return content_id("video", size, digest.hexdigest())


class _Reader:
    """A decoder that can be told to go on from a time, and counts what did not decode."""

    def __init__(self, uri: str) -> None:
        self.uri, self.num_decode_errors, self.has_jumped = uri, 0, False
        self._opened: AbstractContextManager[InputContainer] | None = None
        cv2.setNumThreads(1)
        self.reopen()

    def reopen(self) -> None:
        self.close()
        self.has_jumped = False
        self._opened = open_source(self.uri)
        self.container = self._opened.__enter__()
        self.stream = self._video_stream()
        self.stream.codec_context.thread_count = 1
        self.time_base: Fraction = self.stream.time_base

    def close(self) -> None:
        if self._opened is not None:
            opened, self._opened = self._opened, None
            opened.__exit__(None, None, None)

    def _video_stream(self) -> Any:
        """The largest moving picture; cover art is none."""
        moving = [
            stream for stream in self.container.streams.video if not stream.disposition & Disposition.attached_pic
        ]
        if not moving:
            kinds = ", ".join(sorted({stream.type for stream in self.container.streams})) or "nothing"
            raise UnreadableVideo("no video stream", f"{self.uri} holds {kinds}")
        decodable = [stream for stream in moving if stream.codec_context is not None]
        if not decodable:
            raise UnreadableVideo("codec not supported", f"{self.uri} is coded in a way no decoder here knows")
        return max(decodable, key=lambda stream: stream.codec_context.width * stream.codec_context.height)

    def seek(self, pts: int) -> None:
        """Go to a keyframe from which the frame at `pts` decodes right; to the beginning if there is none."""
        for margin_s in SEEK_MARGINS_S:
            target = pts - math.ceil(margin_s / self.time_base)
            if target <= (self.stream.start_time or 0):
                break
            if self._lands_before(target, pts):
                self.container.seek(target, stream=self.stream, backward=True)
                self.has_jumped = True
                return
        self.reopen()

    def _lands_before(self, target: int, pts: int) -> bool:
        try:
            self.container.seek(target, stream=self.stream, backward=True)
            keyframe = next((packet for packet in self._packets() if packet.is_keyframe), None)
        except FFmpegError:  # no index: the caller goes to the beginning instead
            return False
        return keyframe is not None and keyframe.pts is not None and keyframe.pts <= pts

    def _packets(self) -> Iterator[Any]:
        num_in_a_row = 0
        while num_in_a_row < MAX_DEMUX_ERRORS:
            try:
                for packet in self.container.demux(self.stream):
                    num_in_a_row = 0
                    yield packet
                return
            except FFmpegError:
                num_in_a_row += 1
                self.num_decode_errors += 1

    def decode(self) -> Iterator[tuple[int, Any]]:
        """(pts, frame) from where the reader stands, in rising pts. A frame that steps back in time is an error."""
        last_pts: int | None = None
        waiting_for_keyframe = self.has_jumped  # MPEG-TS seeks land anywhere
        for packet in self._packets():
            waiting_for_keyframe = waiting_for_keyframe and bool(packet.size) and not packet.is_keyframe
            if waiting_for_keyframe:
                continue
            try:
                frames = packet.decode()
            except FFmpegError:
                self.num_decode_errors += 1
                continue
            for frame in frames:
                pts = frame.pts if frame.pts is not None else frame.dts
                if pts is None or (last_pts is not None and pts <= last_pts):
                    self.num_decode_errors += 1
                    continue
                last_pts = pts
                yield pts, frame


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

    def __iter__(self) -> Iterator[Seen]:
        reader = _Reader(self.uri)
        try:
            windows = _windows(reader, self.spans)
            last_ticks: dict[tuple[FrameSpec, int], int] = {}
            for pts, frame in _frames_of(reader, windows):
                if self.facts is None:
                    self.facts = _facts(reader, frame)
                self._count(pts, frame)
                yield from self._wanted(pts, frame, windows, last_ticks)
            if self.facts is None and self.spans is None:
                raise UnreadableVideo(
                    "no decodable frame",
                    f"{self.uri} ({reader.stream.codec_context.name}) gave no frame, {reader.num_decode_errors} errors",
                )
        finally:
            self.num_decode_errors = reader.num_decode_errors
            reader.close()

    def _count(self, pts: int, frame: Any) -> None:
        assert self.facts is not None
        self.num_frames += 1
        if self.start_pts is None:
            self.start_pts = pts
        rate = self.facts.frame_rate or 25
        self.end_pts = pts + (frame.duration or max(1, round(1 / (rate * float(self.facts.time_base)))))

    def _wanted(
        self,
        pts: int,
        frame: Any,
        windows: list[tuple[int, int]],
        last_ticks: dict[tuple[FrameSpec, int], int],
    ) -> Iterator[Seen]:
        assert self.facts is not None and self.start_pts is not None
        made: dict[tuple[int, bool], Frame] = {}
        for span_index, (start, end) in enumerate(windows):
            if not start <= pts < end:
                continue
            origin = self.start_pts if self.spans is None else start
            for spec in self.specs:
                if spec.fps is not None:
                    tick = _tick(pts - origin, self.facts.time_base, spec.fps)
                    if tick <= last_ticks.get((spec, span_index), -1):
                        continue
                    last_ticks[spec, span_index] = tick
                kind = (spec.short_side_px, spec.planes == "bgr")
                if kind not in made:
                    made[kind] = _small_frame(pts, frame, self.facts, *kind)
                yield Seen(spec, span_index, made[kind])


def scan(uri: str, specs: Sequence[FrameSpec], spans: Span | Sequence[Span] | None = None) -> Scan:
    """Decode a source once, in order, and give every spec its small frames of the wanted spans (default: everything).

    Nothing is kept: memory is that of one frame. Spans may overlap; gaps longer than SEEK_GAP_S are jumped over.

    Raises (while iterating):
        UnreadableVideo: the file gives no video. A span in which nothing decodes just yields no frame.
    """
    return Scan(uri, specs, [spans] if isinstance(spans, Span) else spans)


def read_frames(
    uri: str,
    span: Span,
    width: int,
    height: int,
    num_frames: int | None,
    fps: Fraction | float,
    earliest_pts: int | None = None,
) -> Iterator[np.ndarray]:
    """RGB uint8 [height, width, 3] at the times start + k / fps of a span: the picture that is on show then.

    The largest centred part of the wanted shape is cut out, so nothing is distorted and no bar is added.

    Args:
        num_frames: how many; None for as many as the span holds.
        earliest_pts: where the shot began, if the span begins later, perhaps between two frames: then the one before
            is on show at first. By default the span's first frame stands in until the second comes.

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
    return _shown_at(uri, dataclasses.replace(span, start_pts=start_pts), times, width, height)


def read_member(video: bytes) -> np.ndarray:
    """All frames of a training member (an mp4 written by `curation.transcode`), uint8 RGB [T, H, W, 3].

    Raises:
        ValueError: not such a file: it does not open, or starts before 0, where decord would return wrong frames.
    """
    try:
        reader = decord.VideoReader(io.BytesIO(video), num_threads=1)
        start_s = float(reader.get_frame_timestamp(0)[0])
        frames = reader.get_batch(range(len(reader))).asnumpy()
    except (RuntimeError, decord.DECORDError) as error:
        raise ValueError(f"a training member of {len(video)} bytes does not decode: {error}") from error
    if start_s < 0:
        raise ValueError(f"a training member must start at 0 s and have no edit list; this one starts at {start_s} s")
    return frames


def _shown_at(uri: str, span: Span, times: list[Fraction], width: int, height: int) -> Iterator[np.ndarray]:
    """For each time the last frame at or before it; the first frame stands in before it came."""
    reader = _Reader(uri)
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
                image = full_picture(shown, geometry, width, height) if image is None else image
                yield image
                due = next(waiting, None)
                if due is None:
                    return
            shown, image = frame, None
        if shown is None or geometry is None:
            raise UnreadableVideo("no decodable frame", f"{uri} from {span.start_s:.3f} s to {span.end_s:.3f} s")
        image = full_picture(shown, geometry, width, height)
        for _ in (due, *waiting):
            yield image
    finally:
        reader.close()


def _frames_of(reader: _Reader, windows: list[tuple[int, int]]) -> Iterator[tuple[int, Any]]:
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


def _first_from(reader: _Reader, start: int) -> tuple[Iterator[tuple[int, Any]], tuple[int, Any] | None]:
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


def _windows(reader: _Reader, spans: Sequence[Span] | None) -> list[tuple[int, int]]:
    if spans is None:
        return [(-(1 << 62), 1 << 62)]
    for span in spans:
        if span.time_base != reader.time_base:
            raise UnreadableVideo(
                "source changed",
                f"{reader.uri} counts time in {reader.time_base} s, the span in {span.time_base} s; split it again",
            )
    return [(span.start_pts, span.end_pts) for span in spans]


def _facts(reader: _Reader, frame: Any) -> StreamFacts:
    stream, container = reader.stream, reader.container
    return StreamFacts(
        container=container.format.name,
        codec=stream.codec_context.codec.canonical_name,
        pixel_format=frame.format.name,
        geometry=opened_geometry(stream, frame),
        time_base=reader.time_base,
        frame_rate=float(stream.average_rate or 0),
        title=str(container.metadata.get("title", "")).strip(),
    )


def _small_frame(pts: int, frame: Any, facts: StreamFacts, short_side_px: int, with_bgr: bool) -> Frame:
    luma, bgr = small_picture(frame, facts.geometry, short_side_px, with_bgr)
    return Frame(pts, float(pts * facts.time_base), luma, bgr)


def _tick(elapsed_pts: int, time_base: Fraction, fps: float) -> int:
    """Number of the last tick 1/fps that had passed when a frame came."""
    return math.floor((elapsed_pts * time_base + ROUNDING_S) * Fraction(fps).limit_denominator(1001))
