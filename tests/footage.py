"""Test footage, rendered on the spot with PyAV: every frame, cut and defect is known exactly.

    moving_texture(path, seconds=2.0)       one shot: a random texture that drifts a known distance per frame
    shots(path, num_shots=4)                that many shots with hard cuts between them -> Cuts(times, frame indices)
    hard_files(folder)                      the same shots as VFR, edit list, rotated, anamorphic, 10 bit, TS, AV1 ...
    broken_files(folder)                    empty, truncated, renamed text, audio only

All sizes are (width, height) in px. Rendering is seeded, so the same call gives the same pixels. A call takes about
0.1-0.5 s at the default sizes.
"""

import dataclasses
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

BT709 = 1  # value of primaries, transfer and matrix in ITU-T H.273


@dataclass(frozen=True)
class Cuts:
    """Where the shots of a rendered file begin (the first shot included) and where the last one ends."""

    path: Path
    frame_indices: tuple[int, ...]
    starts_s: tuple[float, ...]
    end_s: float
    num_frames: int
    size: tuple[int, int]  # display size: after rotation and sample aspect ratio

    @property
    def num_shots(self) -> int:
        return len(self.frame_indices)


@dataclass(frozen=True)
class Encoding:
    """How a file is written. `times_s` replaces the constant rate by a time for every frame."""

    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    options: dict[str, str] = field(default_factory=lambda: {"preset": "ultrafast", "g": "24", "crf": "18"})
    container_options: dict[str, str] = field(default_factory=dict)
    fps: Fraction = Fraction(24)
    times_s: Sequence[float] | None = None
    sample_aspect_ratio: Fraction = Fraction(1)
    rotation_ccw: int = 0
    title: str = ""


