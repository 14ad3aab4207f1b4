"""Rendered films whose every transition is known to the frame: hard cuts, fades through black, dissolves, flashes.

    cut_film(path, ["hard", "dissolve", "fade"])    four shots of drifting texture with these transitions in between
    cut_film(path, [], flashes=True)                one shot with a two-frame flash of light, which is no cut

Shot k is a texture of its own hue, contrast and drift. Seeded; 0.3-1 s a film at the default size.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from tests.footage import Encoding, drift, texture, write_video

Kind = str  # "hard", "fade" or "dissolve"


@dataclass(frozen=True)
class Transition:
    """Frames [first, last] are each an acceptable first frame of the new shot; equal for a hard cut."""

    kind: Kind
    first: int
    last: int


@dataclass(frozen=True)
class CutFilm:
    path: Path
    transitions: tuple[Transition, ...]
    num_frames: int


def cut_film(
    path: Path,
    kinds: Sequence[Kind],
    seconds_each: float = 2.0,
    transition_s: float = 1.0,
    fps: int = 24,
    size: tuple[int, int] = (256, 144),
    seed: int = 0,
    flashes: bool = False,
) -> CutFilm:
    """Shots of `seconds_each` that show nothing else, with transitions of `transition_s` in between."""
    num_shot, num_mixed = round(seconds_each * fps), round(transition_s * fps)
    streams = [_shot(seed * 100 + shot, size) for shot in range(len(kinds) + 1)]
    transitions: list[Transition] = []
    pictures: list[np.ndarray] = []
    for shot, stream in enumerate(streams):
        body = list(itertools.islice(stream, num_shot))
        if flashes:
            for index in (num_shot // 2, num_shot // 2 + 1):
                body[index] = (body[index] * 0.2 + 0.8 * 255).astype(np.uint8)
        pictures += body
        if shot == len(kinds):
            break
        first = len(pictures)
        if kinds[shot] != "hard":
            pictures += _mix(stream, streams[shot + 1], num_mixed, kinds[shot])
        transitions.append(Transition(kinds[shot], first, len(pictures)))
    write_video(path, pictures, Encoding(fps=Fraction(fps)))
    return CutFilm(path, tuple(transitions), len(pictures))


def _shot(seed: int, size: tuple[int, int]) -> Iterator[np.ndarray]:
    image = texture(seed, size, hue=(20 + 70 * seed) % 180)
    image = np.clip(image * (0.5 + 0.25 * (seed % 3)) + 20, 0, 255).astype(np.uint8)
    return drift(image, 1_000_000, ((1.5, 0.0), (-1.0, 0.5), (0.0, 1.0), (0.5, -1.0))[seed % 4])


def _mix(old: Iterator[np.ndarray], new: Iterator[np.ndarray], num_frames: int, kind: Kind) -> Iterator[np.ndarray]:
    for index in range(num_frames):
        share = (index + 1) / (num_frames + 1)
        from_old, from_new = next(old), next(new)
        if kind == "dissolve":
            mixed = from_old * (1 - share) + from_new * share
        else:
            mixed = from_old * max(0.0, 1 - 2.5 * share) + from_new * max(0.0, 2.5 * share - 1.5)
        yield mixed.astype(np.uint8)
