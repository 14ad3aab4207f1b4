"""Ranks and the range in which they lie."""

import numpy as np

from annotation.study.ranking import rank_range, ranks


def test_the_highest_is_first_and_equals_keep_their_order():
    assert ranks(np.array([[0.1, 0.9, 0.5, 0.5]])).tolist() == [[4, 1, 2, 3]]


def test_the_range_holds_the_stated_share_of_draws():
    drawn = np.array([[3.0, 2.0, 1.0]] * 94 + [[2.0, 3.0, 1.0]] * 6)
    best, worst = rank_range(drawn, 0.95)
    assert best.tolist() == [1, 1, 3] and worst.tolist() == [2, 2, 3]
    best, worst = rank_range(drawn, 0.85)
    assert best.tolist() == [1, 2, 3] and worst.tolist() == [1, 2, 3]


def test_where_nothing_is_known_every_rank_is_possible():
    best, worst = rank_range(np.full((10, 3), np.nan))
    assert best.tolist() == [1, 1, 1] and worst.tolist() == [3, 3, 3]
