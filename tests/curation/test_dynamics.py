import numpy as np
import pytest

from curation.scorers.dynamics import DYNAMIC_SPEED, DynamicsScorer, DynamicsSettings
from tests.curation.generated_footage import NUM_FRAMES, RATE_HZ, SIZE, flickering, panning, scored, small_thing, still

SCORER = DynamicsScorer(DynamicsSettings())


@pytest.mark.parametrize("step_px", [3.0, 6.0])
def test_a_pan_has_its_speed_in_short_sides(step_px):
    assert scored(SCORER, panning(step_px)) == pytest.approx(step_px / SIZE[1] * RATE_HZ, rel=0.25)


def test_the_threshold_of_vbench_is_six_pixels_an_eighth_of_a_second_at_256_lines():
    faster, slower = (panning(step * SIZE[1] / 256) for step in (7.5, 4.5))
    assert scored(SCORER, slower) < DYNAMIC_SPEED < scored(SCORER, faster)


def test_a_still_picture_is_not_dynamic_even_if_it_flickers():
    assert scored(SCORER, still()) == 0
    assert scored(SCORER, flickering(still())) < DYNAMIC_SPEED / 2


def test_a_small_thing_that_moves_is_seen():
    assert scored(SCORER, small_thing()) > DYNAMIC_SPEED


@pytest.mark.parametrize(("moving_pairs", "is_dynamic"), [(3, False), (5, True)])
def test_a_quarter_of_the_time_must_move(moving_pairs, is_dynamic):
    moving = panning(8.0)[: moving_pairs + 1]
    pictures = moving + [moving[-1]] * (NUM_FRAMES - len(moving))
    assert (scored(SCORER, pictures) > DYNAMIC_SPEED) == is_dynamic  # round(17 / 4) = 4 pairs are wanted


def test_a_single_frame_says_nothing():
    with pytest.raises(ValueError, match="motion cannot be told"):
        scored(SCORER, [np.zeros((*SIZE[::-1], 3), np.uint8)])
