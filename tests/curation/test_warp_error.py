import numpy as np
import pytest

from curation.scorers.warp_error import WarpErrorScorer, WarpErrorSettings
from tests.curation.generated_footage import flickering, melting, panning, scored, still
from tests.footage import texture

SCORER = WarpErrorScorer(WarpErrorSettings())


def test_a_pan_costs_little_and_flicker_costs_the_same_with_and_without_it():
    pan, lamp, both = (scored(SCORER, frames) for frames in (panning(), flickering(still()), flickering(panning())))
    assert scored(SCORER, still()) == 0
    assert pan < 0.25 * lamp
    assert both == pytest.approx(lamp, rel=0.15)


def test_flicker_has_its_size_in_shares_of_full_range():
    dim = [(40 + picture * 0.5).astype(np.uint8) for picture in still()]  # nothing is cut off at black
    assert scored(SCORER, flickering(dim, 24.0)) == pytest.approx(24 / 255, rel=0.1)


def test_what_melts_has_more_than_what_moves():
    assert scored(SCORER, melting()) > 2 * scored(SCORER, panning())


def test_the_pairs_looked_at_are_spread_over_the_clip():
    few = WarpErrorScorer(WarpErrorSettings(max_pairs=5))
    assert scored(few, flickering(panning())) == pytest.approx(scored(SCORER, flickering(panning())), rel=0.15)
    assert few.version != SCORER.version


def test_a_single_frame_says_nothing():
    with pytest.raises(ValueError, match="no next one"):
        scored(SCORER, [texture(0, (64, 48))])
