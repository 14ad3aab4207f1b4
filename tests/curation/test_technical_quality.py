from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from curation.scorers.technical_quality import TechnicalQualityScorer, TechnicalQualitySettings
from tests.curation.clip_frames import clip_of, frames_of_file, value_of_file
from tests.footage import Encoding, drift, texture, write_video

SCORER = TechnicalQualityScorer(TechnicalQualitySettings())


def scene() -> np.ndarray:
    """Structure of all sizes down to two px, the smaller the fainter, and a plain sky."""
    layers = [texture(grain, (640, 360), grain_px=grain).astype(float) - 128 for grain in (64, 32, 16, 8, 4, 2)]
    picture = 128 + np.sum(
        [layer * 0.7 * (grain / 64) ** 0.5 for layer, grain in zip(layers, (64, 32, 16, 8, 4, 2), strict=True)], axis=0
    )
    picture = np.dstack([picture.mean(axis=2)] * 3)
    picture[:80] = 170
    return np.clip(picture, 0, 255).astype(np.uint8)


def falls(values: Sequence[float]) -> bool:
    return all(after < before for before, after in pairwise(values))


def test_compression_lowers_it(tmp_path: Path) -> None:
    values = []
    for crf in (18, 27, 36, 45):
        encoding = Encoding(options={"preset": "veryfast", "crf": str(crf)})
        values.append(value_of_file(SCORER, write_video(tmp_path / f"{crf}.mp4", drift(scene(), 12, (2, 1)), encoding)))
    assert falls(values), values


def test_noise_lowers_it() -> None:
    generator = np.random.default_rng(0)
    noisy = [scene() + generator.normal(0, sigma, (360, 640, 1)) for sigma in (0, 2, 5, 10, 20)]
    values = [SCORER(clip_of([np.clip(picture, 0, 255).astype(np.uint8)], SCORER.frames)) for picture in noisy]
    assert falls(values), values


def test_blur_lowers_it() -> None:
    blurred = [scene(), *(cv2.GaussianBlur(scene(), (0, 0), sigma) for sigma in (0.7, 1.5, 3, 6))]
    values = [SCORER(clip_of([picture], SCORER.frames)) for picture in blurred]
    assert falls(values), values


@pytest.mark.parametrize("name", ["dover_17734", "koala_4.49_Y5SpJK-xrrI_12", "skv_bigbuckbunny", "mma_demo"])
def test_damage_lowers_it_on_real_footage(real_footage: Path, name: str) -> None:
    generator = np.random.default_rng(0)
    luma = frames_of_file(real_footage / f"{name}.mp4", SCORER.frames).luma[:2]

    def score(pictures: np.ndarray) -> float:
        shades = np.clip(pictures, 0, 255).astype(np.uint8)
        return SCORER(clip_of([np.dstack([each] * 3) for each in shades], SCORER.frames))

    soft = np.stack([cv2.GaussianBlur(each, (0, 0), 1.5) for each in luma])
    softer = np.stack([cv2.GaussianBlur(each, (0, 0), 4) for each in luma])
    grain = generator.normal(0, 1, luma.shape)
    assert falls([score(luma), score(soft), score(softer)])
    assert falls([score(luma), score(luma + 4 * grain), score(luma + 12 * grain)])
