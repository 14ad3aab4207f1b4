import numpy as np
import pytest

from curation.scorers.flatness import FlatnessScorer, FlatnessSettings
from tests.curation.clip_frames import clip_of
from tests.footage import texture


def test_the_share_of_the_picture_without_structure() -> None:
    scorer = FlatnessScorer(FlatnessSettings())
    picture = texture(0, (640, 352))
    picture[:176] = 140
    assert scorer(clip_of([picture] * 2, scorer.frames)) == pytest.approx(0.5, abs=0.05)


def test_a_plain_frame_is_flat_and_noise_is_not() -> None:
    scorer = FlatnessScorer(FlatnessSettings())
    plain = np.full((352, 640, 3), 90, np.uint8)
    noisy = (plain + np.random.default_rng(0).normal(0, 4, plain.shape[:2])[..., None]).astype(np.uint8)
    assert scorer(clip_of([plain], scorer.frames)) == 1
    assert scorer(clip_of([noisy], scorer.frames)) == 0


def test_one_flash_does_not_decide() -> None:
    scorer = FlatnessScorer(FlatnessSettings())
    flash = np.full((352, 640, 3), 255, np.uint8)
    frames = [texture(0, (640, 352)), flash, texture(1, (640, 352))]
    assert scorer(clip_of(frames, scorer.frames)) < 0.05
