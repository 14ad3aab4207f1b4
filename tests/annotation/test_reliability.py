"""Figures of chances: against what can be counted by hand, against scikit-learn, and with intervals that hold."""

import re

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from annotation.reliability import (
    Estimate,
    Resamples,
    auc,
    calibration_error,
    lacking,
    operating_point,
    proposal,
    proposed_out_of_fold,
    reliability,
    unsupported,
)
from annotation.suitability import CalibrateSettings
from tests.annotation.taught import planted

SETTINGS = CalibrateSettings()


def test_auc_is_that_of_scikit_learn_ties_and_weights_included():
    given = planted(300)
    chance = np.round(given.chance, 1)
    resamples = Resamples(given.videos, 100, 0)
    assert auc(chance, given.kept, resamples).value == pytest.approx(roc_auc_score(given.kept, chance))
    weights = resamples.weights_VB[:, 0][resamples.of_clip]
    again = Resamples(given.videos, 100, 0)
    again.weights_VB = again.weights_VB[:, :1]
    only = auc(chance, given.kept, again)
    assert only.low == only.high == pytest.approx(roc_auc_score(given.kept, chance, sample_weight=weights))


def test_ratios_of_resamples_count_whole_videos():
    resamples = Resamples(np.array(list("aab")), 200, 0)
    found = resamples.ratio(np.array([1, 1, 0]), np.ones(3))
    assert found.value == pytest.approx(2 / 3) and (found.low, found.high) == (0, 1)


def test_intervals_over_videos_are_wider_than_over_clips():
    """Twenty clips of a video that share one fate are one observation."""
    of_clip = np.repeat(np.arange(30), 20)
    kept = np.random.default_rng(0).random(30)[of_clip] < 0.5
    by_video, by_clip = (Resamples(each, 500, 0).ratio(kept, np.ones(600)) for each in (of_clip, np.arange(600)))
    assert (by_video.high - by_video.low) > 3 * (by_clip.high - by_clip.low)


def test_true_chances_are_reliable_and_exaggerated_ones_are_not():
    given = planted(4000, 200)
    resamples = Resamples(given.videos, 200, 0)
    bins = reliability(given.chance, given.kept, resamples)
    assert sum(each.clips for each in bins) == 4000 and len(bins) == 10
    assert sum(each.kept_share.low <= each.mean_chance <= each.kept_share.high for each in bins) >= 8
    assert calibration_error(given.chance, given.kept, resamples).value < 0.03
    boasting = np.clip(given.chance * 1.5 - 0.1, 0, 1)
    assert calibration_error(boasting, given.kept, resamples).low > 0.05


def test_the_operating_point_is_the_lowest_that_reaches_the_precision():
    chance = np.repeat([0.9, 0.8, 0.7, 0.6], 10)
    kept = np.concatenate([np.ones(10), np.ones(9), [0], np.ones(8), [0, 0], np.zeros(10)]).astype(bool)
    assert operating_point(chance, kept, 0.95) == 0.8
    assert operating_point(chance, kept, 0.9) == 0.7
    assert operating_point(chance, kept, 0.5) == 0.6
    assert operating_point(1 - chance, kept, 0.99) == pytest.approx(0.1), "where none reaches it, the best there is"


def test_a_threshold_is_never_chosen_on_the_clips_that_it_is_measured_on():
    chance, kept = np.linspace(0, 1, 100), np.tile([False, True], 50)
    fold = np.repeat([0, 1], 50)
    proposed = proposed_out_of_fold(chance, kept, fold, 0.6)
    for number in (0, 1):
        here = fold == number
        np.testing.assert_array_equal(proposed[here], chance[here] >= operating_point(chance[~here], kept[~here], 0.6))


def test_a_proposal_counts_what_it_gets_right_and_what_it_misses():
    kept, proposed = np.array([1, 1, 1, 0, 0, 0], bool), np.array([1, 1, 0, 1, 0, 0], bool)
    resamples = Resamples(np.arange(6), 200, 0)
    found = proposal("x", proposed, kept, resamples)
    assert found.precision.value == found.recall.value == pytest.approx(2 / 3)
    assert found.proposed_share.value == 0.5 and found.proposed == 3
    assert np.isnan(proposal("none", np.zeros(6, bool), kept, resamples).precision.value)


def test_what_is_lacking_is_named_with_numbers():
    kept = np.array([True] * 4 + [False] * 26)
    videos = np.array(["a"] * 20 + ["b"] * 10)
    assert lacking(kept, videos, SETTINGS) == [
        "20 more answers (30 of 50)",
        "answers from 3 more source videos (2 of 5)",
        "6 more kept clips (4 of 10)",
        "kept clips from 2 more videos (1 of 3)",
        "rejected clips from 1 more videos (2 of 3)",
    ]
    assert lacking(np.tile([True, False], 25), np.arange(50) % 5, SETTINGS) == []


def test_a_doubtful_ranking_says_how_many_answers_would_settle_it():
    assert unsupported(Estimate(0.6, 0.51, 0.69), 60, 6) is None
    said = unsupported(Estimate(0.6, 0.4, 0.8), 60, 6)
    assert said is not None and "about 430 more answers from 43 more videos" in said
    said = unsupported(Estimate(0.5, 0.4, 0.6), 60, 6)
    assert said is not None and "More answers of this kind will not help" in said


def test_the_number_of_answers_that_is_named_is_enough():
    """A faint taste: with as many answers as were asked for, the interval ends above 0.5 in most cases."""
    many, few = planted(8000, 1600, steepness=0.12), planted(60, 12, seed=3, steepness=0.12)
    true_auc = auc(many.chance, many.kept, Resamples(many.videos, 100, 0)).value
    found = auc(few.chance, few.kept, Resamples(few.videos, 300, 0))
    ranking = Estimate(true_auc, true_auc - (found.value - found.low), 1)
    said = unsupported(ranking, 60, 12)
    assert ranking.low <= 0.5 and said is not None
    answers, videos = map(int, re.findall(r"about (\d+) more answers from (\d+) more videos", said)[0])
    hits = 0
    for seed in range(10):
        more = planted(60 + answers, 12 + videos, seed=20 + seed, steepness=0.12)
        hits += auc(more.chance, more.kept, Resamples(more.videos, 300, 0)).low > 0.5
    assert hits >= 6
