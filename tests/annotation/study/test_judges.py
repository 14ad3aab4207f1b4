"""Judges: planted careless, leaning, hasty and contrary ones are found, and attentive ones stay."""

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtri

from annotation.study.axes import ALL_AXES, AXES
from annotation.study.judges import alphas, failed_checks, judges, left_out, side_bias
from annotation.study.rows import CODES, given, pair_votes, pass_votes
from annotation.study.settings import CheckSettings
from curation.study_records import ItemKind
from tests.annotation.study.asked import answer, item, prompts_of, video
from tests.annotation.study.passing import pass_study

SETTINGS = CheckSettings()
PROMPTS = prompts_of(40)
STRENGTH = {"ours": 0.8, "luma": 0.0, "gen": -0.4}
VIDEOS = [video(system, prompt.prompt_id) for prompt in PROMPTS for system in STRENGTH]
HONEST = tuple(f"judge-{place}" for place in range(6))
PLANTED = (*HONEST, "careless", "leaning", "hasty")


class Crowd:
    """Everybody answers every item about latent qualities that differ by axis; A / tie / B by a band of 0.7."""

    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)
        self.quality = {
            each.media_key: STRENGTH[each.system] + self.generator.standard_normal(len(ALL_AXES)) for each in VIDEOS
        }

    def says(self, judge: str, first: str, second: str) -> dict[str, str]:
        if judge == "careless":
            return dict(zip(ALL_AXES, self.generator.choice(["A", "tie", "B"], len(ALL_AXES)).tolist(), strict=True))
        felt = self.quality[first] - self.quality[second] + 0.6 * self.generator.standard_normal(len(ALL_AXES))
        felt += 0.6 if judge == "leaning" and first != second else 0.0
        return {
            axis: "A" if value > 0.7 else "B" if value < -0.7 else "tie"
            for axis, value in zip(ALL_AXES, felt.tolist(), strict=True)
        }


@pytest.fixture(scope="module")
def study():
    crowd, items = Crowd(0), []
    names = list(STRENGTH)
    for number, prompt in enumerate(PROMPTS):
        for place, one in enumerate(names):
            other = names[(place + 1) % 3]
            first, second = (one, other) if (number + place) % 2 else (other, one)
            items.append(item(f"{one}{number}", first, second, prompt.prompt_id))
    known = {"overall": "A", "text_alignment": "A"}
    for number in range(15):
        prompt_id = PROMPTS[number].prompt_id
        again = items[3 * number]
        sides = {"media_a": again.media_b, "media_b": again.media_a}
        items.append(replace(again, item_key=f"r{number}", kind=ItemKind.REPEAT, repeats=again.item_key, **sides))
        items.append(
            item(f"i{number}", "ours", "ours", prompt_id, ItemKind.IDENTICAL, expected=dict.fromkeys(ALL_AXES, "tie"))
        )
        best = max(VIDEOS, key=lambda each: crowd.quality[each.media_key][[0, -1]].min())
        worst = min(VIDEOS, key=lambda each: crowd.quality[each.media_key][[0, -1]].max())
        gold = item(f"g{number}", "ours", "gen", prompt_id, ItemKind.GOLD, expected=known)
        items.append(replace(gold, media_a=best.media_key, media_b=worst.media_key))
    answers = [
        answer(
            each.item_key, judge, crowd.says(judge, each.media_a, each.media_b), seconds=1.5 if judge == "hasty" else 20
        )
        for each in items
        for judge in PLANTED
    ]
    return items, answers


@pytest.fixture(scope="module")
def found(study):
    return {judge.name: judge for judge in judges(given(*study), SETTINGS)}


def test_planted_judges_fail_by_what_was_planted_and_nobody_else_does(found):
    assert left_out(found.values()) == ("careless", "hasty")
    careless, hasty = found["careless"].failed, found["hasty"].failed
    assert {reason.split(":")[0] for reason in careless} >= {
        "known answers right",
        "repeats answered alike",
        "agreement with other judges beyond chance (kappa)",
    }
    assert hasty == ("median of 1.5 s per item; at least 3 s wanted",)


def test_shares_are_those_of_the_answers(study, found):
    """Counted again from the rows, one answer at a time."""
    items = {each.item_key: each for each in study[0]}
    said = {(row.item_key, row.judge): json.loads(row.answers) for row in study[1]}
    exchanged = {"A": "B", "B": "A", "tie": "tie"}
    for name in ("judge-0", "careless", "leaning"):
        alike = [
            exchanged[said[key, name][axis]] == said[each.repeats, name][axis]
            for key, each in items.items()
            if each.repeats
            for axis in ALL_AXES
        ]
        ties = [said[f"i{number}", name][axis] == "tie" for number in range(15) for axis in ALL_AXES]
        right = [
            said[f"g{number}", name][axis] == "A" for number in range(15) for axis in ("overall", "text_alignment")
        ]
        judge = found[name]
        values = (judge.repeats.found.value, judge.identical.found.value, judge.gold.found.value)
        assert values == pytest.approx((np.mean(alike), np.mean(ties), np.mean(right)))
        assert {judge.repeats.items, judge.identical.items, judge.gold.items} == {15}
        assert judge.items == 165 and judge.answers == 120


def test_the_planted_lean_is_seen_and_only_with_the_one_who_leans(study, found):
    assert found["leaning"].side_a.low > 0.55
    assert all(found[name].side_a.low < 0.5 < found[name].side_a.high for name in HONEST)
    votes = pair_votes(PROMPTS, VIDEOS, *study)
    leaning = votes.judges.index("leaning")
    assert side_bias(votes.chosen(votes.judge_N == leaning)).low > 0.55
    everybody = side_bias(votes.chosen(votes.judge_N != leaning))
    assert everybody.low < 0.5 < everybody.high
    assert math.isnan(side_bias(votes.chosen(votes.answer_NA[:, 0] < -1)).value)


