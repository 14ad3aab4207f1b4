from pathlib import Path

import numpy as np
import pytest

from curation.scorers.exposure import ExposureScorer, ExposureSettings
from tests.curation.clip_frames import clip_of, score_file
from tests.footage import moving_texture, write_video


def test_black_and_white_are_not_exposed_and_grey_is(tmp_path: Path) -> None:
    scorer = ExposureScorer(ExposureSettings())
    for level, expected in ((0, 0), (128, 1), (255, 0)):
        path = write_video(tmp_path / f"{level}.mp4", [np.full((90, 160, 3), level, np.uint8)] * 24)
        assert score_file(scorer, path) == expected


def test_bars_count_as_black() -> None:
    scorer = ExposureScorer(ExposureSettings())
    picture = np.full((100, 160, 3), 128, np.uint8)
    picture[:12] = picture[-13:] = 0
    assert scorer(clip_of([picture] * 2, scorer.frames)) == pytest.approx(0.75)


def test_darkness_lowers_it(tmp_path: Path) -> None:
    values = [
        score_file(
            ExposureScorer(ExposureSettings()),
            moving_texture(tmp_path / f"{brightness}.mp4", seconds=1, brightness=brightness),
        )
        for brightness in (1.0, 0.2, 0.05)
    ]
    assert values == sorted(values, reverse=True) and values[0] > 0.8 and values[-1] < 0.1
