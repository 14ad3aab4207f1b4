import numpy as np

from curation.scorers.black import BlackScorer, BlackSettings
from tests.curation.clip_frames import clip_of
from tests.footage import texture


def test_the_share_of_black_frames() -> None:
    scorer = BlackScorer(BlackSettings())
    picture, black = texture(0, (160, 90)), np.full((90, 160, 3), 4, np.uint8)
    assert scorer(clip_of([black, picture, picture, black, picture], scorer.frames)) == 0.4


def test_a_night_with_lights_is_not_black() -> None:
    scorer = BlackScorer(BlackSettings())
    night = np.full((90, 160, 3), 4, np.uint8)
    night[40:50, 20:60] = 200
    assert scorer(clip_of([night] * 3, scorer.frames)) == 0
    specks = np.full((90, 160, 3), 4, np.uint8)
    specks[40:42, 20:60] = 200  # half a hundredth
    assert scorer(clip_of([specks] * 3, scorer.frames)) == 1
