"""Reading text in frames, once per clip, for the crop and for every scorer that asks about text.

    bgr at 360 lines --spread--> edges like letters'? --PP-OCRv4 detection--> boxes --recognition--> plausible?

A box counts as text if it reads: at least two letters or digits, a confidence of 0.6, and no taller than letters so few
could be. Detection alone fires on trees, faces and windows; over 253 frames of real and rendered footage without
overlaid text these rules left no reading, over a further 91 one ("ADMEDA", 0.64). One frame costs 75 ms on a core
without text and 230 ms with two lines, so few are read: three spread over a clip, less those that equal one already
read and those without a place where a third of the pixels are edges (a fifth of all frames without text; none of 190
frames with rendered text of 9-28 px, whose lowest was 0.39). Looking first at 224 lines would be cheaper still, but
lost a quarter of those texts. The models come inside the package `rapidocr-onnxruntime`; the method is Liao et al. 2020
("Real-time Scene Text Detection with Differentiable Binarization").
"""

import functools
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from pydantic import BaseModel, Field

from curation.drawing import spread
from curation.scorer import ClipFrames
from curation.video import FrameSpec

VERSION = "2"
MIN_CHARACTERS = 2
MIN_ASPECT_OF_CHARACTER = 0.3  # of a box, per character: narrow capitals have 0.4
EDGE_LEVELS, EDGE_WINDOW_PX, MIN_EDGE_SHARE = 24, (24, 10), 0.3
SAME_LEVELS = 6.0  # mean difference that no window of two equal pictures exceeds
MAX_SLOPE = 0.1  # of a line of overlaid text


class TextSettings(BaseModel, frozen=True, extra="forbid"):
    fps: float = Field(
        default=1.0, gt=0, description="frames per second to choose from; the first is always among them"
    )
    max_frames: int = Field(
        default=3, ge=1, description="frames read at most, spread over the clip, both ends included"
    )
    short_side_px: int = Field(default=360, ge=64, description="size at which text is sought; 480 takes twice as long")
    min_confidence: float = Field(default=0.6, ge=0, le=1, description="of the reading, from which on it is text")
    num_threads: int = Field(default=1, ge=1, description="threads of the network; as many as the worker has cores")


@dataclass(frozen=True)
class TextBox:
    """One piece of text; `corners` are (x, y) in shares of the picture's width and height, clockwise from top left."""

    corners: tuple[tuple[float, float], ...]
    text: str
    confidence: float

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom, in shares of the picture."""
        columns, rows = zip(*self.corners, strict=True)
        return min(columns), min(rows), max(columns), max(rows)

    @property
    def is_level(self) -> bool:
        """Whether it is written along the picture's lower edge, as overlays are."""
        (left, top), (right, also_top) = self.corners[:2]
        return abs(also_top - top) <= MAX_SLOPE * max(right - left, 1e-9)


@dataclass(frozen=True)
class ReadFrame:
    """A frame that was looked at: its index among the clip's frames, and what stands in it."""

    index: int
    boxes: tuple[TextBox, ...]


@dataclass(frozen=True)
class TextLine:
    """Level boxes side by side; in shares of the picture."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def middle(self) -> tuple[float, float]:
        """x and y."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2


class TextReader:
    """RapidOCR with one setting of what counts as text; `load` before `read`. Readers share the loaded networks."""

    def __init__(self, settings: TextSettings) -> None:
        self.settings = settings
        self.frames = FrameSpec(settings.fps, settings.short_side_px, planes="bgr")
        self.version = (
            f"{VERSION}/{settings.fps:g}fps-{settings.max_frames}frames-{settings.short_side_px}px-"
            f"{settings.min_confidence:g}"
        )
        self._engine: Any = None

    def missing(self) -> str | None:
        if importlib.util.find_spec("rapidocr_onnxruntime") is None:
            return (
                "the package rapidocr-onnxruntime is not installed: pip install --no-deps rapidocr-onnxruntime==1.4.4 "
                "(--no-deps, because it asks for an opencv-python that overwrites opencv-python-headless)"
            )
        return None

    def load(self) -> None:
        self._engine = _engine(self.settings.short_side_px, self.settings.num_threads)

    def read(self, picture: np.ndarray) -> list[TextBox]:
        """The text in a BGR picture [H, W, 3], top to bottom."""
        if not has_letter_edges(picture):
            return []
        height, width = picture.shape[:2]
        found, _ = self._engine(picture)
        boxes = [
            TextBox(tuple((float(x) / width, float(y) / height) for x, y in corners), text.strip(), float(confidence))
            for corners, text, confidence in found or []
        ]
        return [box for box in boxes if self._is_plausible(box, width / height)]

    def _is_plausible(self, box: TextBox, picture_aspect: float) -> bool:
        num_characters = sum(character.isalnum() for character in box.text)
        left, top, right, bottom = box.edges
        long, short = (right - left) * picture_aspect, bottom - top
        if long < short / 1.5:  # an upright column, which is read turned
            long, short = short, long
        return (
            box.confidence >= self.settings.min_confidence
            and num_characters >= MIN_CHARACTERS
            and 2 * num_characters >= len(box.text)
            and long >= MIN_ASPECT_OF_CHARACTER * num_characters * short
        )


