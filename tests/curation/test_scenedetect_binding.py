from fractions import Fraction

import numpy as np
import pytest

from curation.detectors.histogram import HistogramDetector, HistogramSettings
from curation.video import Frame


def test_times_before_zero_and_from_far_away_come_back_as_they_were() -> None:
    for first in (-7, 0, 123_456_789):
        detector = HistogramDetector(HistogramSettings(min_shot_s=0), Fraction(1, 24), 24)
        found = []
        for index in range(20):
            picture = np.full((16, 16, 3), 0 if index < 12 else 255, np.uint8)
            found += detector.push(Frame(first + index, 0.0, picture[..., 0], picture))
        assert found == [first + 12]


def test_frames_without_colour_are_refused() -> None:
    detector = HistogramDetector(HistogramSettings(), Fraction(1, 24), 24)
    with pytest.raises(ValueError, match='planes="bgr"'):
        detector.push(Frame(0, 0.0, np.zeros((16, 16), np.uint8), None))
