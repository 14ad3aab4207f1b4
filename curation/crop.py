"""Crop: the part of a clip's picture that is worth keeping, without bars at the edges and without subtitle bands.

    luma, all frames --> lowest and highest value of every pixel --> straight edges beside constant bars --+
                                                                                                             +-> Crop
    bgr, a few frames --curation.text--> lines of text in the lower and upper quarter of what is left ------+

A bar has one level, the same in every frame, and ends at a straight line where the picture begins within a pixel or two
in at least one frame. A night sky, a dark subject at the edge or a fade has no such line. Bars may be of any one
brightness and may hold some text; a blurred copy of the picture beside it is no bar. Subtitles are cut off, so that a
clip need not be dropped for them, if little enough is lost (Open-Sora Plan v1.3 cuts up to 0.2 of the height).
Measured at 360 lines, so an edge is known to one 360th of the short side; the crop lies inside of it. About 1 ms a clip
without bars, beside the reading of text.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, Field

from curation.records import Crop, content_id
from curation.scorer import About, ClipFrames
from curation.text import TextLine, TextReader, TextSettings, clip_text, text_lines
from curation.video import FrameSpec

VERSION = "1"
BORDER_FRAMES = FrameSpec(fps=2.0, short_side_px=360)

TOLERANCES = (4, 8, 16)  # grey levels within which a bar is constant: clean, compressed, noisy
MIN_BAR_SHARE = 0.01  # of the side; less is an edge of the sensor, not a bar
MIN_LEFT_SHARE = 0.15  # of the side that the bars must leave
LIT_SHARE = 0.5  # of an edge's pixels that differ from the bar just inside of it, at some time
LIT_SHARE_ALONE = 0.9  # the same for a bar without a twin on the other side
MAX_LIT_OUTSIDE = 0.03  # just outside of the edge, and at the rim
MAX_BLEED = 3  # lines of a bar into which compression smears the picture
MAX_LIT_IN_BAR = 0.25  # the mean within the bar, which may hold text
SUBTITLE_ZONE = 0.25  # of the height, at the bottom and at the top
MIN_LINE_WIDTH = 0.08  # of the picture, less is a number or a small mark
TEXT_MARGIN = 0.012  # of the height, beyond the letters


class CropSettings(BaseModel, frozen=True, extra="forbid"):
    borders: bool = Field(default=True, description="cut off bars of one colour at the edges")
    subtitles: bool = Field(default=False, description="cut off lines of text at the bottom or top; reads text")
    max_cut_share: float = Field(
        default=0.2, gt=0, lt=1, description="most of the height, without bars, that subtitles may cost"
    )
    text: TextSettings = Field(default=TextSettings(), description="how text is read, if subtitles are to be cut off")


@dataclass(frozen=True)
class Bars:
    """Widths of the bars at the four sides, in px of the frames that were looked at; 0 where there is none."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def any(self) -> bool:
        return bool(self.left or self.top or self.right or self.bottom)


def crop_version(settings: CropSettings) -> str:
    """Changes when the same clip may be cropped otherwise."""
    relevant = (settings.borders, settings.subtitles and settings.max_cut_share)
    text = TextReader(settings.text).version if settings.subtitles else ""
    return f"{VERSION}+{content_id(relevant, text)[:8]}"


def crop_specs(settings: CropSettings) -> list[FrameSpec]:
    """The frames that `find_crop` needs."""
    specs = [BORDER_FRAMES] if settings.borders else []
    return [*specs, TextReader(settings.text).frames] if settings.subtitles else specs


def find_crop(
    clip_id: str, frames: Mapping[FrameSpec, ClipFrames], settings: CropSettings, reader: TextReader | None = None
) -> Crop:
    """The crop of one clip, in even display px; the whole picture where nothing is to be cut off.

    Args:
        frames: of `crop_specs`, uncropped.
        reader: made of `settings.text` and loaded; may be None if subtitles stay.
    """
    version = crop_version(settings)
    if not crop_specs(settings):
        raise ValueError("neither borders nor subtitles are to be cut off, so there is no crop to find")
    about = next(frames[spec] for spec in crop_specs(settings)).about
    left, top, right, bottom = 0, 0, about.width, about.height
    reasons = []
    if settings.borders and (bars := bars_of(frames[BORDER_FRAMES])).any:
        left, top, right, bottom = _inside(bars, frames[BORDER_FRAMES], about)
        reasons.append("letterbox")
    if settings.subtitles:
        assert reader is not None
        lines = [line for frame in clip_text(frames[reader.frames], reader) for line in text_lines(frame.boxes)]
        kept = _without_lines(lines, (top / about.height, bottom / about.height), settings.max_cut_share)
        if kept != (top / about.height, bottom / about.height):
            top, bottom = max(top, _even_up(kept[0] * about.height)), min(bottom, _even_down(kept[1] * about.height))
            reasons.append("subtitles")
    width, height = _even_down(right - left), _even_down(bottom - top)
    if not reasons or width < 2 or height < 2:
        return Crop(clip_id, version, 0, 0, about.width, about.height, "")
    return Crop(clip_id, version, left, top, width, height, ", ".join(reasons))


def bars_of(clip: ClipFrames) -> Bars:
    """Bars at the edges of the clip before any crop; computed once, whoever asks."""
    whole = clip.whole or clip
    return whole.once(("bars", VERSION), lambda: _find_bars(whole.luma))


