"""Made-up annotators: their truth is known, it is not linear in the scores, and they err as people do."""

import numpy as np
import pytest

from annotation.tastes import SCORES, answers, crowd_answers, liking, make_judges, make_pool, truth


@pytest.fixture(scope="module")
def crowd():
    pool, judges = make_pool(4000, 0), make_judges(5, 0)
    good, bar = truth(pool, judges, 0.2, 0)
    return pool, judges, good, bar


def test_the_pool_is_like_footage(crowd):
    pool, _, good, _ = crowd
    assert pool.scores.shape == (4000, len(SCORES)) and 0.005 < np.isnan(pool.scores).mean() < 0.015
    known = pool.scores[~np.isnan(pool.scores).any(axis=1)]
    ranks = known.argsort(axis=0).argsort(axis=0)
    correlations = np.abs(np.corrcoef(ranks.T))[np.triu_indices(len(SCORES), 1)]
    assert (correlations > 0.4).sum() >= 5 and np.median(correlations) < 0.3
    assert good.mean() == pytest.approx(0.2, abs=0.001)
    of_film = np.array([good[pool.films == film].mean() for film in range(200)])
    assert of_film.std() > 1.3 * np.sqrt(0.2 * 0.8 / 20), "clips of a film share more than chance"


def test_the_best_amount_of_motion_lies_in_the_middle(crowd):
    pool, judges, _, _ = crowd
    felt, motion = liking(pool, judges[0], 0), pool.qualities[:, 0]
    low, middle, high = (felt[(motion > a) & (motion < b)].mean() for a, b in ((-4, -1.5), (-0.2, 0.8), (2, 4)))
    assert middle > low + 0.5 and middle > high + 0.5


def test_judges_err_in_their_own_way_and_the_same_clip_gets_the_same_answer(crowd):
    pool, judges, good, bar = crowd
    given = [answers(pool, judge, bar, 0) for judge in judges]
    right = [float((each == good).mean()) for each in given]
    assert all(0.8 < share < 0.95 for share in right) and len(set(right)) == 5
    np.testing.assert_array_equal(given[0], answers(pool, judges[0], bar, 0))
    lenient = max(judges, key=lambda judge: judge.bias)
    strict = min(judges, key=lambda judge: judge.bias)
    assert answers(pool, lenient, bar, 0).mean() > answers(pool, strict, bar, 0).mean()


def test_a_crowd_answers_each_clip_by_one_of_its_judges(crowd):
    pool, judges, good, bar = crowd
    given = crowd_answers(pool, judges, bar, 0)
    each = np.array([answers(pool, judge, bar, 0) for judge in judges])
    assert ((given == each).any(axis=0)).all() and 0.8 < (given == good).mean() < 0.95
    np.testing.assert_array_equal(given, crowd_answers(pool, judges, bar, 0))
