"""Net win rates: what they are, whose they are, and how far they can be trusted."""

import numpy as np
import pytest

from annotation.study.paired import paired, paired_by_axis, paired_by_category
from annotation.study.votes import PairVotes

SYSTEMS = ("a", "b", "c")


def votes_of(rows: list[tuple[int, int, int, int, int]], axes: tuple[str, ...] = ("overall",)) -> PairVotes:
    """Rows of first, second, prompt, judge, answer."""
    first, second, prompt, judge, answer = np.array(rows, dtype=np.int32).reshape(-1, 5).T
    names = tuple(f"p{number}" for number in range(int(prompt.max(initial=0)) + 1))
    judges = tuple(f"j{number}" for number in range(int(judge.max(initial=0)) + 1))
    answers = np.repeat(answer.astype(np.int8)[:, None], len(axes), axis=1)
    return PairVotes(SYSTEMS, names, judges, axes, first, second, prompt, judge, answers)


def made(num_prompts: int, seed: int, chance: float = 0.6) -> PairVotes:
    """Of every pair the earlier system wins with that chance, never a tie; sides at random, 10 judges."""
    generator = np.random.default_rng(seed)
    rows = []
    for prompt in range(num_prompts):
        for first, second in ((0, 1), (0, 2), (1, 2)):
            won, turned = generator.random() < chance, generator.random() < 0.5
            sides = (second, first) if turned else (first, second)
            rows.append((*sides, prompt, int(generator.integers(10)), 0 if won != turned else 2))
    return votes_of(rows)


def test_a_pair_counts_wins_ties_and_losses_of_its_first_system_on_whichever_side_it_stood():
    rows = [(0, 1, 0, 0, 0), (1, 0, 1, 1, 2), (0, 1, 2, 2, 1), (1, 0, 3, 3, 0), (0, 1, 4, 4, -1)]
    result = paired(votes_of(rows))
    pair = result.pairs[0]
    assert (pair.first, pair.second, pair.wins, pair.ties, pair.losses, pair.answers) == ("a", "b", 2, 1, 1, 4)
    assert pair.net.value == pytest.approx(1 / 4)
    assert result.net_of("b", "a").value == -result.net_of("a", "b").value
    assert result.net_of("b", "a").low == -result.net_of("a", "b").high
    with pytest.raises(KeyError, match="no pair"):
        result.net_of("a", "z")


def test_a_pair_that_nobody_was_asked_about_is_unknown_and_leaves_the_rest_alone():
    result = paired(votes_of([(0, 1, prompt, prompt % 7, 0) for prompt in range(30)]))
    assert np.isnan(result.pairs[1].net.value) and not result.pairs[1].settled
    assert result.pairs[0].net.value == 1.0 and 0.6 < result.pairs[0].net.low < 1.0
    by_name = {standing.system: standing for standing in result.standings}
    assert by_name["a"].net.value == 1.0 and by_name["b"].net.value == -1.0 and np.isnan(by_name["c"].net.value)
    assert by_name["c"].answers == 0


def test_a_systems_own_rate_is_the_mean_over_opponents_however_often_each_was_met():
    rows = [(0, 1, prompt, prompt % 8, 0) for prompt in range(90)]
    rows += [(0, 2, prompt, prompt % 8, 0 if prompt < 10 else 2) for prompt in range(20)]
    standings = {standing.system: standing for standing in paired(votes_of(rows)).standings}
    assert standings["a"].net.value == pytest.approx((1.0 + 0.0) / 2)
    assert standings["a"].answers == 110


def test_what_is_far_apart_is_settled_and_ranked_and_what_is_not_says_so():
    far = paired(made(200, 0, 0.7))
    assert all(pair.settled for pair in far.pairs)
    assert [(place.system, place.best_rank, place.worst_rank) for place in far.standings] == [
        ("a", 1, 1), ("b", 2, 2), ("c", 3, 3),
    ]  # fmt: skip
    close = paired(made(200, 1, 0.5))
    assert not any(pair.settled for pair in close.pairs)
    assert all(place.worst_rank - place.best_rank >= 1 for place in close.standings)


def test_intervals_cover_the_truth_of_a_pair_and_of_a_system():
    hits, tries, widths = 0, 0, []
    for seed in range(40):
        result = paired(made(100, seed, 0.6), num_bootstraps=100)
        by_name = {place.system: place.net for place in result.standings}
        for interval, value in [
            *((pair.net, 0.2) for pair in result.pairs),
            (by_name["a"], 0.2),
            (by_name["b"], 0.0),
        ]:
            hits, tries = hits + (interval.low <= value <= interval.high), tries + 1
        widths += [pair.net.half_width for pair in result.pairs]
    assert hits / tries > 0.92
    assert np.mean(widths) < 1.25 * 1.96 * np.sqrt((1 - 0.2**2) / 100), "and are no wider than 100 answers need"


def test_axes_are_apart_and_a_missing_answer_leaves_the_others_of_its_item():
    votes = votes_of([(0, 1, prompt, prompt % 6, 0) for prompt in range(30)], ("motion_quality", "overall"))
    votes.answer_NA[:10, 0] = -1
    votes.answer_NA[:, 1] = 2
    result = paired_by_axis(votes, num_bootstraps=100)
    assert result["motion_quality"].pairs[0].answers == 20 and result["motion_quality"].pairs[0].net.value == 1
    assert result["overall"].pairs[0].answers == 30 and result["overall"].pairs[0].net.value == -1


def test_a_category_holds_its_own_prompts_only():
    votes = votes_of([(0, 1, prompt, prompt % 6, 0 if prompt < 12 else 2) for prompt in range(30)])
    category = {f"p{number}": "animals" if number < 12 else "people" for number in range(29)}
    result = paired_by_category(votes, category, num_bootstraps=100)
    assert list(result) == ["animals", "people"]
    assert (result["animals"].pairs[0].answers, result["animals"].pairs[0].net.value) == (12, 1.0)
    assert (result["people"].pairs[0].answers, result["people"].pairs[0].net.value) == (17, -1.0)
    assert paired(votes.chosen(np.zeros(30, dtype=bool)), num_bootstraps=100).pairs[0].answers == 0
