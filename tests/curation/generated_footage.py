"""Short videos of which it is known how they rank: still, moving, flickering, melting."""

from collections.abc import Callable, Sequence

import numpy as np

from curation.scorer import Scorer
from tests.curation.clip_frames import clip_of
from tests.footage import drift, texture

SIZE, NUM_FRAMES, RATE_HZ = (256, 144), 17, 8.0
GROUND = texture(0, SIZE, grain_px=12)


def still() -> list[np.ndarray]:
    return [GROUND] * NUM_FRAMES


def panning(step_px: float = 6.0) -> list[np.ndarray]:
    """The whole picture moves by so many px a frame, 8 frames a second."""
    return list(drift(GROUND, NUM_FRAMES, (step_px, 0)))


def flickering(pictures: Sequence[np.ndarray], levels: float = 24.0) -> list[np.ndarray]:
    """Every second frame is darker, the same everywhere."""
    return [
        np.clip(picture.astype(np.float32) - levels * (index % 2), 0, 255).astype(np.uint8)
        for index, picture in enumerate(pictures)
    ]


def melting(share: float = 0.2) -> list[np.ndarray]:
    """The texture becomes another one, a little more in every frame, and none of it moves."""
    others = [texture(1 + index, SIZE, grain_px=12).astype(np.float32) for index in range(NUM_FRAMES)]
    pictures, shown = [], GROUND.astype(np.float32)
    for other in others:
        shown = (1 - share) * shown + share * other
        pictures.append(shown.astype(np.uint8))
    return pictures


def jerking() -> list[np.ndarray]:
    """The pan, with every second frame as if it came a step early."""
    pan = panning(3.0)
    return [pan[index + (2 if index % 2 else 0)] for index in range(NUM_FRAMES - 2)]


def small_thing(step_px: int = 8) -> list[np.ndarray]:
    """A thing of a tenth of the picture that crosses a still ground."""
    thing, pictures = texture(9, (60, 60), grain_px=6), []
    for index in range(NUM_FRAMES):
        picture = GROUND.copy()
        picture[40:100, 10 + step_px * index : 70 + step_px * index] = thing
        pictures.append(picture)
    return pictures


def scored(scorer: Scorer, pictures: Sequence[np.ndarray]) -> float:
    answer: Callable[..., object] = scorer
    value = answer(clip_of(pictures, scorer.frames, step_s=1 / RATE_HZ))
    assert isinstance(value, float)
    return value
