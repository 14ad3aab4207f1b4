"""A study's figures in the nouns of both designs: who is ahead, by how much, and on which prompts."""

import json

import numpy as np
import pytest

from annotation.study.axes import ALL_AXES, OVERALL
from annotation.study.planning import State
from annotation.study.settings import StudySettings
from annotation.study.votes import PairVotes, PassVotes
from curation.study_records import StudyPrompt
from jobs.study_figures import MOST_KINDS, kinds_of, result

SYSTEMS = ("bad", "good", "middling")
PASSING = np.array([0.2, 0.8, 0.5])
SETTINGS = StudySettings(bootstraps=200)
KINDS = {"motion": {f"p{number}": "low" if number < 50 else "high" for number in range(100)}}


def pass_votes() -> PassVotes:
    generator = np.random.default_rng(3)
    system, prompt = (each.ravel().astype(np.int32) for each in np.meshgrid(range(3), range(100)))
    passed = (generator.random((300, 3)) < PASSING[system, None] ** (1 / 3)).astype(np.int8)
    passed = np.column_stack([passed, passed.min(1)])
    judge = generator.integers(8, size=300).astype(np.int32)
    names = tuple(f"judge-{number}" for number in range(8))
    return PassVotes(SYSTEMS, tuple(KINDS["motion"]), names, ALL_AXES, system, prompt, judge, passed)


def pair_votes() -> PairVotes:
    generator = np.random.default_rng(4)
    pairs = [(0, 1), (2, 0), (1, 2)]
    first, second = (np.repeat([pair[side] for pair in pairs], 100).astype(np.int32) for side in (0, 1))
    gap = PASSING[first, None] - PASSING[second, None] + 0.6 * generator.standard_normal((300, 4))
    answer = np.where(gap > 0.1, 0, np.where(gap < -0.1, 2, 1)).astype(np.int8)
    judge = generator.integers(8, size=300).astype(np.int32)
    prompt = np.tile(np.arange(100, dtype=np.int32), 3)
    names = tuple(f"judge-{number}" for number in range(8))
    return PairVotes(SYSTEMS, tuple(KINDS["motion"]), names, ALL_AXES, first, second, prompt, judge, answer)


@pytest.mark.parametrize("votes", [pass_votes(), pair_votes()], ids=["absolute", "pairwise"])
def test_systems_stand_by_what_was_planted_and_contests_name_the_one_ahead_first(votes):
    found = result(votes, {}, SETTINGS)
    assert [each.system for each in found.standings] == ["good", "middling", "bad"]
    assert [each.rank for each in found.standings] == [1, 2, 3]
    assert [(each.first, each.second) for each in found.contests] == [
        ("good", "middling"), ("good", "bad"), ("middling", "bad"),
    ]  # fmt: skip
    for each in found.contests:
        assert each.difference.value > 0 and each.settled == each.difference.excludes_zero
        assert each.axes[OVERALL] == each.difference and set(each.axes) == set(ALL_AXES)
    assert found.answers == 300 and found.judges == 8 and found.over_judges


def test_pass_rates_are_counted_shares_and_have_no_strength():
    votes = pass_votes()
    best = result(votes, {}, SETTINGS).standings[0]
    own = votes.passed_NA[votes.system_N == 1]
    assert [best.axes[axis].value for axis in ALL_AXES] == pytest.approx(own.mean(0).tolist())
    assert best.strength is None and best.answers == 100


def test_counts_of_a_comparison_are_of_the_one_ahead_and_give_its_net_wins():
    votes = pair_votes()
    for each in result(votes, {}, SETTINGS).contests:
        assert each.counts is not None
        won, tied, lost = each.counts
        assert won + tied + lost == each.answers == 100
        assert each.difference.value == pytest.approx((won - lost) / 100)
    assert result(votes, {}, SETTINGS) == result(votes, {}, SETTINGS)


@pytest.mark.parametrize("votes", [pass_votes(), pair_votes()], ids=["absolute", "pairwise"])
def test_kinds_of_prompts_share_out_all_answers(votes):
    slices = result(votes, KINDS, SETTINGS).slices
    assert [(each.column, each.value, each.prompts, each.answers) for each in slices] == [
        ("motion", "high", 50, 150), ("motion", "low", 50, 150),
    ]  # fmt: skip
    assert all(each.overall["good"].value > each.overall["bad"].value for each in slices)


@pytest.mark.parametrize("votes", [pass_votes(), pair_votes()], ids=["absolute", "pairwise"])
def test_without_answers_nobody_stands(votes):
    found = result(votes.chosen(np.zeros(300, bool)), KINDS, SETTINGS)
    assert found.standings == found.contests == found.slices == () and found.answers == 0


def test_a_column_that_tells_prompts_apart_is_no_kind():
    prompts = [
        StudyPrompt("s", f"p{number}", "", json.dumps({"id": f"x{number}", "motion": "low", "level": 2}))
        for number in range(MOST_KINDS + 1)
    ]
    kinds, many = kinds_of(prompts, ())
    assert sorted(kinds) == ["level", "motion"] and kinds["level"]["p0"] == "2" and many == ["id"]
    assert sorted(kinds_of(prompts, ("motion",))[0]) == ["motion"]


@pytest.mark.parametrize("votes", [pass_votes(), pair_votes()], ids=["absolute", "pairwise"])
def test_an_open_difference_tells_how_many_more_answers_would_settle_it(votes):
    few = votes.chosen(np.isin(votes.prompt_N, range(12)))
    contests = result(few, {}, SETTINGS).contests
    still = [each for each in contests if not each.settled]
    assert still and all(each.remaining.answers > 0 for each in still if each.remaining.state is State.ANSWERS)
    assert all(each.remaining.answers == 0 for each in contests if each.settled)
