import pytest

from curation.scorers.motion_smoothness import MotionSmoothnessScorer, MotionSmoothnessSettings
from tests.curation.generated_footage import flickering, jerking, panning, scored, small_thing, still
from tests.footage import texture

SCORER = MotionSmoothnessScorer(MotionSmoothnessSettings())


def test_steady_motion_is_nearly_as_smooth_as_none():
    assert scored(SCORER, still()) == 1.0
    assert scored(SCORER, panning(3.0)) > 0.985
    assert scored(SCORER, small_thing(4)) > 0.985


def test_jerks_and_flicker_are_not_smooth():
    steady = scored(SCORER, panning(3.0))
    for rough in (jerking(), flickering(panning(3.0))):
        assert 1 - scored(SCORER, rough) > 3 * (1 - steady)


def test_it_is_one_minus_the_mean_error_of_the_frames_left_out():
    lamp = [picture // 2 + 60 for picture in still()]
    assert scored(SCORER, flickering(lamp, 20.0)) == pytest.approx(1 - 20 / 255, abs=0.003)


def test_two_frames_have_none_between_them():
    with pytest.raises(ValueError, match="of 2 frames none has a neighbour on each side"):
        scored(SCORER, [texture(0, (64, 48))] * 2)
