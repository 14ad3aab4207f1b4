from pathlib import Path

import cv2
import numpy as np
import pytest

from curation.scorers.blur import BlurScorer, BlurSettings, edge_width_px
from tests.curation.clip_frames import clip_of, value_of_file
from tests.footage import texture


def edges(sigma_px: float = 0.0) -> np.ndarray:
    """Rectangles of random greys, RGB [360, 640, 3], blurred."""
    generator = np.random.default_rng(0)
    picture = np.full((360, 640), 128, np.uint8)
    for left, top, grey in generator.integers((0, 0, 0), (600, 320, 256), (60, 3)):
        picture[top : top + 45, left : left + 70] = grey
    return np.dstack([cv2.GaussianBlur(picture, (0, 0), sigma_px) if sigma_px else picture] * 3)


def test_the_width_of_edges_is_measured() -> None:
    widths = [edge_width_px(edges(sigma)[..., 0]) for sigma in (0, 0.8, 1.5, 2.2)]
    assert widths[0] == 1
    for width, sigma in zip(widths[1:], (0.8, 1.5, 2.2), strict=True):
        assert width == pytest.approx(sigma * np.sqrt(2 * np.pi), rel=0.25)  # contrast / slope of a blurred step


def test_frames_in_focus_and_out_of_focus_are_counted() -> None:
    scorer = BlurScorer(BlurSettings())
    assert scorer(clip_of([edges(), edges(0.5), edges(2.5), edges(4)], scorer.frames)) == 0.5


def test_motion_blur_along_one_direction_over_all_is_blur() -> None:
    moved = np.ascontiguousarray(cv2.blur(edges(0.5), (25, 1)))
    scorer = BlurScorer(BlurSettings())
    assert scorer(clip_of([moved], scorer.frames)) == 1


def test_a_background_out_of_focus_is_no_blur() -> None:
    picture = edges(6)
    picture[120:240, 200:440] = edges()[120:240, 200:440]
    scorer = BlurScorer(BlurSettings())
    assert scorer(clip_of([picture], scorer.frames)) == 0


def test_dimming_changes_nothing() -> None:
    bright, dim = edges(1.5), (edges(1.5) * 0.6).astype(np.uint8)
    assert edge_width_px(dim[..., 0]) == pytest.approx(edge_width_px(bright[..., 0]), rel=0.15)


def test_a_frame_without_contrast_is_not_blurred() -> None:
    scorer = BlurScorer(BlurSettings())
    assert scorer(clip_of([np.full((360, 640, 3), 90, np.uint8)] * 2, scorer.frames)) == 0
    assert scorer(clip_of([texture(0, (640, 360), grain_px=180) // 12], scorer.frames)) == 0


def test_real_footage_out_of_focus_is_told_from_sharp(real_footage: Path) -> None:
    scorer = BlurScorer(BlurSettings())
    assert value_of_file(scorer, real_footage / "dover_FEQ-gdkTN4Q_000008_000018.mp4") > 0.2
    for name in ("koala_4.36_NRiRCe2ok0M_21", "dover_17734", "mdn_flower", "moviepy_chaplin"):
        assert value_of_file(scorer, real_footage / f"{name}.mp4") == 0, name