class TextJudge:
    """What scorers of text share: the reader, and with it the frames and what may be missing."""

    def __init__(self, settings: TextSettings) -> None:
        self._reader = TextReader(settings)
        self.frames = self._reader.frames

    def missing(self) -> str | None:
        return self._reader.missing()

    def load(self) -> None:
        self._reader.load()


def clip_text(clip: ClipFrames, reader: TextReader) -> list[ReadFrame]:
    """What stands in a few frames of the clip, before any crop; read once, whoever asks. Needs `bgr`."""
    whole = clip.whole or clip
    return whole.once(("text", reader.version), lambda: _read_spread(whole, reader))


def text_lines(boxes: Sequence[TextBox]) -> list[TextLine]:
    """Level boxes as lines, from top to bottom; boxes whose heights overlap by half stand in one line."""
    lines: list[TextLine] = []
    for left, top, right, bottom in sorted(
        (box.edges for box in boxes if box.is_level), key=lambda edges: (edges[1], edges[0])
    ):
        for index, line in enumerate(lines):
            shared = min(bottom, line.bottom) - max(top, line.top)
            if shared >= 0.5 * min(bottom - top, line.bottom - line.top):
                lines[index] = TextLine(
                    min(left, line.left), min(top, line.top), max(right, line.right), max(bottom, line.bottom)
                )
                break
        else:
            lines.append(TextLine(left, top, right, bottom))
    return lines


def in_kept_part(clip: ClipFrames, corners: Sequence[tuple[float, float]]) -> np.ndarray:
    """Points in shares of the whole picture as shares of the part that the clip's crop keeps, float64 [N, 2]."""
    points, about = np.array(corners, np.float64), clip.about
    if clip.whole is None or about.crop is None:
        return points
    scale = np.array([about.width, about.height])
    return (points * scale - [about.crop.left, about.crop.top]) / [about.crop.width, about.crop.height]


def has_letter_edges(picture: np.ndarray) -> bool:
    """Whether some window of a BGR picture is as full of edges as text makes it; about 1 ms."""
    luma = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    edges = cv2.morphologyEx(luma, cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8)) > EDGE_LEVELS
    return float(cv2.blur(edges.astype(np.float32), EDGE_WINDOW_PX).max()) >= MIN_EDGE_SHARE


def _read_spread(clip: ClipFrames, reader: TextReader) -> list[ReadFrame]:
    assert clip.bgr is not None
    read: list[ReadFrame] = []
    for index in spread(len(clip.bgr), reader.settings.max_frames):
        same = next((each for each in read if _look_equal(clip.luma[each.index], clip.luma[index])), None)
        read.append(ReadFrame(index, same.boxes if same else tuple(reader.read(clip.bgr[index]))))
    return read


def _look_equal(luma: np.ndarray, other: np.ndarray) -> bool:
    """Whether two pictures [H, W] differ nowhere by more than noise, in windows of the size of a word."""
    return float(cv2.blur(cv2.absdiff(luma, other).astype(np.float32), EDGE_WINDOW_PX).max()) < SAME_LEVELS


@functools.cache
def _engine(short_side_px: int, num_threads: int) -> Any:
    from rapidocr_onnxruntime import RapidOCR

    return RapidOCR(
        use_cls=False,
        det_limit_side_len=short_side_px,
        text_score=0.0,
        intra_op_num_threads=num_threads,
        inter_op_num_threads=1,
    )
