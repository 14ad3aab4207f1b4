"""Rounds go to what is in doubt, come out the same twice, and end when nothing is."""

from collections import Counter
from functools import cache

import numpy as np
import pytest

from annotation.study.adaptive import (
    Doubt,
    State,
    answered_share,
    chance_to_settle,
    choose,
    doubts_of,
    looks,
    peeking_quantile,
    shared_out,
)
from annotation.study.crowd import HUNYUAN_TABLE, Crowd, Published, answers_to, make_judges
from annotation.study.dealing import asked, first_items, next_items
from annotation.study.rows import pair_votes
from annotation.study.settings import AdaptiveSettings, StudySettings
from annotation.study.tied_strengths import Fitted, Strengths
from curation.study_records import StudyAnswer, StudyItem, StudyPrompt, StudyVideo

SECRET = b"secret"
JUDGES = tuple(f"simulated-{number:02}" for number in range(12))
MIDDLE, WEAK = Published("Middle", 0.45, 0.5, 0.93, 0.22), Published("Weak", 0.28, 0.33, 0.9, 0.09)
PUBLISHED = (*HUNYUAN_TABLE[:2], MIDDLE, WEAK)  # the first two are close, the others far apart
PROMPTS = [StudyPrompt("study", f"p{number:03}", "A dog.") for number in range(200)]
VIDEOS = [
    StudyVideo("study", f"m-{row.system}-{prompt.prompt_id}", row.system, prompt.prompt_id, "", "", "", 8, 8, 8.0, 8)
    for row in PUBLISHED
    for prompt in PROMPTS
]
SETTINGS = StudySettings(judges=12, bootstraps=200, adaptive=AdaptiveSettings(first_share=0.15, round_share=0.1))
CROWD = Crowd(PUBLISHED, [prompt.prompt_id for prompt in PROMPTS], make_judges(JUDGES, 1), 1)


def answered(items: list[StudyItem]) -> list[StudyAnswer]:
    return answers_to(CROWD, VIDEOS, [(item, item.judge) for item in items])


@cache
def first() -> list[StudyItem]:
    return first_items(SETTINGS, PROMPTS, VIDEOS, SECRET, judges=JUDGES)


def chosen(items: list[StudyItem], settings: StudySettings = SETTINGS):
    return choose(settings, PROMPTS, VIDEOS, items, pair_votes(PROMPTS, VIDEOS, items, answered(items)), SECRET)


def doubt(name: str, chance: float, unasked: int, state: State = State.OPEN) -> Doubt:
    return Doubt(name, f"{name}'", True, 1.0, 0.1, 0.1, unasked, chance, state)


def test_a_round_asks_new_questions_of_open_pairs_and_never_one_twice():
    choice = chosen(first())
    assert not choice.finished and "in doubt" in choice.reason
    assert len(choice.questions) == 120 == len(set(choice.questions))
    assert not set(choice.questions) & set(asked(first(), VIDEOS))
    open_pairs = {frozenset((each.stronger, each.weaker)) for each in choice.doubts if each.state is State.OPEN}
    assert {frozenset(question.pair) for question in choice.questions} <= open_pairs
    assert (choice.asked, choice.possible) == (180, 1200)


def test_the_same_rows_in_any_order_choose_the_same():
    votes = pair_votes(PROMPTS, VIDEOS, first(), answered(first()))
    turned = pair_votes(PROMPTS[::-1], VIDEOS[::-1], first()[::-1], answered(first())[::-1])
    one = choose(SETTINGS, PROMPTS, VIDEOS, first(), votes, SECRET)
    assert one == choose(SETTINGS, PROMPTS[::-1], VIDEOS[::-1], first()[::-1], turned, SECRET)


def test_prompts_that_were_asked_least_come_first():
    choice = chosen(first())
    before = Counter(question.prompt_id for question in asked(first(), VIDEOS))
    assert len(before) < len(PROMPTS) and max(before.values()) == 1
    after = before + Counter(question.prompt_id for question in choice.questions)
    assert set(after) == {prompt.prompt_id for prompt in PROMPTS} and max(after.values()) == 2


def test_rounds_end_with_the_planted_ranking_and_at_most_sixty_percent_of_the_answers():
    items, settings = list(first()), SETTINGS.model_copy(update={"bootstraps": 100})
    for _ in range(20):
        choice = chosen(items, settings)
        if choice.finished:
            break
        items += next_items(settings, PROMPTS, VIDEOS, items, [], choice.questions, SECRET, judges=JUDGES)
    assert choice.finished and not choice.questions
    assert choice.asked <= 0.6 * choice.possible
    by_pair = {(each.stronger, each.weaker): each.state for each in choice.doubts}
    assert by_pair["CNTopA", "Middle"] is by_pair["Middle", "Weak"] is State.SETTLED
    assert by_pair["HunyuanVideo", "Middle"] is by_pair["HunyuanVideo", "Weak"] is State.SETTLED
    for each in choice.doubts[:3]:
        assert each.adjacent and (each.state is State.SETTLED or each.chance_to_settle < 0.05)


