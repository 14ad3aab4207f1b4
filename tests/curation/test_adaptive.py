from fractions import Fraction

import numpy as np

from curation.detectors.adaptive import AdaptiveDetector, AdaptiveSettings
from curation.detectors.content import ContentDetector, ContentSettings
from curation.video import Frame


def test_a_change_among_changes_is_no_cut() -> None:
    """A steadily strobing shot: every frame changes by 40, which `content` calls cuts and `adaptive` does not."""
    content = ContentDetector(ContentSettings(min_shot_s=0), Fraction(1, 10), 10)
    adaptive = AdaptiveDetector(AdaptiveSettings(min_shot_s=0), Fraction(1, 10), 10)
    by_content, by_adaptive = [], []
    for pts in range(30):
        picture = np.full((16, 16, 3), 60 + 120 * (pts % 2), np.uint8)
        frame = Frame(pts, pts / 10, picture[..., 0], picture)
        by_content += content.push(frame)
        by_adaptive += adaptive.push(frame)
    assert len(by_content) == 29
    assert by_adaptive + adaptive.finish() == []
