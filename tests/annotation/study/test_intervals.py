"""Intervals over prompts and judges: against formulas, against brute force, and as often right as they say."""

import math

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import binomtest

from annotation.study.intervals import FEWEST_JUDGES, Crossed, Interval, Spread, clustered_share, wilson


def passes(generator, rate=0.6, prompts=150, judges=20, answers=2, of_prompt=0.5, of_judge=0.4):
    """One system's answers: prompts, judges, passed, each judge drawn at random; the rate is that of all there are."""
    prompt = np.repeat(np.arange(prompts), answers)
    judge = generator.permutation(len(prompt)) % judges
    felt = generator.standard_normal(len(prompt))
    felt += of_prompt * generator.standard_normal(prompts)[prompt] + of_judge * generator.standard_normal(judges)[judge]
    return prompt, judge, felt + ndtri(rate) * math.sqrt(1 + of_prompt**2 + of_judge**2) > 0


def share(prompt, judge, passed):
    (value,), spreads = Crossed(prompt, judge).ratios(passed[:, None], np.ones((len(passed), 1)))
    return value, spreads.one(0)


@pytest.mark.parametrize(("hits", "tries"), [(0, 20), (7, 9), (600, 1533), (20, 20)])
def test_wilson_is_that_of_scipy(hits, tries):
    low, high = binomtest(hits, tries).proportion_ci(method="wilson")
    found = wilson(hits, tries)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)


def test_intervals_hold_the_truth_as_often_as_they_say_and_those_over_prompts_alone_do_not():
    generator, held, held_by_prompts = np.random.default_rng(3), [], []
    for _ in range(500):
        value, spread = share(*passes(generator))
        found = spread.share(value, 150)
        alone = Spread(spread.over_prompts, math.nan, spread.within, 149).share(value, 150)
        held.append(found.low <= 0.6 <= found.high)
        held_by_prompts.append(alone.low <= 0.6 <= alone.high)
    assert 0.93 <= np.mean(held) <= 0.97
    assert np.mean(held_by_prompts) < 0.87


def test_answers_that_share_nothing_have_the_variance_of_independent_tries():
    prompt, judge, passed = passes(np.random.default_rng(0), prompts=4000, judges=200, of_prompt=0, of_judge=0)
    value, spread = share(prompt, judge, passed)
    assert spread.variance == pytest.approx(value * (1 - value) / len(passed), rel=0.15)
    pigeonhole = spread.over_prompts + spread.over_judges + spread.within
    assert pigeonhole == pytest.approx(3 * spread.variance, rel=0.15)


def test_each_way_is_what_resampling_that_way_gives():
    prompt, judge, passed = passes(np.random.default_rng(1), prompts=60, judges=12, answers=4)
    _, spread = share(prompt, judge, passed)
    generator = np.random.default_rng(0)
    for group, expected in ((prompt, spread.over_prompts), (judge, spread.over_judges)):
        size = group.max() + 1
        weights = generator.multinomial(size, np.full(size, 1 / size), 20_000)[:, group]
        assert (weights @ passed / weights.sum(1)).var() == pytest.approx(expected, rel=0.15)


def test_a_difference_knows_what_both_sides_share():
    """Two systems of the same prompts, answered alike: their difference is certain, neither rate is."""
    prompt, judge, passed = passes(np.random.default_rng(2))
    twice = [np.concatenate([each, each]) for each in (prompt, judge, passed)]
    system = np.repeat([0, 1], len(prompt))[:, None] == np.arange(2)
    value_K, spreads = Crossed(twice[0], twice[1]).ratios(system * twice[2][:, None], system)
    assert spreads.one(0).variance > 1e-4
    assert spreads.of(np.array([1.0, -1.0])).variance == pytest.approx(0, abs=1e-12)
    assert spreads.of(np.array([1.0, -1.0])).around(float(value_K[0] - value_K[1])) == Interval(0, 0, 0)


def test_shares_stay_in_their_range_and_have_a_width_where_everybody_agrees():
    prompt, judge, _ = passes(np.random.default_rng(0))
    value, spread = share(prompt, judge, np.ones(len(prompt), bool))
    found = spread.share(value, 150)
    assert found.high == 1 and 0.95 < found.low < 0.99
    signed = spread.share(-1.0, 150, lowest=-1.0)
    assert signed.low == -1 and -0.98 < signed.high < -0.9
    whole, half = Spread(4e-4, math.nan, 0, 99).share(0.2, 9, lowest=-1.0), Spread(1e-4, math.nan, 0, 99).share(0.6, 9)
    assert (whole.low, whole.high) == pytest.approx((2 * half.low - 1, 2 * half.high - 1))


def test_few_judges_are_not_taken_for_a_sample_of_judges():
    generator = np.random.default_rng(0)
    prompt, judge, passed = passes(generator, judges=FEWEST_JUDGES - 1)
    value, spread = share(prompt, judge, passed)
    assert not Crossed(prompt, judge).over_judges and math.isnan(spread.over_judges)
    assert spread.variance == spread.over_prompts and spread.of_judges == 0
    uneven = np.where(generator.random(len(judge)) < 0.9, 0, judge + 1)
    assert not Crossed(prompt, uneven).over_judges, "one judge with nine tenths of the answers is not five"
    assert spread.share(value, 150).half_width > 0


def test_one_prompt_says_nothing_of_others():
    value, spread = share(np.zeros(8, int), np.arange(8), np.arange(8) < 4)
    assert value == 0.5 and math.isnan(spread.share(value, 1).low)
    counts = Crossed(np.zeros(8, int), np.arange(8)).resampled_counts(np.arange(8) % 2, 2, 3, 0)
    assert counts[0].tolist() == [4, 4] and np.isnan(counts[1:]).all()


def test_resampled_counts_vary_as_the_figures_made_of_them():
    prompt, judge, passed = passes(np.random.default_rng(4), prompts=400, judges=40)
    _, spread = share(prompt, judge, passed)
    counts = Crossed(prompt, judge).resampled_counts(passed.astype(int), 2, 4000, seed=0)
    assert counts[0].tolist() == [(~passed).sum(), passed.sum()] and (counts >= 0).all()
    np.testing.assert_allclose(counts.sum(1), len(passed), rtol=1e-6)
    low, high = np.quantile(counts[1:, 1] / len(passed), (0.025, 0.975))
    assert (high - low) / 2 == pytest.approx(spread.quantile() * math.sqrt(spread.variance), rel=0.06)
    again = Crossed(prompt, judge).resampled_counts(passed.astype(int), 2, 4000, seed=0)
    np.testing.assert_array_equal(counts, again)


def test_shares_of_items_are_as_sure_as_their_items_not_their_axes():
    hits = np.array([4, 0, 4, 0, 4, 4])
    found = clustered_share(hits, np.full(6, 4))
    assert found.value == pytest.approx(4 / 6)
    assert found.low < wilson(4, 6).low and found.high > wilson(4, 6).high, "and six items deserve Student's quantile"
    independent = clustered_share(np.random.default_rng(0).binomial(4, 0.5, 500), np.full(500, 4))
    assert independent.half_width == pytest.approx(wilson(1000, 2000).half_width, rel=0.1)
    assert math.isnan(clustered_share(np.zeros(0), np.zeros(0)).value) and math.isnan(wilson(0, 0).low)
    assert clustered_share(np.zeros(8), np.ones(8)).high == pytest.approx(wilson(0, 8).high, abs=0.1)
