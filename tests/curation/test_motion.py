from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from curation.scorers.motion import MotionScorer, MotionSettings
from tests.curation.clip_frames import clip_of, score_file
from tests.footage import drift, moving_texture, texture


def test_a_drift_is_measured_in_short_sides_per_second() -> None:
    scorer = MotionScorer(MotionSettings())
    scorer.load()
    pictures = list(drift(texture(0, (256, 144), grain_px=16), 10, (4, 3)))  # 5 px per 0.1 s
    assert scorer(clip_of(pictures, scorer.frames)) == pytest.approx(5 / 144 / 0.1, rel=0.12)


@pytest.mark.parametrize(
    ("size", "fps"), [((320, 180), 24), ((1280, 720), 24), ((180, 320), 24), ((320, 180), 60), ((320, 180), 12.5)]
)
def test_neither_resolution_nor_rate_changes_the_value(tmp_path: Path, size: tuple[int, int], fps: float) -> None:
    short_side_px = min(size)
    step_px = 0.2 * short_side_px / fps  # 0.2 short sides per second
    rate = Fraction(fps)
    path = moving_texture(tmp_path / "drift.mp4", seconds=1.5, fps=rate, size=size, step_px=(step_px, 0))
    assert score_file(MotionScorer(MotionSettings()), path) == pytest.approx(0.2, rel=0.2)


def test_a_still_picture_has_none(tmp_path: Path) -> None:
    path = moving_texture(tmp_path / "still.mp4", step_px=(0, 0))
    assert score_file(MotionScorer(MotionSettings()), path) < 0.01


def test_frames_across_a_gap_are_not_compared() -> None:
    scorer = MotionScorer(MotionSettings())
    scorer.load()
    still, other = texture(0, (256, 144)), texture(1, (256, 144))
    frames = clip_of([still, still, other, other], scorer.frames)
    frames.times_s[2:] += 1
    assert scorer(frames) == pytest.approx(0, abs=0.01)


def test_a_single_frame_cannot_be_judged() -> None:
    scorer = MotionScorer(MotionSettings())
    scorer.load()
    with pytest.raises(ValueError, match=r"1 frames over 0\.00 s have no two within 0\.3 s of each other"):
        scorer(clip_of([np.zeros((144, 256, 3), np.uint8)], scorer.frames))


def test_published_motion_of_real_clips_has_the_same_order(real_footage: Path) -> None:
    """Koala-36M's motion scores: 3.94, 5.30, 23.80."""
    names = ("koala_4.31_w_HPjTkEUJg_48", "koala_4.36_NRiRCe2ok0M_21", "koala_4.49_Y5SpJK-xrrI_12")
    values = [score_file(MotionScorer(MotionSettings()), real_footage / f"{name}.mp4") for name in names]
    assert values == sorted(values)
