import numpy as np
import pytest

from curation.scorers.flicker import FlickerScorer, FlickerSettings
from tests.curation.generated_footage import SIZE, flickering, panning, scored, still

SCORER = FlickerScorer(FlickerSettings())


def flat(*levels: int) -> list[np.ndarray]:
    return [np.full((*SIZE[::-1], 3), level, np.uint8) for level in levels]


def test_it_is_what_vbench_s_formula_gives():
    assert scored(SCORER, flat(100, 110, 95)) == pytest.approx(1 - (10 + 15) / 2 / 255)


def test_a_still_picture_has_none_and_more_flicker_scores_less():
    values = [scored(SCORER, flickering(still(), levels)) for levels in (0.0, 6.0, 24.0)]
    assert values[0] == 1.0 and values[0] > values[1] > values[2]


def test_motion_counts_as_flicker_so_it_needs_dynamics_beside_it():
    assert scored(SCORER, panning()) < scored(SCORER, flickering(still(), 6.0))


def test_a_single_frame_says_nothing():
    with pytest.raises(ValueError, match="no next one"):
        scored(SCORER, still()[:1])
