"""Figures on a page: numbers as people write them, intervals where the column's scale puts them."""

import math

import pytest

from annotation.study.intervals import Interval
from jobs.study_drawn import Track, track

NOTHING = Interval(math.nan, math.nan, math.nan)


def test_places_are_percents_of_the_columns_scale():
    drawn = Track(0.0, 0.5).drawn(Interval(0.25, 0.2, 0.35))
    assert (drawn.value, drawn.reach, drawn.title) == ("25.0", "20.0 to 35.0", "25.0 (20.0 to 35.0)")
    assert (drawn.left, drawn.dot, drawn.width, drawn.mark) == (40.0, 50.0, 30.0, None)


def test_a_difference_has_its_sign_a_zero_line_and_is_settled_away_from_it():
    scale = track([Interval(0.1, 0.05, 0.15)], signed=True)
    drawn = scale.drawn(Interval(0.1, 0.05, 0.15))
    assert drawn.value == "+10.0" and drawn.settled and 0 < (drawn.mark or 0) < (drawn.left or 0)
    assert scale.drawn(Interval(-0.02, -0.1, 0.06)).value == "−2.0" and not scale.drawn(Interval(0, -1, 1)).settled
    assert scale.drawn(Interval(-0.0001, -0.1, 0.1)).value == "0.0", "no minus on nothing"


def test_what_is_not_defined_is_a_dash_and_what_has_no_interval_a_dot():
    scale = Track(0.0, 1.0)
    assert scale.drawn(NOTHING).value == "–" and scale.drawn(NOTHING).dot is None
    alone = scale.drawn(Interval(0.5, math.nan, math.nan))
    assert (alone.value, alone.reach, alone.dot, alone.left) == ("50.0", "", 50.0, None)


@pytest.mark.parametrize("figures", [[], [NOTHING], [Interval(0.5, 0.5, 0.5)], [Interval(0, 0, 0), Interval(1, 1, 1)]])
def test_any_column_has_a_scale_that_holds_it(figures):
    scale = track(figures, within=(0.0, 1.0))
    assert 0 <= scale.low < scale.high <= 1
    assert all(0 <= (scale.drawn(figure).dot or 0) <= 100 for figure in figures)


def test_a_scale_tells_its_ends_and_holds_what_figures_are_held_to():
    assert track([Interval(0.6, 0.55, 0.7)], mark=0.5, decimals=0).marked is not None
    assert Track(-0.2, 0.3, signed=True).ends == ("−20", "+30")
    assert Track(0.41, 0.42).ends == ("41.0", "42.0")
