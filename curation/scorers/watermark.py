"""Watermark: the share of the picture covered by text or logos that stay in a corner, 0 to 1.

    luma, all frames --> gradients that keep direction and strength, all around changes --> blobs in corners --+
    curation.text    --> text in a corner, at one place in two thirds of the frames read ----------------------+-> area

An edge persists if it is there in 0.9 of the frames with one direction. A blob of such edges is a mark only if the
pixels around it change by 24 grey levels and more: a mark lies before the scene, a lamp in it. Where more than a tenth
of the edges outside of the corners persist too, the camera stands still and nothing tells the two apart: then, and
with fewer than four frames, only text counts. A corner is a third of the width and a quarter of
the height. Half-transparent marks are found as far as they leave an edge in every frame. Marks cover 0.002-0.02.
"""

import math
from typing import ClassVar

import cv2
import numpy as np
from pydantic import BaseModel, Field

from curation.drawing import captioned, marked, sheet, spread
from curation.scorer import ClipFrames, Direction
from curation.text import TextBox, TextJudge, TextReader, TextSettings, clip_text, in_kept_part

CORNER_WIDTH, CORNER_HEIGHT = 0.34, 0.25
EDGE_LEVELS = 8.0  # grey levels per px
MIN_FRAMES = 4
MAX_STILL_SHARE = 0.1  # of the edges outside of the corners
MIN_CHANGE_LEVELS, RING_PX = 24, 8  # of half of the pixels around a mark, over the clip
CLOSING_PX = 9  # letters of a mark are no further apart
MIN_MARK_SHARE, MAX_MARK_SHARE = 0.0004, 0.04  # of the picture
MIN_EDGE_PX, MIN_EDGE_SHARE = 30, 0.2  # of the mark's box: 0.4-0.6 for text, below 0.2 for what stays by chance


class WatermarkSettings(TextSettings, frozen=True, extra="forbid"):
    persistence: float = Field(default=0.9, gt=0.5, le=1, description="share of frames in which an edge must stand")


class WatermarkScorer(TextJudge):
    settings_class: ClassVar[type[BaseModel]] = WatermarkSettings
    direction: ClassVar[Direction] = "lower is better"
    unit: ClassVar[str] = "share of the picture"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 0.05

    def __init__(self, settings: WatermarkSettings) -> None:
        self.settings = settings
        super().__init__(settings)
        self.version = f"1.{self._reader.version}-{settings.persistence:g}"

    def __call__(self, clip: ClipFrames) -> float:
        return float(self._marks(clip).mean())

    def draw(self, clip: ClipFrames) -> np.ndarray:
        assert clip.bgr is not None
        marks = self._marks(clip)
        shown = [marked(clip.bgr[index], marks) for index in spread(len(clip.bgr), 2)]
        edges = _standing_edges(clip.luma, self.settings.persistence) & ~_outside_corners(marks.shape)
        pictures = [*shown, marked(np.zeros_like(clip.luma[0]), edges)]
        texts = [f"{float(marks.mean()):.4f} marks", "last frame", "edges that stay"]
        return sheet(
            [captioned(picture, text) for picture, text in zip(pictures, texts[-len(pictures) :], strict=True)], 3, 480
        )

    def _marks(self, clip: ClipFrames) -> np.ndarray:
        """Which pixels of the kept part are watermark, bool [H, W]."""
        marks = clip.once(
            ("marks", self.settings.persistence), lambda: _standing_marks(clip.luma, self.settings.persistence)
        ).astype(np.uint8)
        rows, columns = marks.shape
        for corners in _standing_text(clip, self._reader):
            cv2.fillPoly(marks, [np.rint(corners * [columns, rows]).astype(np.int32)], 1)
        return marks.astype(bool)


def _standing_text(clip: ClipFrames, reader: TextReader) -> list[np.ndarray]:
    """Corners [4, 2], in shares of the kept part, of text that stands in one corner in most of the frames read."""
    read = clip_text(clip, reader)
    needed = max(1, math.ceil(2 * len(read) / 3))
    found = []
    for frame in read:
        for box in frame.boxes:
            seen = sum(any(_are_one(box, other) for other in each.boxes) for each in read)
            corners = in_kept_part(clip, box.corners)
            across, down = corners.mean(axis=0)
            if seen >= needed and _is_corner(across, CORNER_WIDTH) and _is_corner(down, CORNER_HEIGHT):
                found.append(corners)
    return found


