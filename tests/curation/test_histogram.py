from fractions import Fraction

import numpy as np

from curation.detectors.histogram import HistogramDetector, HistogramSettings
from curation.video import Frame


def test_light_counts_and_where_it_is_does_not() -> None:
    generator = np.random.default_rng(0)
    dim = generator.integers(0, 128, (48, 64, 3), np.uint8)
    detector = HistogramDetector(HistogramSettings(), Fraction(1, 10), 10)
    found = []
    for pts in range(40):
        picture = np.roll(dim, 20 * pts, 1) + (100 if pts >= 25 else 0)
        picture = picture.astype(np.uint8)
        found += detector.push(Frame(pts, pts / 10, picture[..., 0], picture))
    assert found == [25]
