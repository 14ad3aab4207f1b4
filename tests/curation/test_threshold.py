from fractions import Fraction

import numpy as np

from curation.detectors.threshold import ThresholdDetector, ThresholdSettings
from curation.video import Frame


def test_the_cut_is_a_frame_in_the_middle_of_the_dark_and_known_when_it_ends() -> None:
    """Frames 100 ticks apart, but 250 in the dark, as of a variable frame rate."""
    detector = ThresholdDetector(ThresholdSettings(), Fraction(1, 1000), 10)
    dark = range(2000, 3001, 250)
    seen = {}
    for pts in (*range(0, 2000, 100), *dark, *range(3250, 4000, 100)):
        picture = np.full((16, 16, 3), 0 if pts in dark else 120, np.uint8)
        found = detector.push(Frame(pts, pts / 1000, picture[..., 0], picture))
        seen[pts] = (found, detector.settled_pts)
    assert {pts: found for pts, (found, _) in seen.items() if found} == {3250: [2750]}
    assert [seen[pts][1] for pts in (1900, 2000, 2500, 3000, 3250)] == [1900, 2000, 2000, 2000, 3250]


def test_a_film_that_ends_dark_has_no_cut_there() -> None:
    detector = ThresholdDetector(ThresholdSettings(), Fraction(1, 10), 10)
    found = []
    for pts in range(40):
        picture = np.full((16, 16, 3), 120 if pts < 25 else 0, np.uint8)
        found += detector.push(Frame(pts, pts / 10, picture[..., 0], picture))
    assert found + detector.finish() == []
