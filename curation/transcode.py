"""Write media, once, for clips that a machine or a person kept: proxies to look at, members to train on.

    source span --read_frames--> RGB at a steady rate --BT.709 yuv420p--> libx264 --> mp4 bytes

Both are H.264 without B-frames, so they start at 0 without an edit list and every decoder agrees on their frames. One
encoder thread and bit-exact muxing make the same clip the same bytes on every run.
"""

import math
import tempfile
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.context import Flags
from av.video.reformatter import ColorRange, Colorspace

from curation.buckets import MIN_SIDE_PX
from curation.records import Clip, Crop, Span, UserError
from curation.source import UnreadableVideo, fingerprint
from curation.video import read_frames

BT709 = 1  # primaries, transfer and matrix in ITU-T H.273
LIMITED_RANGE = 1
MAX_PROXY_RATE = 30
LOOK_BACK_S = 10  # how long before a member's first frame a picture may have come that is still on show then
MEMBER_KEYFRAME_INTERVAL = 16  # few enough frames to decode when one in the middle is wanted


def write_proxy(clip: Clip, max_height: int = 480, crop: Crop | None = None) -> bytes:
    """The clip as a small mp4 for the review page: square pixels, upright, steady rate, index in front, no sound.

    Args:
        max_height: px; a lower source keeps its height, and sizes are rounded down to even numbers.
        crop: the part of the picture to show; default all of it.

    Raises:
        UnreadableVideo: nothing of the clip decodes, or its source is not the file that was split.
    """
    _check_source(clip)
    full_width, full_height = (crop.width, crop.height) if crop else (clip.width, clip.height)
    height = min(max_height, full_height)
    width = round(full_width * height / full_height)
    rate = Fraction(min(clip.frame_rate, MAX_PROXY_RATE)).limit_denominator(1001)
    frames = read_frames(clip.uri, clip.span, _even(width), _even(height), None, rate, crop=crop)
    return _encode(frames, rate, {"crf": "26", "preset": "veryfast", "g": str(round(2 * rate))}, faststart=True)


def write_member(
    clip: Clip,
    width: int,
    height: int,
    num_frames: int,
    frame_rate: float,
    crf: int = 17,
    preset: str = "medium",
    crop: Crop | None = None,
    span: Span | None = None,
) -> bytes:
    """A part of a clip as a training member: `num_frames` of exactly width x height, resized and centre-cropped.

    Args:
        width, height: px, even, at least 64.
        num_frames: 1 for an image.
        frame_rate: frames per second at which the source is sampled and the member plays.
        crf: x264's quality, lower is better; 17 is visually lossless.
        crop: the part of the picture to take; default all of it.
        span: the part of the clip to take (`curation.buckets` plans it); default its middle.

    Raises:
        UserError: a size that members cannot have, or a clip shorter than what is asked.
        UnreadableVideo: nothing of the clip decodes, or its source is not the file that was split.
    """
    if width % 2 or height % 2 or min(width, height) < MIN_SIDE_PX:
        raise UserError(
            f"a member of {width}x{height} px was asked for; width and height must be even and at least {MIN_SIDE_PX}"
        )
    rate = Fraction(frame_rate).limit_denominator(1001)
    span = span or member_span(clip, num_frames, frame_rate)
    _check_source(clip)
    earliest_pts = max(clip.start_pts, span.start_pts - math.ceil(LOOK_BACK_S / span.time_base))
    frames = read_frames(clip.uri, span, width, height, num_frames, rate, earliest_pts, crop)
    return _encode(frames, rate, {"crf": str(crf), "preset": preset, "g": str(MEMBER_KEYFRAME_INTERVAL)})


def write_frames(
    frames: Iterable[np.ndarray], frame_rate: float, crf: int = 17, comment: str = "", preset: str = "medium"
) -> bytes:
    """Frames that no source holds, such as a generated sample, as an mp4 that plays everywhere: index in front, BT.709.

    Args:
        frames: uint8 RGB [H, W, 3] each, with even H and W; none is held longer than it takes to encode it.
        comment: text for the file's metadata.
    """
    rate = Fraction(frame_rate).limit_denominator(1001)
    return _encode(iter(frames), rate, {"crf": str(crf), "preset": preset}, faststart=True, comment=comment)


def member_span(clip: Clip, num_frames: int, frame_rate: float) -> Span:
    """The middle part of a clip that lasts num_frames / frame_rate; the middle, as shots begin and end with fades.

    Raises:
        UserError: the clip ends before the last of these frames begins.
    """
    rate = Fraction(frame_rate).limit_denominator(1001)
    wanted_s = num_frames / rate
    spare_s = (clip.end_pts - clip.start_pts) * clip.span.time_base - wanted_s
    if num_frames < 1 or spare_s <= -1 / rate:
        raise UserError(
            f"clip {clip.clip_id} lasts {clip.duration_s:.3f} s, too short for {num_frames} frames at {frame_rate:g} "
            f"per second ({float(wanted_s):.3f} s); ask for fewer frames or raise the gate's least duration"
        )
    skipped = max(0, int(spare_s / 2 / clip.span.time_base))
    length = max(1, round(wanted_s / clip.span.time_base))
    start_pts = clip.start_pts + skipped
    end_pts = start_pts + length if spare_s >= 0 else clip.end_pts
    return Span(start_pts, end_pts, clip.time_base_num, clip.time_base_den)


def _even(size_px: int) -> int:
    return max(2, size_px - size_px % 2)


def _check_source(clip: Clip) -> None:
    found = fingerprint(clip.uri)
    if found != clip.video_id:
        raise UnreadableVideo(
            "source changed", f"{clip.uri} was split as video {clip.video_id} and is now {found}; split it again"
        )


def _encode(
    frames: Iterator[np.ndarray],
    rate: Fraction,
    options: dict[str, str],
    faststart: bool = False,
    comment: str = "",
) -> bytes:
    """RGB frames to mp4 bytes. Through a file, because moving the index to the front reads what was written."""
    first = next(frames)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.mp4"
        container_options = {"fflags": "+bitexact", "use_editlist": "0"} | (
            {"movflags": "+faststart"} if faststart else {}
        )
        with av.open(str(path), "w", options=container_options) as container:
            if comment:
                container.metadata["comment"] = comment
            stream = _add_stream(container, first.shape[1], first.shape[0], rate, options)
            for index, image in enumerate(chain([first], frames)):
                container.mux(stream.encode(_to_yuv(image, index, rate)))
            container.mux(stream.encode())
        return path.read_bytes()


def _add_stream(container: Any, width: int, height: int, rate: Fraction, options: dict[str, str]) -> Any:
    stream = container.add_stream("libx264", rate=rate, options={**options, "bf": "0", "flags": "+cgop"})
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    context = stream.codec_context
    context.thread_count = 1
    context.time_base = 1 / rate
    context.flags |= Flags.bitexact
    context.color_primaries = context.color_trc = context.colorspace = BT709
    context.color_range = LIMITED_RANGE
    return stream


def _to_yuv(image: np.ndarray, index: int, rate: Fraction) -> Any:
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG, threads=1
    )
    frame.pts, frame.time_base = index, 1 / rate
    return frame
