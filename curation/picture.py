"""Turn decoded frames into small or full pictures: upright, square pixels, full range, right colours.

    yuv planes --halve, halve, LINEAR--> small planes --rotate--> luma [h, w] and, if asked, bgr [h, w, 3]
    any other format --swscale--> rgb24 --> the same

Shrinking planes before converting colours is what makes a scan cost little more than the decode: at 720p to 256x144
one plane takes 0.09 ms (LINEAR alone 0.07, AREA 0.59; decoding 1.8 ms), at 1080p 0.25 ms (LINEAR 0.12, AREA 5.7).
Halving by 2x2 means costs as little as LINEAR and does not alias, so noise stays noise and texture stays texture.

Colours: the tag of the frame decides; untagged footage is read as players do, BT.709 from 720 lines up, else BT.601.
High dynamic range is not tone-mapped.
"""

import functools
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation

from curation.records import Crop

MAX_ASPECT = 8  # a small picture is never wider than this times its short side, so that odd files stay cheap

_PLANAR_8_BIT = {"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p"}
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_HD_LINES = 720
# ITU-T H.273 matrix code -> swscale's name and the weights of red and blue in luma
_MATRICES = {
    1: (Colorspace.ITU709, 0.2126, 0.0722),
    4: (Colorspace.FCC, 0.30, 0.11),
    5: (Colorspace.ITU601, 0.299, 0.114),
    6: (Colorspace.ITU601, 0.299, 0.114),
    7: (Colorspace.SMPTE240M, 0.212, 0.087),
    9: (Colorspace.BT2020, 0.2627, 0.0593),
    10: (Colorspace.BT2020, 0.2627, 0.0593),
}
_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