def _is_corner(middle: float, size: float) -> bool:
    return 0 <= middle <= size or 1 - size <= middle <= 1


def _are_one(box: TextBox, other: TextBox) -> bool:
    """Whether two boxes share more than half of what they cover."""
    left, top, right, bottom = box.edges
    other_left, other_top, other_right, other_bottom = other.edges
    width = min(right, other_right) - max(left, other_left)
    height = min(bottom, other_bottom) - max(top, other_top)
    if width <= 0 or height <= 0:
        return False
    both = (right - left) * (bottom - top) + (other_right - other_left) * (other_bottom - other_top)
    return width * height > 0.5 * (both - width * height)


def _standing_marks(luma: np.ndarray, persistence: float) -> np.ndarray:
    """Blobs of edges that stay in a corner of a picture that moves, bool [H, W]."""
    marks = np.zeros(luma.shape[1:], bool)
    if len(luma) < MIN_FRAMES:
        return marks
    standing, outside = _standing_edges(luma, persistence), _outside_corners(marks.shape)
    edges = cv2.magnitude(*_gradient(luma[len(luma) // 2])) > EDGE_LEVELS
    if standing[outside].sum() > MAX_STILL_SHARE * edges[outside].sum():
        return marks
    change = cv2.subtract(luma.max(axis=0), luma.min(axis=0))
    kernel = np.ones((CLOSING_PX, CLOSING_PX), np.uint8)
    blobs = cv2.morphologyEx((standing & ~outside).astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(blobs)
    for label in range(1, count):
        left, top, width, height, _area = stats[label]
        touches = left == 0 or top == 0 or left + width == marks.shape[1] or top + height == marks.shape[0]
        share = width * height / marks.size
        within = np.s_[top : top + height, left : left + width]
        if touches or not MIN_MARK_SHARE <= share <= MAX_MARK_SHARE:
            continue
        num_edge_px = int((standing[within] & (labels[within] == label)).sum())
        is_dense = num_edge_px >= max(MIN_EDGE_PX, MIN_EDGE_SHARE * width * height)
        if is_dense and _median_around(change, within) >= MIN_CHANGE_LEVELS:
            marks[within] = True
    return marks


def _standing_edges(luma: np.ndarray, persistence: float) -> np.ndarray:
    """Pixels whose gradient is there in most frames, always in about the same direction, bool [H, W]."""
    num_strong = np.zeros(luma.shape[1:], np.float32)
    total_x, total_y, total = (np.zeros(luma.shape[1:], np.float32) for _ in range(3))
    for picture in luma:
        across, down = _gradient(picture)
        strength = cv2.magnitude(across, down)
        num_strong += strength > EDGE_LEVELS
        total_x, total_y, total = total_x + across, total_y + down, total + strength
    is_one_way = cv2.magnitude(total_x, total_y) >= 0.8 * total
    return (num_strong >= persistence * len(luma)) & is_one_way


def _gradient(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Grey levels per px to the right and down, float32 [H, W]."""
    return (cv2.Sobel(picture, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(picture, cv2.CV_32F, 0, 1, scale=1 / 8))


def _median_around(values: np.ndarray, within: tuple[slice, slice]) -> float:
    """Median of values [H, W] in a ring around a part of them, a little away from it."""
    rows, columns = within
    ring = np.zeros(values.shape, bool)
    for width_px, is_ring in ((RING_PX + 3, True), (3, False)):
        ring[
            max(0, rows.start - width_px) : rows.stop + width_px,
            max(0, columns.start - width_px) : columns.stop + width_px,
        ] = is_ring
    return float(np.median(values[ring]))


def _outside_corners(shape: tuple[int, ...]) -> np.ndarray:
    rows, columns = shape
    outside = np.ones((rows, columns), bool)
    height, width = round(CORNER_HEIGHT * rows), round(CORNER_WIDTH * columns)
    for vertical in (np.s_[:height], np.s_[rows - height :]):
        for across in (np.s_[:width], np.s_[columns - width :]):
            outside[vertical, across] = False
    return outside
