from fractions import Fraction

import numpy as np

from curation.detectors.content import ContentDetector, ContentSettings
from curation.video import Frame


def cuts_of(levels: list[int], settings: ContentSettings) -> list[int]:
    """Frame numbers of the cuts in flat grey frames at 10 per second."""
    detector = ContentDetector(settings, Fraction(1, 10), 10)
    found = []
    for pts, level in enumerate(levels):
        picture = np.full((16, 16, 3), level, np.uint8)
        found += detector.push(Frame(pts, pts / 10, picture[..., 0], picture))
    return found + detector.finish()


def test_the_change_of_hsv_decides() -> None:
    levels = [100] * 10 + [100 + 3 * 40] * 10  # brightness alone changes: a third of 120 is 40
    assert cuts_of(levels, ContentSettings(threshold=39)) == [10]
    assert cuts_of(levels, ContentSettings(threshold=41)) == []


def test_a_flash_is_not_two_shots() -> None:
    levels = [20] * 10 + [220] * 10 + [20, 220, 20, 220] + [20] * 10
    found = cuts_of(levels, ContentSettings())
    assert found[0] == 10 and len(found) == 2
