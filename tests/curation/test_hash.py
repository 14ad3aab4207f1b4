from fractions import Fraction

import numpy as np

from curation.detectors.hash import HashDetector, HashSettings
from curation.video import Frame
from tests.footage import texture


def test_layout_counts_and_light_does_not() -> None:
    layouts = [texture(seed, (128, 72), grain_px=18) for seed in (1, 2)]
    detector = HashDetector(HashSettings(), Fraction(1, 10), 10)
    found = []
    for pts in range(40):
        picture = (layouts[pts >= 20] * (0.4 if 10 <= pts < 20 else 0.9)).astype(np.uint8)
        found += detector.push(Frame(pts, pts / 10, picture[..., 0], picture))
    assert found == [20]
