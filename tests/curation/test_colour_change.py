from fractions import Fraction

import numpy as np
import pytest
from scenedetect import FrameTimecode
from scenedetect.detectors import ContentDetector

from curation.colour_change import ColourChange, pts_of_seconds
from curation.video import Frame


def test_the_change_is_pyscenedetects() -> None:
    generator = np.random.default_rng(0)
    theirs, ours = ContentDetector(), ColourChange()
    for pts in range(12):
        picture = generator.integers(0, 256, (45, 80, 3), np.uint8)
        theirs.process_frame(FrameTimecode(pts, fps=24.0), picture)
        assert ours.push(Frame(pts, 0.0, picture[..., 0], picture)) == pytest.approx(theirs._frame_score, abs=1e-12)


def test_frames_without_colour_are_refused() -> None:
    with pytest.raises(ValueError, match='planes="bgr"'):
        ColourChange().push(Frame(0, 0.0, np.zeros((16, 16), np.uint8), None))


def test_seconds_become_at_least_as_many_ticks() -> None:
    assert pts_of_seconds(0.6, Fraction(1, 25)) == 15
    assert pts_of_seconds(0.6, Fraction(1, 24)) == 15
    assert pts_of_seconds(0, Fraction(1, 90000)) == 0
