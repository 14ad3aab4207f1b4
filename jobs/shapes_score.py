"""What a video of the toy set shows: the colour, shape and direction of its one shape, read off the pixels.

    frames --saturation--> how much each pixel belongs to the shape --colour: nearest of four
                                                                    --shape: best fitting of three of that area
                                                                    --direction: way of the centre of mass

No learned part, so it cannot have been trained on what it judges. Of 480 drawn scenes at 32 and at 64 px it names all
three right in every one; on the same clips with shuffled captions it scores what guessing scores (tests hold fewer
scenes to both, straight from the drawing and from the packed file).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from jobs.shapes import COLOURS, DIRECTIONS, DISTANCES, SHAPES

FULL_SATURATION = 110.0  # largest minus smallest channel of a pixel that is the shape's for sure; the palette's: 185 on
NO_SATURATION = 40.0
LEAST_COVER = 0.008  # share of the frame that must be coloured for there to be a shape at all
LEAST_WAY = 0.06  # share of the frame's side that must be covered for there to be a direction
CHANCE = {"colour": 1 / len(COLOURS), "shape": 1 / len(SHAPES), "direction": 1 / len(DIRECTIONS)}
UNSEEN = ""


@dataclass(frozen=True)
class Seen:
    """What was seen; an empty name where nothing was."""

    colour: str
    shape: str
    direction: str


@dataclass(frozen=True)
class Rate:
    """`hits` of `tries`, with the 95% interval of the true rate (Wilson) and what guessing would reach."""

    name: str
    hits: int
    tries: int
    chance: float

    @property
    def rate(self) -> float:
        return self.hits / self.tries

    @property
    def interval(self) -> tuple[float, float]:
        z, n, p = 1.96, self.tries, self.rate
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)

    @property
    def beats_chance(self) -> bool:
        return self.interval[0] > self.chance


def see(frames: np.ndarray) -> Seen:
    """Look at one clip, uint8 RGB [T, H, W, 3]; a clip of one frame has no direction."""
    pixels = frames.astype(np.float64)
    saturation = pixels.max(axis=3) - pixels.min(axis=3)
    cover_THW = np.clip((saturation - NO_SATURATION) / (FULL_SATURATION - NO_SATURATION), 0, 1)
    cover_THW = np.stack([_largest_part(cover) for cover in cover_THW])
    shown = cover_THW.mean(axis=(1, 2)) >= LEAST_COVER
    if not shown.any():
        return Seen(UNSEEN, UNSEEN, UNSEEN)
    times = np.flatnonzero(shown)
    centres = np.array([_centre(cover_THW[time]) for time in times])
    return Seen(
        _colour(pixels[shown], cover_THW[shown]), _shape(cover_THW[shown], centres), _direction(times, centres, frames)
    )


def _largest_part(cover_HW: np.ndarray) -> np.ndarray:
    """The cover without what does not hang together with its largest part."""
    import cv2

    count, labels, facts, _ = cv2.connectedComponentsWithStats((cover_HW > 0.25).astype(np.uint8), connectivity=8)
    if count < 2:
        return np.zeros_like(cover_HW)
    return cover_HW * (labels == 1 + int(np.argmax(facts[1:, cv2.CC_STAT_AREA])))


def _centre(cover_HW: np.ndarray) -> tuple[float, float]:
    """Centre of mass (x, y) in shares of the frame."""
    height, width = cover_HW.shape
    y, x = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    total = cover_HW.sum()
    return float(cover_HW.sum(axis=0) @ x / total), float(cover_HW.sum(axis=1) @ y / total)


def _colour(pixels_THWC: np.ndarray, cover_THW: np.ndarray) -> str:
    """The palette's colour of nearest hue, whatever the brightness."""
    mean = (pixels_THWC * cover_THW[..., None]).sum(axis=(0, 1, 2))
    chroma = _chroma(mean)
    return min(COLOURS, key=lambda name: float(np.linalg.norm(chroma - _chroma(np.array(COLOURS[name], float)))))


def _chroma(rgb: np.ndarray) -> np.ndarray:
    """Direction of a colour away from grey."""
    away = rgb - rgb.mean()
    return away / max(float(np.linalg.norm(away)), 1e-9)


def _shape(cover_THW: np.ndarray, centres: np.ndarray) -> str:
    """The shape that overlaps best when it is drawn at the same place with the same area, over all frames."""
    _, height, width = cover_THW.shape
    x, y = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    overlap = dict.fromkeys(SHAPES, 0.0)
    for cover, (centre_x, centre_y) in zip(cover_THW, centres, strict=True):
        radius = math.sqrt(cover.mean() / math.pi)
        for shape in SHAPES:
            drawn = np.clip(0.5 - DISTANCES[shape](x - centre_x, y - centre_y, radius) * width, 0, 1)
            overlap[shape] += float(np.minimum(cover, drawn).sum() / np.maximum(cover, drawn).sum())
    return max(overlap, key=lambda shape: overlap[shape])


def _direction(times: np.ndarray, centres: np.ndarray, frames: np.ndarray) -> str:
    """The axis and sign of the straight line through the centres over time."""
    if len(times) < 2:
        return UNSEEN
    away = times - times.mean()
    way = away @ centres / float(away @ away) * (len(frames) - 1)
    if np.abs(way).max() < LEAST_WAY:
        return UNSEEN
    return max(DIRECTIONS, key=lambda name: float(way @ np.array(DIRECTIONS[name], float)))


def score(asked: Sequence[Seen], seen: Iterable[Seen]) -> list[Rate]:
    """How often each attribute that was asked for was seen, and how often all of them together.

    An attribute that no prompt names (the direction of stills) is left out.
    """
    pairs = list(zip(asked, seen, strict=True))
    rates, all_chance = [], 1.0
    for name, chance in CHANCE.items():
        asked_for = [(getattr(a, name), getattr(b, name)) for a, b in pairs if getattr(a, name)]
        if asked_for:
            rates.append(Rate(name, sum(a == b for a, b in asked_for), len(asked_for), chance))
            all_chance *= chance
    whole = sum(all(not getattr(a, name) or getattr(a, name) == getattr(b, name) for name in CHANCE) for a, b in pairs)
    return [*rates, Rate("all", whole, len(pairs), all_chance)]