def test_a_share_below_the_wanted_one_by_chance_alone_fails_nobody(found):
    strict = CheckSettings(least_repeat=found["judge-0"].repeats.found.value + 0.02)
    assert not any("repeats" in reason for reason in failed_checks(found["judge-0"], strict))
    stricter = CheckSettings(least_repeat=min(1.0, found["judge-0"].repeats.at_most + 0.01))
    assert any("repeats" in reason for reason in failed_checks(found["judge-0"], stricter))
    fewer = replace(
        found["careless"],
        **{
            name: replace(getattr(found["careless"], name), items=7)
            for name in ("gold", "repeats", "identical", "agreement")
        },
    )
    assert failed_checks(fewer, SETTINGS) == ()


def test_kappa_is_cohens_where_there_are_two_judges(study):
    items, answers = study
    two = [row for row in answers if row.judge in ("judge-1", "judge-2")]
    one, other = judges(given(items, two), SETTINGS)
    ordinary = sorted(each.item_key for each in items if each.kind == ItemKind.RANDOM)
    said = {(row.item_key, row.judge): json.loads(row.answers) for row in two}
    turned = {each.item_key: each.media_a > each.media_b for each in items}
    flip = {"A": "B", "B": "A", "tie": "tie"}
    for axis in ALL_AXES:
        rows = [[said[key, judge][axis] for key in ordinary] for judge in ("judge-1", "judge-2")]
        rows = [[flip[a] if turned[key] else a for key, a in zip(ordinary, row, strict=True)] for row in rows]
        table = np.zeros((3, 3))
        np.add.at(table, tuple([CODES[word] for word in row] for row in rows), 1 / len(ordinary))
        by_chance = table.sum(0) @ table.sum(1)
        expected = (np.trace(table) - by_chance) / (1 - by_chance)
        assert one.agreement_by_axis[axis] == pytest.approx(expected)
        assert other.agreement_by_axis[axis] == pytest.approx(expected)


def test_chance_answers_without_gold_are_seen_by_agreement_in_the_absolute_design():
    """Half of a coin's repeats agree, so only what others say of the same videos tells it from a judge."""
    generator = np.random.default_rng(0)
    items = [
        item(f"k{place}", system, prompt_id=prompt.prompt_id)
        for place, (prompt, system) in enumerate((prompt, system) for prompt in PROMPTS for system in STRENGTH)
    ]
    quality = generator.standard_normal((len(items), 3))
    answers = []
    for judge in (*HONEST, "coin"):
        felt = quality + 1.2 * generator.standard_normal(quality.shape) + ndtri([0.6, 0.65, 0.95]) * 1.5
        passed = generator.random(quality.shape) < 0.5 if judge == "coin" else felt > 0
        for each, row in zip(items, passed.tolist(), strict=True):
            words = ["pass" if axis else "fail" for axis in row]
            answers.append(answer(each.item_key, judge, dict(zip(map(str, AXES), words, strict=True))))
    found = judges(given(items, answers), SETTINGS)
    assert left_out(found) == ("coin",) and "kappa" in found[0].failed[0]
    assert found[0].agreement.found.low < 0 < found[0].agreement.found.high
    assert math.isnan(found[0].tie_share) and math.isnan(found[0].side_a.value) and found[1].pass_share > 0.3
    with_coin = alphas(pass_votes(PROMPTS, VIDEOS, items, answers))[0]
    without = alphas(pass_votes(PROMPTS, VIDEOS, items, answers, left_out(found)))[0]
    assert (without.alpha or 0) > (with_coin.alpha or 0) + 0.05


def test_alpha_is_that_of_the_published_formula_and_needs_two_judges(study):
    votes = pair_votes(PROMPTS, VIDEOS, *study)
    found = {each.question: each for each in alphas(votes)}
    assert set(found) == set(ALL_AXES) and {each.num_clips for each in found.values()} == {120}
    values = np.where(votes.first_N > votes.second_N, 2 - votes.answer_NA[:, 1], votes.answer_NA[:, 1])
    unit = list(
        zip(
            votes.prompt_N,
            np.minimum(votes.first_N, votes.second_N),
            np.maximum(votes.first_N, votes.second_N),
            strict=True,
        )
    )
    n_c = np.bincount(values, minlength=3)

    def between(c, k):
        return 0.0 if c == k else float((n_c[min(c, k) : max(c, k) + 1].sum() - (n_c[c] + n_c[k]) / 2) ** 2)

    observed = 0.0
    for each in set(unit):
        here = [value for value, name in zip(values, unit, strict=True) if name == each]
        observed += sum(between(c, k) for c, k in itertools.permutations(here, 2)) / (len(here) - 1)
    expected = sum(n_c[c] * n_c[k] * between(c, k) for c in range(3) for k in range(3)) / (len(values) - 1)
    assert found["motion_quality"].alpha == pytest.approx(1 - observed / expected)
    once = alphas(pass_study(np.random.default_rng(0), prompts=20, judges=1))
    assert [each.alpha for each in once] == [None] * 4


def test_a_second_word_of_one_judge_on_the_same_videos_is_no_agreement():
    items = [item("k1", "ours"), item("k2", "ours")]
    answers = [answer(key, "ann", dict.fromkeys(AXES, "pass")) for key in ("k1", "k2")]
    assert alphas(pass_votes(PROMPTS, VIDEOS, items, answers))[0].num_clips == 0


def test_nobody_is_judged_where_nobody_answered():
    assert judges(given([item("k1", "ours", "luma")], []), SETTINGS) == []