def _find_bars(luma: np.ndarray) -> Bars:
    """Bars of uint8 [T, H, W]."""
    low, high = luma.min(axis=0).astype(np.int16), luma.max(axis=0).astype(np.int16)
    best = Bars(0, 0, 0, 0)
    for level in _rim_levels(low, high):
        away = np.maximum(high - level, level - low)
        for tolerance in TOLERANCES:
            found = _bars_around(away > tolerance)
            if _num_sides(found) > _num_sides(best):
                best = found
    return best


def _rim_levels(low: np.ndarray, high: np.ndarray) -> list[int]:
    """Levels that a whole side of the picture keeps in every frame, different ones."""
    levels: list[int] = []
    for side in (np.s_[1:3], np.s_[-3:-1], np.s_[:, 1:3], np.s_[:, -3:-1]):
        level = int((np.median(low[side]) + np.median(high[side])) / 2)
        is_constant = np.median(high[side] - low[side]) <= 2 * TOLERANCES[-1]
        if is_constant and all(abs(level - known) > TOLERANCES[0] for known in levels):
            levels.append(level)
    return levels


def _bars_around(lit: np.ndarray) -> Bars:
    """Bars around what is lit at some time, bool [H, W]; sides without a straight edge have none."""
    rows, columns = _extent(lit.mean(axis=1)), _extent(lit.mean(axis=0))
    if rows is None or columns is None:
        return Bars(0, 0, 0, 0)
    top, bottom = _bar_pair(lit[:, columns[0] : columns[1]])
    inner = slice(top, lit.shape[0] - bottom) if top or bottom else slice(*rows)
    left, right = _bar_pair(lit[inner].T)
    if lit.shape[1] - left - right < MIN_LEFT_SHARE * lit.shape[1]:
        left = right = 0
    if lit.shape[0] - top - bottom < MIN_LEFT_SHARE * lit.shape[0]:
        top = bottom = 0
    return Bars(left, top, right, bottom)


def _extent(lit_shares: np.ndarray) -> tuple[int, int] | None:
    """First and last (exclusive) line that is not just a bar's noise."""
    lines = np.flatnonzero(lit_shares > MAX_LIT_OUTSIDE)
    return (int(lines[0]), int(lines[-1]) + 1) if len(lines) else None


def _bar_pair(lit: np.ndarray) -> tuple[int, int]:
    """Heights of the bars above and below what is lit, bool [lines, across]."""
    shares = lit.mean(axis=1)
    above, below = _bar_height(shares, LIT_SHARE), _bar_height(shares[::-1], LIT_SHARE)
    if min(above, below) >= 0.5 * max(above, below):
        return above, below
    return _bar_height(shares, LIT_SHARE_ALONE), _bar_height(shares[::-1], LIT_SHARE_ALONE)


def _bar_height(shares: np.ndarray, lit_share: float) -> int:
    """Lines of the bar with which the picture begins, given what share of each line is lit at some time."""
    bright = np.flatnonzero(shares >= LIT_SHARE)
    if not len(bright):
        return 0
    edge, least = int(bright[0]), max(3, round(MIN_BAR_SHARE * len(shares)))
    if edge < least:
        return 0
    inside = shares[edge : edge + 4].max()
    rim = shares[: max(2, edge // 8)].max()
    outside = shares[max(0, edge - MAX_BLEED - 2) : max(1, edge - MAX_BLEED)].max()
    is_straight = inside >= lit_share and max(rim, outside) <= MAX_LIT_OUTSIDE
    return edge if is_straight and shares[:edge].mean() <= MAX_LIT_IN_BAR else 0


def _num_sides(bars: Bars) -> int:
    return sum(side > 0 for side in (bars.left, bars.top, bars.right, bars.bottom))


def _inside(bars: Bars, clip: ClipFrames, about: About) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the picture within the bars, in display px, a little inside of their edges."""
    rows, columns = clip.luma.shape[1:]
    across, down = about.width / columns, about.height / rows
    left = _even_up((bars.left + 1) * across + 1) if bars.left else 0
    top = _even_up((bars.top + 1) * down + 1) if bars.top else 0
    right = _even_down(about.width - (bars.right + 1) * across - 1) if bars.right else about.width
    bottom = _even_down(about.height - (bars.bottom + 1) * down - 1) if bars.bottom else about.height
    return left, top, right, bottom


def _without_lines(lines: Iterable[TextLine], kept: tuple[float, float], max_cut_share: float) -> tuple[float, float]:
    """Top and bottom of what is left without the lines in its outer quarters; `kept` itself if that costs too much."""
    top, bottom = kept
    height = bottom - top
    low, high = top, bottom
    for line in lines:
        middle = (line.middle[1] - top) / height
        if line.right - line.left < MIN_LINE_WIDTH:
            continue
        if 1 - SUBTITLE_ZONE <= middle <= 1:
            high = min(high, line.top - TEXT_MARGIN)
        elif 0 <= middle <= SUBTITLE_ZONE:
            low = max(low, line.bottom + TEXT_MARGIN)
    return (low, high) if (low - top) + (bottom - high) <= max_cut_share * height else kept


def _even_up(value: float) -> int:
    return int(-(-value // 2)) * 2


def _even_down(value: float) -> int:
    return int(value // 2) * 2
