import cv2
import numpy as np
import pytest

from curation.scorers.jitter import JitterScorer, JitterSettings
from tests.curation.clip_frames import clip_of
from tests.footage import texture

LINES, COLUMNS = 144, 256


def shown(path_px: np.ndarray) -> list[np.ndarray]:
    """A texture whose centre is at these places, [T, 2] px."""
    whole = texture(0, (512, 288), grain_px=12)
    return [
        cv2.warpAffine(whole, np.array([[1, 0, x - 128], [0, 1, y - 72]], float), (COLUMNS, LINES)) for x, y in path_px
    ]


def scored(path_px: np.ndarray) -> float:
    scorer = JitterScorer(JitterSettings())
    return scorer(clip_of(shown(path_px), scorer.frames))


def test_a_smooth_move_that_speeds_up_has_none() -> None:
    times = np.arange(20)
    assert scored(np.stack([0.08 * times**2, 0.5 * times], axis=1)) < 0.0012


@pytest.mark.parametrize("size_px", [1.0, 2.0])
def test_tremor_is_measured_in_short_sides(size_px: float) -> None:
    tremor = np.random.default_rng(0).normal(size=(24, 2)) * size_px
    expected = np.sqrt(2) * size_px / LINES * np.sqrt(1 - 9 / 35)  # a quadratic through 11 points takes some of it
    assert scored(tremor) == pytest.approx(expected, rel=0.35)


def test_tremor_on_a_pan_counts_and_the_pan_does_not() -> None:
    tremor = np.random.default_rng(0).normal(size=(24, 2)) * 1.5
    pan = np.stack([2.0 * np.arange(24), np.zeros(24)], axis=1)
    assert scored(pan + tremor) == pytest.approx(scored(tremor), rel=0.3)
    assert scored(pan) < 0.2 * scored(pan + tremor)


def test_somebody_who_dances_before_a_tripod_has_none() -> None:
    ground, thing = texture(0, (COLUMNS, LINES)), texture(1, (60, 80))
    pictures = []
    for index in range(20):
        picture, left = ground.copy(), 90 + (8 if index % 2 else 0)
        picture[40:120, left : left + 60] = thing
        pictures.append(picture)
    scorer = JitterScorer(JitterSettings())
    assert scorer(clip_of(pictures, scorer.frames)) < 0.002