@dataclass(frozen=True)
class Geometry:
    """How coded pixels become a picture: rotated, then mirrored left to right; `pixel_aspect` is width : height."""

    coded_width: int
    coded_height: int
    pixel_aspect: Fraction = Fraction(1)
    rotation: int = 0  # 0, 90, 180 or 270 degrees clockwise
    mirrored: bool = False
    _small_sizes: dict[int, tuple[int, int]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def turned(self) -> bool:
        return self.rotation % 180 == 90

    @property
    def size(self) -> tuple[int, int]:
        """Display width and height in px; the pixels are stretched, never squeezed, to become square."""
        width, height = self.coded_width, self.coded_height
        if self.pixel_aspect >= 1:
            width = max(1, round(width * self.pixel_aspect))
        else:
            height = max(1, round(height / self.pixel_aspect))
        return (height, width) if self.turned else (width, height)

    def small_size(self, short_side_px: int) -> tuple[int, int]:
        """Width and height of the picture whose short side has the given length."""
        if short_side_px not in self._small_sizes:  # asked for every frame, and fractions are slow
            width, height = self.size
            scale = short_side_px / min(width, height)
            limit = MAX_ASPECT * short_side_px
            small = min(limit, max(1, round(width * scale))), min(limit, max(1, round(height * scale)))
            self._small_sizes[short_side_px] = small
        return self._small_sizes[short_side_px]

    def upright(self, image: np.ndarray) -> np.ndarray:
        if self.rotation:
            image = cv2.rotate(image, _TURNS[self.rotation])
        return cv2.flip(image, 1) if self.mirrored else image


def orientation(frame: Any) -> tuple[int, bool]:
    """Clockwise rotation (a multiple of 90 degrees) and mirroring that the frame's display matrix asks for."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return 0, False
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].astype(np.int64)
    mirrored = bool(a * d - b * c < 0)
    if mirrored:
        a, c = -a, -c
    return round(float(np.degrees(np.arctan2(b, a))) / 90) % 4 * 90, mirrored


class Halves:
    """The planes of one frame, shrunk by halving; pictures of several sizes share the halves."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self._levels: dict[int, list[np.ndarray]] = {}

    def shrunk(self, index: int, size: tuple[int, int]) -> np.ndarray:
        """Plane `index` at (width, height)."""
        if index not in self._levels:
            self._levels[index] = [_plane(self._frame, index)]
        return shrink(self._levels[index], size)


def shrink(halves: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """A plane at (width, height): halved by exact 2x2 means while that is possible, then LINEAR.

    `halves` begins with the plane; what it is halved to is added, for the next size.
    """
    width, height = size
    level, plane = 0, halves[0]
    while plane.shape[0] >= 2 * height and plane.shape[1] >= 2 * width:
        level += 1
        if level == len(halves):
            rows, columns = plane.shape[0] // 2, plane.shape[1] // 2
            even = plane[: 2 * rows, : 2 * columns]
            halves.append(cv2.resize(even, (columns, rows), interpolation=cv2.INTER_AREA))
        plane = halves[level]
    if plane.shape == (height, width):
        return plane
    return cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)


def small_picture(
    frame: Any, geometry: Geometry, short_side_px: int, with_bgr: bool, halves: Halves | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Luma uint8 [h, w] (0 black, 255 white) and BGR uint8 [h, w, 3] or None, upright, in memory of their own.

    `halves` of the same frame may be given, so that pictures of several sizes share them.
    """
    width, height = geometry.small_size(short_side_px)
    size = (height, width) if geometry.turned else (width, height)
    if frame.format.name not in _PLANAR_8_BIT or frame.planes[0].line_size < frame.width:
        rgb = _to_rgb(frame, size)
        _, red, blue = _MATRICES[_matrix_code(frame)]
        luma = cv2.transform(rgb, np.array([[red, 1 - red - blue, blue]], np.float32))
        bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    else:
        full_range = frame.color_range == _FULL_RANGE or frame.format.name.startswith("yuvj")
        halves = halves or Halves(frame)
        y = halves.shrunk(0, size)
        luma = y.copy() if full_range else cv2.LUT(y, _expansion())
        bgr = None
        if with_bgr:
            yuv = cv2.merge([y, halves.shrunk(1, size), halves.shrunk(2, size)])
            _, red, blue = _MATRICES[_matrix_code(frame)]
            bgr = cv2.transform(yuv, _yuv_to_bgr(red, blue, full_range))
    return geometry.upright(luma), geometry.upright(bgr) if with_bgr and bgr is not None else None


def full_picture(frame: Any, geometry: Geometry, width: int, height: int, crop: Crop | None = None) -> np.ndarray:
    """RGB uint8 [height, width, 3]: upright, the largest centred part of that shape, by AREA (CUBIC if enlarged).

    With a crop, the largest centred part of what it keeps.
    """
    image = geometry.upright(_to_rgb(frame, (frame.width, frame.height)))
    display_width, display_height = geometry.size
    if crop is not None:
        image = image[crop_slices(crop, image.shape[:2], geometry.size)]
        display_width, display_height = crop.width, crop.height
    rows, columns = image.shape[:2]
    scale = min(display_width / width, display_height / height)
    crop_columns = min(columns, max(1, round(width * scale * columns / display_width)))
    crop_rows = min(rows, max(1, round(height * scale * rows / display_height)))
    left, top = (columns - crop_columns) // 2, (rows - crop_rows) // 2
    part = image[top : top + crop_rows, left : left + crop_columns]
    if part.shape[:2] == (height, width):
        return np.ascontiguousarray(part)
    shrinking = width * height < crop_rows * crop_columns
    return cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC)


def crop_slices(crop: Crop, shape: tuple[int, int], size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns that a crop keeps of a picture of `shape` (rows, columns) that shows `size` (width, height)."""
    (rows, columns), (width, height) = shape, size
    top, bottom = (round(edge * rows / height) for edge in (crop.top, crop.top + crop.height))
    left, right = (round(edge * columns / width) for edge in (crop.left, crop.left + crop.width))
    return slice(top, max(bottom, top + 1)), slice(left, max(right, left + 1))


def _plane(frame: Any, index: int) -> np.ndarray:
    plane = frame.planes[index]
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]


def _to_rgb(frame: Any, size: tuple[int, int]) -> np.ndarray:
    shrinking = size[0] < frame.width and size[1] < frame.height
    colorspace = _MATRICES[_matrix_code(frame)][0]
    picture = frame.reformat(
        width=size[0],
        height=size[1],
        format="rgb24",
        src_colorspace=colorspace,
        dst_colorspace=colorspace,
        dst_color_range=ColorRange.JPEG,
        interpolation=Interpolation.AREA if shrinking else Interpolation.BICUBIC,
        threads=1,
    )
    return picture.to_ndarray()


def _matrix_code(frame: Any) -> int:
    code = int(frame.colorspace)
    if code in _MATRICES:
        return code
    return 1 if frame.height >= _HD_LINES else 6


@functools.cache
def _expansion() -> np.ndarray:
    """Limited range 16-235 to 0-255."""
    return np.clip(np.rint((np.arange(256) - 16) * (255 / 219)), 0, 255).astype(np.uint8)


@functools.cache
def _yuv_to_bgr(red: float, blue: float, full_range: bool) -> np.ndarray:
    """The 3x4 affine map from 8-bit Y, Cb, Cr to B, G, R (ITU-R BT.601 and BT.709, sections on the inverse)."""
    green = 1 - red - blue
    chroma = np.array(
        [
            [1, 2 * (1 - blue), 0],
            [1, -2 * blue * (1 - blue) / green, -2 * red * (1 - red) / green],
            [1, 0, 2 * (1 - red)],
        ]
    )
    scale = np.array([1, 1, 1]) if full_range else np.array([255 / 219, 255 / 224, 255 / 224])
    offset = np.array([0 if full_range else 16, 128, 128])
    matrix = chroma * scale
    return np.column_stack([matrix, -matrix @ offset]).astype(np.float32)


def opened_geometry(stream: Any, first_frame: Any) -> Geometry:
    """Geometry of a stream, from its header and the display matrix on its first decoded frame."""
    context = stream.codec_context
    aspect = stream.sample_aspect_ratio or context.sample_aspect_ratio
    rotation, mirrored = orientation(first_frame)
    return Geometry(
        coded_width=context.width or first_frame.width,
        coded_height=context.height or first_frame.height,
        pixel_aspect=Fraction(aspect) if aspect else Fraction(1),
        rotation=rotation,
        mirrored=mirrored,
    )
