import numpy as np
import pytest

from curation.scorers.motion import MotionScorer, MotionSettings
from curation.scorers.subject_motion import SubjectMotionScorer, SubjectMotionSettings
from tests.curation.camera_scene import FPS
from tests.curation.clip_frames import clip_of
from tests.footage import drift, texture


def juggled(step_px: int) -> list[np.ndarray]:
    """A still ground with one thing of 11 % of the picture that goes right."""
    ground, thing = texture(0, (256, 144)), texture(1, (64, 64))
    pictures = []
    for index in range(8):
        picture = ground.copy()
        picture[40:104, 40 + step_px * index : 104 + step_px * index] = thing
        pictures.append(picture)
    return pictures


def test_a_small_thing_that_moves_counts_at_its_own_speed() -> None:
    scorer, mean = SubjectMotionScorer(SubjectMotionSettings()), MotionScorer(MotionSettings())
    clip = clip_of(juggled(step_px=4), scorer.frames)
    assert scorer(clip) == pytest.approx(4 * FPS / 144, rel=0.3)
    assert mean(clip) < 0.3 * scorer(clip)


def test_a_camera_that_pans_over_a_still_scene_has_little() -> None:
    scorer = SubjectMotionScorer(SubjectMotionSettings())
    panned = clip_of(list(drift(texture(0, (256, 144), grain_px=16), 8, (4, 0))), scorer.frames)
    assert scorer(panned) < 0.25 * MotionScorer(MotionSettings())(panned)


def test_faster_is_more() -> None:
    scorer = SubjectMotionScorer(SubjectMotionSettings())
    values = [scorer(clip_of(juggled(step_px), scorer.frames)) for step_px in (0, 2, 4)]
    assert values == sorted(values) and values[0] < 0.01
