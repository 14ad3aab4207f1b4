import numpy as np
import pytest

from curation.scorers.static import StaticScorer, StaticSettings
from tests.curation.clip_frames import clip_of
from tests.footage import drift, texture


def scored(pictures: list[np.ndarray]) -> float:
    scorer = StaticScorer(StaticSettings())
    return scorer(clip_of(pictures, scorer.frames))


def test_half_of_a_clip_that_stands_is_half_static() -> None:
    moving = list(drift(texture(0, (256, 144)), 11, (3, 0)))
    assert scored(moving + [moving[-1]] * 10) == pytest.approx(0.5)


def test_noise_alone_is_still() -> None:
    generator = np.random.default_rng(0)
    still = texture(0, (256, 144)).astype(np.float32)
    assert (
        scored([np.clip(still + generator.normal(0, 2, still.shape), 0, 255).astype(np.uint8) for _ in range(8)]) == 1
    )


def test_one_small_thing_that_moves_is_enough_to_be_alive() -> None:
    pictures = [texture(0, (256, 144)).copy() for _ in range(8)]
    for index, picture in enumerate(pictures):
        picture[60:90, 100 + 3 * index : 130 + 3 * index] = texture(1, (30, 30))
    assert scored(pictures) == 0


def test_footage_that_repeats_each_frame_is_half_static() -> None:
    pictures = [picture for picture in drift(texture(0, (256, 144)), 10, (4, 0)) for _ in range(2)]
    assert scored(pictures) == pytest.approx(0.5, abs=0.05)