def test_no_more_than_the_stated_share_is_asked():
    stingy = AdaptiveSettings(first_share=0.15, round_share=0.1, most_share=0.2)
    settings = SETTINGS.model_copy(update={"adaptive": stingy})
    assert len(chosen(first(), settings).questions) == 60
    ended = SETTINGS.model_copy(update={"adaptive": AdaptiveSettings(first_share=0.15, most_share=0.15)})
    choice = chosen(first(), ended)
    assert choice.finished and "most_share is asked" in choice.reason


def test_without_answers_nothing_is_chosen_and_nothing_is_finished():
    votes = pair_votes(PROMPTS, VIDEOS, first(), answered(first()[:1]))
    choice = choose(SETTINGS, PROMPTS, VIDEOS, first(), votes, SECRET)
    assert not choice.finished and not choice.questions and "too few answers" in choice.reason


@pytest.mark.parametrize(
    ("gap", "error", "unasked", "state"),
    [
        (1.0, 0.1, 5, State.SETTLED),
        (1.0, 0.1, 0, State.SETTLED),
        (0.001, 0.001, 5, State.NEGLIGIBLE),
        (0.01, 0.1, 190, State.OPEN),
        (0.1, 0.1, 0, State.TOO_CLOSE),
        (0.01, 0.1, 100, State.TOO_CLOSE),
        (0.2, 0.1, 100, State.OPEN),
    ],
)
def test_what_is_known_of_two_systems_has_one_name(gap, error, unasked, state):
    drawn = gap + error * np.random.default_rng(0).standard_normal(500)
    half = np.concatenate([[gap], drawn]) / 2
    found = Strengths(("b", "a"), "overall", Fitted(np.stack([half, -half], axis=1), np.full(501, 0.4)), 0.95)
    (only,) = doubts_of(found, {("a", "b"): 200}, {("a", "b"): unasked}, AdaptiveSettings())
    assert (only.stronger, only.weaker, only.adjacent, only.state) == ("b", "a", True, state)


def test_questions_are_shared_out_by_doubt_and_by_what_is_left():
    near, far, closed = doubt("near", 0.6, 1000), doubt("far", 0.2, 1000), doubt("closed", 1.0, 1000, State.SETTLED)
    assert {each.stronger: some for each, some in shared_out([near, far, closed], 100)} == {"near": 75, "far": 25}
    few = doubt("few", 0.6, 10)
    assert {each.stronger: some for each, some in shared_out([few, far], 100)} == {"few": 10, "far": 90}
    assert sum(some for _, some in shared_out([few, doubt("also", 0.6, 5)], 100)) == 15
    assert shared_out([closed], 100) == []


def test_the_chance_to_settle_is_how_often_the_rest_of_the_answers_does():
    generator = np.random.default_rng(0)
    steps = 0.08 + generator.standard_normal((40_000, 100))  # a true difference, known to nobody
    walked = np.cumsum(steps, axis=1)
    early = walked[:, 39] / np.sqrt(40)
    like = np.abs(early - 1.0) < 0.1
    # with a flat prior the truth lies around the estimate, so draw it there and walk on
    truth = early[like] / np.sqrt(40) + generator.standard_normal(like.sum()) / np.sqrt(40)
    rest = truth * 60 + np.sqrt(60) * generator.standard_normal(like.sum())
    settled = np.abs(walked[like, 39] + rest) / np.sqrt(100) > 2.0
    assert chance_to_settle(1.0, 0.4, 2.0) == pytest.approx(settled.mean(), abs=0.03)
    assert chance_to_settle(2.1, 1.0, 2.0) == 1 and chance_to_settle(1.9, 1.0, 2.0) == 0


def test_looking_often_asks_for_more_standard_errors_so_that_equals_seldom_seem_settled():
    assert looks(AdaptiveSettings(first_share=0.1, round_share=0.05, most_share=1.0)) == 19
    assert peeking_quantile(0.95, 1) == pytest.approx(1.96, abs=0.02)
    assert peeking_quantile(0.95, 5) == pytest.approx(2.413, abs=0.02)  # Pocock 1977, table 1
    assert peeking_quantile(0.99, 10) == pytest.approx(3.117, abs=0.04)


def test_how_much_of_a_round_is_answered_counts_each_judge_once_and_no_more_than_wanted():
    items = [StudyItem("study", f"i{number}", "random", "p000", "a", "b", 0, 2) for number in range(4)]
    items.append(StudyItem("study", "gold", "gold", "p000", "a", "b", 0, 2))
    given = [("i0", "x"), ("i0", "x"), ("i1", "x"), ("i1", "y"), ("i1", "z"), ("gold", "x")]
    rows = [StudyAnswer("study", f"{place}", *pair, "{}", 1.0, "", True) for place, pair in enumerate(given)]
    rows.append(StudyAnswer("study", "skip", "i2", "x", "{}", 1.0, "", True, skipped=True))
    assert answered_share(items, rows) == 3 / 8
