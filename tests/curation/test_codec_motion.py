from pathlib import Path

import numpy as np
import pytest

from curation.scorers.codec_motion import CodecMotionScorer, CodecMotionSettings, mean_speed
from tests.curation.clip_frames import clip_of, frames_of_file
from tests.footage import VP9, Encoding, moving_texture, texture

SEARCHING = Encoding(options={"preset": "medium", "g": "48", "bf": "0", "crf": "18"})


def scored(path: Path) -> float:
    scorer = CodecMotionScorer(CodecMotionSettings())
    return scorer(frames_of_file(path, scorer.frames))


def test_blocks_count_by_their_area() -> None:
    vectors = np.array([[0.2, 0.5, 3, 4, 0.3], [0.8, 0.5, 0, 0, 0.1]], np.float32)
    assert mean_speed(vectors) == pytest.approx(5 * 0.75)


def test_a_drift_is_measured_in_short_sides_per_second(tmp_path: Path) -> None:
    path = moving_texture(tmp_path / "drift.mp4", step_px=(2, 0), encoding=SEARCHING)
    assert scored(path) == pytest.approx(2 * 24 / 180, rel=0.3)


def test_a_still_picture_has_next_to_none(tmp_path: Path) -> None:
    assert scored(moving_texture(tmp_path / "still.mp4", step_px=(0, 0), encoding=SEARCHING)) < 0.01


def test_a_codec_without_vectors_is_refused_and_not_called_still(tmp_path: Path) -> None:
    path = moving_texture(tmp_path / "clip.webm", seconds=1, encoding=Encoding(codec="libvpx-vp9", options=VP9))
    with pytest.raises(ValueError, match=r"none of the \d+ frames carries motion vectors"):
        scored(path)


def test_frames_coded_on_their_own_are_left_out() -> None:
    scorer = CodecMotionScorer(CodecMotionSettings())
    clip = clip_of([texture(0, (64, 48))] * 3, scorer.frames)
    moving = np.array([[0.5, 0.5, 0.3, 0.4, 1]], np.float32)
    object.__setattr__(clip, "vectors", [None, moving, np.zeros((0, 5), np.float32)])
    assert scorer(clip) == pytest.approx(0.5)
    assert scorer.draw(clip).any()