def texture(seed: int, size: tuple[int, int], grain_px: int = 8, hue: int | None = None) -> np.ndarray:
    """A random smooth texture that tiles at its edges, uint8 RGB [H, W, 3]; `hue` (0-179) tints it."""
    width, height = size
    generator = np.random.default_rng(seed)
    coarse = generator.uniform(0, 255, (max(2, height // grain_px), max(2, width // grain_px), 3)).astype(np.float32)
    tiled = np.concatenate([np.concatenate([coarse] * 2, 0)] * 2, 1)
    image = cv2.resize(tiled, (2 * width, 2 * height), interpolation=cv2.INTER_CUBIC)[
        height // 2 : height // 2 + height, width // 2 : width // 2 + width
    ]
    image = np.clip(image, 0, 255).astype(np.uint8)
    if hue is None:
        return image
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = hue
    hsv[..., 1] = 200
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def drift(image: np.ndarray, num_frames: int, step_px: tuple[float, float]) -> Iterator[np.ndarray]:
    """The texture wrapped around and moved by `step_px` (right, down) per frame."""
    height, width = image.shape[:2]
    for index in range(num_frames):
        right, down = step_px[0] * index % width, step_px[1] * index % height
        padded = np.pad(image, ((0, 2), (0, 2), (0, 0)), mode="wrap")
        rolled = np.roll(padded[:height, :width], (int(down), int(right)), (0, 1))
        shift = np.array([[1, 0, right % 1], [0, 1, down % 1]], np.float32)
        yield cv2.warpAffine(rolled, shift, (width, height), borderMode=cv2.BORDER_WRAP)


def write_video(path: Path, frames: Iterable[np.ndarray], encoding: Encoding = Encoding()) -> Path:
    """Encode uint8 RGB frames [H, W, 3]; the container follows the file name's ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=encoding.container_options) as container:
        if encoding.title:
            container.metadata["title"] = encoding.title
        stream: Any = None
        for index, image in enumerate(frames):
            if stream is None:
                stream = _add_stream(container, image.shape[1], image.shape[0], encoding)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if "rgb" not in encoding.pixel_format and "gbr" not in encoding.pixel_format:
                frame = frame.reformat(format=encoding.pixel_format, dst_colorspace=BT709)
            time_base: Fraction = stream.codec_context.time_base
            time_s = index / encoding.fps if encoding.times_s is None else Fraction(encoding.times_s[index])
            frame.pts, frame.time_base = round(time_s / time_base), time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _add_stream(container: Any, width: int, height: int, encoding: Encoding) -> Any:
    stream = container.add_stream(encoding.codec, rate=encoding.fps, options=encoding.options)
    stream.width, stream.height, stream.pix_fmt = width, height, encoding.pixel_format
    context = stream.codec_context
    context.thread_count = 1
    context.time_base = 1 / encoding.fps if encoding.times_s is None else Fraction(1, 12800)
    context.sample_aspect_ratio = encoding.sample_aspect_ratio
    if "rgb" not in encoding.pixel_format and "gbr" not in encoding.pixel_format:
        context.color_primaries = context.color_trc = context.colorspace = BT709
        context.color_range = 1
    if encoding.rotation_ccw:
        stream.set_display_rotation(encoding.rotation_ccw)
    return stream


def moving_texture(
    path: Path,
    seconds: float = 2.0,
    fps: int | Fraction = 24,
    size: tuple[int, int] = (320, 180),
    seed: int = 0,
    step_px: tuple[float, float] = (2.0, 1.0),
    hue: int | None = None,
    text: str = "",
    blur_px: float = 0.0,
    brightness: float = 1.0,
    encoding: Encoding = Encoding(),
) -> Path:
    """One shot: a texture drifting by `step_px` a frame; optionally with burnt-in text, blurred or darkened."""
    image = texture(seed, size, hue=hue)
    if blur_px:
        image = cv2.GaussianBlur(image, (0, 0), blur_px, borderType=cv2.BORDER_WRAP)
    image = np.clip(image * brightness, 0, 255).astype(np.uint8)
    num_frames = round(seconds * fps)
    frames = (with_text(frame, text) for frame in drift(image, num_frames, step_px))
    return write_video(path, frames, dataclasses.replace(encoding, fps=Fraction(fps)))


def with_text(frame: np.ndarray, text: str) -> np.ndarray:
    """The text in white on a black band over the lowest sixth of the picture."""
    if not text:
        return frame
    height, width = frame.shape[:2]
    band = height // 6
    frame = np.ascontiguousarray(frame)
    frame[height - band :] = 0
    scale = band / 40
    cv2.putText(frame, text, (width // 16, height - band // 3), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 2)
    return frame


def shots(
    path: Path,
    num_shots: int = 4,
    seconds_each: float = 1.5,
    fps: int | Fraction = 24,
    size: tuple[int, int] = (320, 180),
    seed: int = 0,
    bar_px: int = 0,
    encoding: Encoding = Encoding(),
) -> Cuts:
    """Shots of equal length with hard cuts; each has its own texture, hue and direction of drift.

    `bar_px` rows at the top and at the bottom are black.
    """
    per_shot = round(seconds_each * fps)
    num_frames = per_shot * num_shots

    def frames() -> Iterator[np.ndarray]:
        for shot in range(num_shots):
            hue = (20 + 70 * shot) % 180
            step = ((1.5, 0.0), (-1.0, 0.5), (0.0, 1.0), (0.5, -1.0))[shot % 4]
            for picture in drift(texture(seed * 1000 + shot, size, hue=hue), per_shot, step):
                picture[:bar_px] = picture[size[1] - bar_px :] = 0
                yield picture

    encoding = dataclasses.replace(encoding, fps=Fraction(fps))
    write_video(path, frames(), encoding)
    times = encoding.times_s or [float(index / encoding.fps) for index in range(num_frames)]
    indices = tuple(range(0, num_frames, per_shot))
    width, height = size
    width = round(width * encoding.sample_aspect_ratio)
    return Cuts(
        path=path,
        frame_indices=indices,
        starts_s=tuple(times[index] for index in indices),
        end_s=times[-1] + float(1 / encoding.fps),
        num_frames=num_frames,
        size=(height, width) if encoding.rotation_ccw % 180 else (width, height),
    )


def uneven_times(num_frames: int, seed: int = 0) -> list[float]:
    """Presentation times with steps of 1/60, 1/24 or 1/10 s at random: a variable frame rate."""
    generator = random.Random(seed)
    times, time_s = [], 0.0
    for _ in range(num_frames):
        times.append(time_s)
        time_s += generator.choice((1 / 60, 1 / 24, 1 / 10))
    return times


def with_edit_list(source: Cuts, path: Path, cut_s: float) -> Cuts:
    """Stream-copy that begins `cut_s` seconds in, between keyframes: an mp4 edit list hides what is decoded before."""
    with av.open(str(source.path)) as reader, av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as out:
        origin = reader.streams.video[0]
        stream = out.add_stream_from_template(origin)
        assert origin.time_base is not None
        offset = round(cut_s / origin.time_base)
        for packet in reader.demux(origin):
            if packet.dts is not None and packet.pts is not None:
                packet.pts, packet.dts = packet.pts - offset, packet.dts - offset
                packet.stream = stream
                out.mux(packet)
    fps = source.num_frames / source.end_s
    hidden = round(cut_s * fps)
    return dataclasses.replace(
        source,
        path=path,
        frame_indices=(0, *(index - hidden for index in source.frame_indices if index > hidden)),
        starts_s=(0.0, *(start_s - cut_s for start_s in source.starts_s if start_s > cut_s)),
        end_s=source.end_s - cut_s,
        num_frames=source.num_frames - hidden,
    )


FAST = {"preset": "ultrafast", "crf": "18", "g": "24"}
B_FRAMES = {"preset": "veryfast", "crf": "18", "g": "30", "bf": "3", "sc_threshold": "0"}
OPEN_GOP = {"preset": "veryfast", "crf": "18", "x264-params": "open-gop=1:keyint=20:min-keyint=20:scenecut=0:bframes=3"}
INTRA_REFRESH = {"preset": "veryfast", "crf": "18", "x264-params": "intra-refresh=1:keyint=24:scenecut=0:ref=3"}
HEVC = {"preset": "ultrafast", "crf": "18", "x265-params": "log-level=error:keyint=24:open-gop=1:bframes=3:pools=1"}
AV1 = {"preset": "12", "crf": "30", "svtav1-params": "lp=1:keyint=24"}
VP9 = {"deadline": "realtime", "cpu-used": "8", "b": "2M", "g": "24"}

HARD: dict[str, tuple[str, Encoding, tuple[int, int]]] = {
    "plain": (".mp4", Encoding(), (320, 180)),
    "b-frames": (".mp4", Encoding(options=B_FRAMES), (320, 180)),
    "open-gop": (".mp4", Encoding(options=OPEN_GOP), (320, 180)),
    "intra-refresh": (".mp4", Encoding(options=INTRA_REFRESH), (320, 180)),
    "one-keyframe": (".mp4", Encoding(options={**B_FRAMES, "g": "9999"}), (320, 180)),
    "mkv": (".mkv", Encoding(options=B_FRAMES), (320, 180)),
    "mpegts": (".ts", Encoding(options=B_FRAMES), (320, 180)),
    "webm-vp9": (".webm", Encoding(codec="libvpx-vp9", options=VP9), (320, 180)),
    "av1": (".mp4", Encoding(codec="libsvtav1", options=AV1), (320, 180)),
    "hevc": (".mp4", Encoding(codec="libx265", options=HEVC), (320, 180)),
    "hevc-10-bit": (".mkv", Encoding(codec="libx265", pixel_format="yuv420p10le", options=HEVC), (320, 180)),
    "h264-10-bit": (".mp4", Encoding(pixel_format="yuv420p10le", options=FAST), (320, 180)),
    "4:2:2": (".mp4", Encoding(pixel_format="yuv422p", options=FAST), (320, 180)),
    "4:4:4": (".mp4", Encoding(pixel_format="yuv444p", options=FAST), (320, 180)),
    "rgb": (".mkv", Encoding(codec="ffv1", pixel_format="bgr0", options={}), (320, 180)),
    "mpeg4-avi": (".avi", Encoding(codec="mpeg4", options={"bf": "2", "b": "4M"}), (320, 180)),
    "odd-size": (".mp4", Encoding(pixel_format="yuv444p", options=FAST), (321, 181)),
    "anamorphic": (".mp4", Encoding(sample_aspect_ratio=Fraction(4, 3)), (240, 180)),
    "rotated-90": (".mp4", Encoding(rotation_ccw=-90), (320, 180)),
    "rotated-270": (".mp4", Encoding(rotation_ccw=90, options=B_FRAMES), (320, 180)),
    "variable-rate": (".mp4", Encoding(options=B_FRAMES, times_s=uneven_times(144)), (320, 180)),
    "variable-rate-mkv": (".mkv", Encoding(options=B_FRAMES, times_s=uneven_times(144, seed=1)), (320, 180)),
    "late-start": (".mkv", Encoding(times_s=[5 + index / 24 for index in range(144)]), (320, 180)),
}
HARD_NAMES = (*HARD, "edit-list")


def hard_file(folder: Path, name: str) -> Cuts:
    """Four shots (144 frames) in one of the forms of HARD_NAMES."""
    if name == "edit-list":
        origin = hard_file(folder, "b-frames")
        return with_edit_list(origin, folder / "edit-list.mp4", cut_s=0.5)
    ending, encoding, size = HARD[name]
    return shots(folder / f"{name.replace(':', '')}{ending}", size=size, encoding=encoding)


def hard_files(folder: Path) -> dict[str, Cuts]:
    """All forms of HARD_NAMES; about 6 s."""
    return {name: hard_file(folder, name) for name in HARD_NAMES}


def audio_only(path: Path, seconds: float = 1.0) -> Path:
    """A tone in AAC, in a container that might hold video."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        num_samples = round(seconds * 48000)
        tone = np.sin(np.arange(num_samples, dtype=np.float32) * (2 * np.pi * 440 / 48000))[None] * 0.1
        for start in range(0, num_samples - 1023, 1024):
            frame = av.AudioFrame.from_ndarray(tone[:, start : start + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def broken_files(folder: Path) -> dict[str, Path]:
    """Files that must end as failures, except "truncated-tail", whose first half still decodes.

    "truncated" lost its index (an mp4 without moov), so nothing of it can be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole = moving_texture(folder / "whole.mp4").read_bytes()
    faststart = Encoding(container_options={"movflags": "faststart"})
    with_index_first = moving_texture(folder / "whole-index-first.mp4", encoding=faststart).read_bytes()
    for leftover in ("whole.mp4", "whole-index-first.mp4"):
        (folder / leftover).unlink()
    contents = {
        "empty": b"",
        "truncated": whole[: len(whole) * 2 // 3],
        "truncated-tail": with_index_first[: len(with_index_first) // 2],
        "text": b"This is a shopping list, not a video.\n" * 50,
        "noise": np.random.default_rng(0).bytes(20_000),
    }
    paths = {name: folder / f"{name}.mp4" for name in contents}
    for name, content in contents.items():
        paths[name].write_bytes(content)
    paths["audio-only"] = audio_only(folder / "audio-only.mp4")
    return paths
