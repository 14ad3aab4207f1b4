"""Raw files as streams of decoded frames: opening, fingerprinting, seeking, counting what does not decode.

    open_source(uri) --demux--> packets --decode--> (pts, frame) in rising PTS

Only `curation.video` reads frames through this. A local path or any URI that `pyarrow.fs` understands is a source.
"""

import bisect
import hashlib
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from fractions import Fraction
from typing import Any

import av
import cv2
from av.codec.context import Flags2
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition

from curation.filesystem import located
from curation.records import content_id

# Playlists and image sequences are left out: they would open further files or addresses named inside them.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,avi,asf,flv,ogg,mxf,rm,gif,dv,nut,ivf,wtv,"
    "h264,hevc,av1,obu,m4v,mpegvideo,yuv4mpegpipe,mp3,wav,flac,aac,ac3,aiff"
)
READ_AHEAD_BYTES = 1 << 20  # one object-store request each
SEEK_MARGINS_S = (0.0, 2.0, 10.0, 30.0)  # keyframes are indexed by decoding time, so the first try may land too late
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


@contextmanager
def _file_of(uri: str) -> Iterator[Any]:
    """A seekable binary file for any URI that pyarrow understands, or a local path."""
    try:
        filesystem, path = located(uri)
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


class Reader:
    """A decoder that can be told to go on from a time, and counts what did not decode."""

    def __init__(self, uri: str, with_vectors: bool = False) -> None:
        self.uri, self.num_decode_errors, self.has_jumped = uri, 0, False
        self.with_vectors = with_vectors
        self.packet_bytes: dict[int, int] = {}  # PTS -> coded size of what was demuxed
        self.packet_pts: list[int] = []  # the same PTS, rising
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
        if self.with_vectors:
            self.stream.codec_context.flags2 |= Flags2.export_mvs
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

    def packet_times(self) -> list[int]:
        """PTS of all shown packets from where the reader stands, rising; decodes nothing."""
        times = (packet.pts for packet in self._packets() if packet.size and not packet.is_discard)
        return sorted({pts for pts in times if pts is not None})

    def _packets(self) -> Iterator[Any]:
        num_in_a_row = 0
        while num_in_a_row < MAX_DEMUX_ERRORS:
            try:
                for packet in self.container.demux(self.stream):
                    num_in_a_row = 0
                    yield packet
                return
            except (FFmpegError, IndexError):  # PyAV's IndexError: a packet of a stream that came out of nowhere
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
            if packet.size and (packet.pts is not None or packet.dts is not None):
                pts = packet.pts if packet.pts is not None else packet.dts
                if pts not in self.packet_bytes:
                    bisect.insort(self.packet_pts, pts)
                self.packet_bytes[pts] = packet.size
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
