"""Strengths: the maximum of the likelihood, whoever looks for it; ranks with intervals; nobody is infinitely strong."""

import numpy as np
import pytest

from annotation.study.tied_strengths import PRIOR, all_pairs, chances, fit, paired_outcomes, strengths
from annotation.study.votes import PairVotes

PAIRS = all_pairs(4)


def likelihood(counts_P3: np.ndarray, log_strength_C: np.ndarray, log_threshold: float) -> float:
    """As Rao and Kupper write it."""
    strength, threshold = np.exp(log_strength_C), np.exp(log_threshold)
    total = 0.0
    for (one, other), (wins, ties, losses) in zip(PAIRS, counts_P3, strict=True):
        i, j = strength[one], strength[other]
        below_i, below_j = i + threshold * j, j + threshold * i
        total += wins * np.log(i / below_i) + losses * np.log(j / below_j)
        total += ties * np.log((threshold**2 - 1) * i * j / (below_i * below_j))
    return total


def made_votes(log_strength: list[float], log_threshold: float, num_prompts: int, seed: int) -> PairVotes:
    generator = np.random.default_rng(seed)
    first, second = np.repeat(all_pairs(len(log_strength)), num_prompts, axis=0).T.astype(np.int32)
    turned = generator.random(len(first)) < 0.5
    first, second = np.where(turned, second, first), np.where(turned, first, second)
    values = np.array(log_strength)
    win, tie, _ = chances(values[first] - values[second], np.full(len(first), log_threshold))
    dice = generator.random(len(first))
    answer = np.where(dice < win, 0, np.where(dice < win + tie, 1, 2)).astype(np.int8)
    prompt = np.tile(np.arange(num_prompts), len(all_pairs(len(log_strength))))
    judge = generator.integers(0, 12, len(first))
    names = tuple("abcdef"[: len(log_strength)])
    prompts = tuple(f"p{number}" for number in range(num_prompts))
    judges = tuple(f"j{number}" for number in range(12))
    return PairVotes(names, prompts, judges, ("overall",), first, second, prompt, judge, answer[:, None])


def test_no_other_strengths_are_more_likely():
    generator = np.random.default_rng(1)
    counts = generator.integers(0, 30, (3, 6, 3)).astype(float)
    found = fit(counts, PAIRS, 4)
    for which in range(3):
        best = likelihood(counts[which] + PRIOR, found.log_strength_BC[which], found.log_threshold_B[which])
        for _ in range(200):
            other = found.log_strength_BC[which] + 0.01 * generator.standard_normal(4)
            threshold = found.log_threshold_B[which] * np.exp(0.01 * generator.standard_normal())
            assert likelihood(counts[which] + PRIOR, other, threshold) < best


def test_scipy_finds_the_same_maximum():
    from scipy.optimize import minimize

    counts = np.random.default_rng(2).integers(1, 40, (6, 3)).astype(float)
    found = fit(counts[None], PAIRS, 4)
    result = minimize(
        lambda x: -likelihood(counts + PRIOR, np.array([0, *x[:3]]), np.exp(x[3])), np.zeros(4), tol=1e-12
    )
    theirs = np.array([0, *result.x[:3]])
    np.testing.assert_allclose(found.log_strength_BC[0], theirs - theirs.mean(), atol=1e-4)
    np.testing.assert_allclose(found.log_threshold_B[0], np.exp(result.x[3]), atol=1e-4)


def test_two_systems_without_many_ties_have_the_odds_of_their_wins():
    found = fit(np.array([[[3000.0, 0.0, 1000.0]]]), all_pairs(2), 2)
    difference = found.log_strength_BC[0, 0] - found.log_strength_BC[0, 1]
    assert difference == pytest.approx(np.log(3), abs=1e-3)
    assert 0 < found.log_threshold_B[0] < 1e-3


def test_a_system_that_never_lost_is_strongest_and_finite():
    counts = np.zeros((1, 6, 3))
    counts[0, :, 2] = 50  # the pair's second always wins
    found = fit(counts, PAIRS, 4).log_strength_BC[0]
    assert np.isfinite(found).all() and (np.diff(found) > 1).all() and np.abs(found).max() < 20


def test_no_answers_at_all_leave_everybody_equal():
    assert fit(np.zeros((2, 6, 3)), PAIRS, 4).log_strength_BC == pytest.approx(np.zeros((2, 4)), abs=1e-9)


def test_answers_of_a_third_tell_about_a_pair_that_was_never_asked():
    counts = np.zeros((1, 3, 3))
    counts[0, 0], counts[0, 2] = (60, 20, 20), (60, 20, 20)  # a beats b, b beats c; a and c never met
    found = fit(counts, all_pairs(3), 3).log_strength_BC[0]
    assert found[0] - found[2] == pytest.approx(2 * (found[0] - found[1]), rel=0.01)
    assert found[0] > found[1] > found[2]


def test_planted_strengths_and_threshold_lie_in_their_intervals_and_ranks_in_theirs():
    planted = [0.5, 0.45, 0.0, -0.95]
    result = strengths(made_votes(planted, 0.4, 400, 0), num_bootstraps=300, seed=1)
    by_name = {place.system: place for place in result.ranking}
    for name, value in zip("abcd", planted, strict=True):
        assert by_name[name].log_strength.low < value < by_name[name].log_strength.high
        assert by_name[name].log_strength.half_width < 0.15
    assert np.log(result.threshold.low) < 0.4 < np.log(result.threshold.high)
    assert [place.rank for place in result.ranking] == [1, 2, 3, 4]
    assert {(by_name[name].best_rank, by_name[name].worst_rank) for name in "ab"} == {(1, 2)}, "too close to tell"
    assert (by_name["d"].best_rank, by_name["d"].worst_rank) == (4, 4)


def test_elo_centres_on_a_thousand_and_gives_four_hundred_points_to_ten_to_one():
    result = strengths(made_votes([1.1513, -1.1513], 0.01, 4000, 3), num_bootstraps=100)
    strong, weak = result.ranking
    assert strong.elo.value + weak.elo.value == pytest.approx(2000)
    assert strong.elo.value - weak.elo.value == pytest.approx(400, abs=20)


def test_sides_and_missing_answers_do_not_matter_to_the_counts():
    votes = made_votes([0.3, 0.0, -0.3], 0.4, 50, 4)
    swapped = PairVotes(
        votes.systems, votes.prompts, votes.judges, votes.axes, votes.second_N, votes.first_N, votes.prompt_N,
        votes.judge_N, (2 - votes.answer_NA).astype(np.int8),
    )  # fmt: skip
    for one, other in zip(
        paired_outcomes(votes, votes.answer_NA[:, 0]), paired_outcomes(swapped, swapped.answer_NA[:, 0]), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    votes.answer_NA[::7] = -1
    kept = votes.chosen(votes.answer_NA[:, 0] >= 0)
    one, other = strengths(votes, num_bootstraps=100), strengths(kept, num_bootstraps=100)
    np.testing.assert_array_equal(one.fitted.log_strength_BC, other.fitted.log_strength_BC)


def test_of_a_single_prompt_there_are_strengths_but_no_telling_how_sure():
    one = made_votes([0.5, 0.0, -0.5], 0.4, 1, 0)
    places = strengths(one, num_bootstraps=100).ranking
    assert all(np.isfinite(place.log_strength.value) and np.isnan(place.log_strength.low) for place in places)
    assert {(place.best_rank, place.worst_rank) for place in places} == {(1, 3)}
