"""Questions are balanced, sides even, keys opaque, checks in their share, and the same rows deal the same items."""

import json
from collections import Counter, defaultdict
from dataclasses import replace

import pytest

from annotation.study.axes import ALL_AXES, Design
from annotation.study.dealing import GoldQuestion, Question, asked, first_items, next_items, questions
from annotation.study.settings import AdaptiveSettings, CheckSettings, StudySettings
from curation.records import UserError
from curation.study_records import StudyAnswer, StudyItem, StudyPrompt, StudyVideo

SYSTEMS = ("ours", "theirs", "third", "fourth")
SECRET = b"secret of the study"
PROMPTS = [StudyPrompt("study", f"p{number:03}", f"A dog runs, take {number}.") for number in range(60)]


def video(system: str, prompt_id: str) -> StudyVideo:
    return StudyVideo("study", f"m{hash((system, prompt_id)):x}", system, prompt_id, "", "", "", 640, 480, 24.0, 48)


VIDEOS = [video(system, prompt.prompt_id) for system in SYSTEMS for prompt in PROMPTS]
SYSTEM_OF = {some.media_key: some.system for some in VIDEOS}
EVERYTHING = StudySettings(adaptive=AdaptiveSettings(enabled=False), judges=6)
JUDGES = tuple(f"judge-{number}" for number in range(6))


def ordinary(items: list[StudyItem]) -> list[StudyItem]:
    return [item for item in items if item.kind in ("random", "adaptive")]


def ways(items: list[StudyItem]) -> Counter:
    return Counter((SYSTEM_OF[item.media_a], SYSTEM_OF[item.media_b]) for item in items)


def answered(items: list[StudyItem], judge: str) -> list[StudyAnswer]:
    return [
        StudyAnswer("study", item.item_key, item.item_key, judge, "{}", 9.0, f"2026-01-01T{place:06}", True)
        for place, item in enumerate(items)
    ]


def test_everything_is_asked_once_and_sides_are_even_for_pairs_and_systems():
    items = ordinary(first_items(EVERYTHING, PROMPTS, VIDEOS, SECRET))
    times = Counter((item.prompt_id, frozenset((item.media_a, item.media_b))) for item in items)
    assert len(times) == 60 * 6 and set(times.values()) == {1}
    for (one, other), number in ways(items).items():
        assert number == ways(items)[other, one] == 30
    assert len({item.item_key for item in items}) == len(items)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.4])
def test_every_beginning_of_the_order_is_balanced_over_pairs_and_prompts(share):
    settings = StudySettings(adaptive=AdaptiveSettings(first_share=share))
    items = ordinary(first_items(settings, PROMPTS, VIDEOS, SECRET))
    assert len(items) == round(share * 360)
    pairs = Counter(tuple(sorted(pair)) for pair in ways(items).elements())
    prompts = Counter(item.prompt_id for item in items)
    assert max(pairs.values()) - min(pairs.values()) <= 1 and len(pairs) == 6
    assert max(prompts.values()) - min(prompts[prompt.prompt_id] for prompt in PROMPTS) <= 1


def test_a_missing_video_takes_its_pairs_out_and_nothing_else():
    videos = [some for some in VIDEOS if (some.system, some.prompt_id) != ("ours", "p007")]
    every = questions(videos, EVERYTHING, SECRET)
    assert len(every) == 360 - 3
    assert Counter(question.prompt_id for question in every)["p007"] == 3
    assert not [question for question in every if question.prompt_id == "p007" and "ours" in question.pair]


def test_a_prompt_outside_the_table_is_not_asked_and_nothing_to_ask_is_said():
    assert {item.prompt_id for item in first_items(EVERYTHING, PROMPTS[:5], VIDEOS, SECRET)} == {
        prompt.prompt_id for prompt in PROMPTS[:5]
    }
    with pytest.raises(UserError, match=r"1 videos of 60 known prompts leave nothing to ask.*see the failures"):
        first_items(EVERYTHING, PROMPTS, VIDEOS[:1], SECRET)


def test_the_same_arguments_give_the_same_items_and_the_seed_without_the_secret_tells_nothing():
    items = first_items(EVERYTHING, PROMPTS, VIDEOS, SECRET)
    assert items == first_items(EVERYTHING, PROMPTS[::-1], VIDEOS[::-1], SECRET)
    guessed = first_items(EVERYTHING, PROMPTS, VIDEOS, b"a guess")
    assert not {item.item_key for item in items} & {item.item_key for item in guessed}
    sides = {(item.prompt_id, frozenset((item.media_a, item.media_b))): item.media_a for item in ordinary(items)}
    alike = [
        sides[item.prompt_id, frozenset((item.media_a, item.media_b))] == item.media_a for item in ordinary(guessed)
    ]
    assert 0.4 < sum(alike) / len(alike) < 0.6
    assert [item.item_key for item in items] == sorted(item.item_key for item in items)


def test_named_judges_get_even_loads_every_pair_evenly_and_no_question_twice():
    settings = EVERYTHING.model_copy(update={"answers_wanted": 2})
    items = ordinary(first_items(settings, PROMPTS, VIDEOS, SECRET, judges=JUDGES))
    assert len(items) == 720 and {item.answers_wanted for item in items} == {1}
    assert set(Counter(item.judge for item in items).values()) == {120}
    by_pair = Counter((item.judge, frozenset(map(SYSTEM_OF.get, (item.media_a, item.media_b)))) for item in items)
    assert set(by_pair.values()) == {20}
    times = Counter((item.judge, item.prompt_id, frozenset((item.media_a, item.media_b))) for item in items)
    assert max(times.values()) == 1
    with pytest.raises(UserError, match="answers_wanted is 2, but there are 1 judges"):
        first_items(settings, PROMPTS, VIDEOS, SECRET, judges=("alone",))


def test_anybody_may_answer_where_no_judge_is_named():
    settings = EVERYTHING.model_copy(update={"answers_wanted": 3})
    items = ordinary(first_items(settings, PROMPTS, VIDEOS, SECRET))
    assert {(item.judge, item.answers_wanted) for item in items} == {("", 3)}


def test_identical_pairs_take_their_share_evenly_from_the_systems_and_expect_a_tie():
    items = first_items(EVERYTHING, PROMPTS, VIDEOS, SECRET, judges=JUDGES)
    twice = [item for item in items if item.kind == "identical"]
    assert len(twice) == round(0.03 * 360)
    assert all(item.media_a == item.media_b for item in twice)
    assert json.loads(twice[0].expected) == dict.fromkeys(ALL_AXES, "tie")
    assert max(Counter(SYSTEM_OF[item.media_a] for item in twice).values()) == 3
    assert max(Counter(item.judge for item in twice).values()) == 2


GOLD = [
    GoldQuestion(Question(f"p{number:03}", "theirs", "ours"), {"overall": "B", "motion_quality": "tie"})
    for number in range(20)
]


@pytest.mark.parametrize("judges", [JUDGES, ()])
def test_a_judge_meets_a_gold_question_once_and_its_answer_turns_with_the_sides(judges):
    settings = EVERYTHING.model_copy(update={"checks": CheckSettings(gold_share=0.1)})
    items = [item for item in first_items(settings, PROMPTS, VIDEOS, SECRET, GOLD, judges) if item.kind == "gold"]
    assert sum(item.answers_wanted for item in items) == 36
    assert max(Counter((item.judge, item.prompt_id) for item in items).values()) == 1
    assert {item.answers_wanted for item in items} == ({1} if judges else {6})
    for item in items:
        right = "A" if SYSTEM_OF[item.media_a] == "ours" else "B"
        assert json.loads(item.expected) == {"overall": right, "motion_quality": "tie"}
    more = next_items(
        settings, PROMPTS, VIDEOS, items, [], [Question("p001", "ours", "third")] * 1, SECRET, GOLD, judges
    )
    assert not {(item.judge, item.prompt_id) for item in more if item.kind == "gold"} & {
        (item.judge, item.prompt_id) for item in items
    }


@pytest.mark.parametrize(
    ("question", "expected", "message"),
    [
        (Question("p001", "ours", "nobody"), {"overall": "A"}, "no video of nobody"),
        (Question("p001", "ours", "theirs"), {}, "no axis has an answer"),
        (Question("p002", "ours", "theirs"), {"overall": "A"}, "listed twice"),
    ],
)
def test_gold_that_cannot_be_asked_is_named(question, expected, message):
    gold = [GoldQuestion(question, expected), GoldQuestion(Question("p002", "theirs", "ours"), {"overall": "A"})]
    with pytest.raises(UserError, match=message):
        first_items(EVERYTHING, PROMPTS, VIDEOS, SECRET, gold)


def test_a_later_round_asks_what_was_chosen_and_keeps_sides_even_with_what_was_asked():
    settings = StudySettings(judges=6)
    items = first_items(settings, PROMPTS, VIDEOS, SECRET, judges=JUDGES)
    every = questions(VIDEOS, settings, SECRET)
    for number in (1, 2, 3):
        chosen = every[36 + 11 * (number - 1) : 36 + 11 * number]
        new = next_items(settings, PROMPTS, VIDEOS, items, [], chosen, SECRET, judges=JUDGES)
        assert {item.round for item in new} == {number}
        assert len(ordinary(new)) == 11 and {item.kind for item in ordinary(new)} == {"adaptive"}
        items = items + new
        count = ways(ordinary(items))
        assert all(abs(number - count[other, one]) <= 1 for (one, other), number in count.items())
        loads = Counter(item.judge for item in items)
        assert max(loads.values()) - min(loads.values()) <= 3, "the least loaded come first, checks included"
    assert len({item.item_key for item in items}) == len(items)


def test_repeats_come_back_to_the_judge_who_answered_sides_exchanged_in_the_stated_share_and_once():
    items = first_items(EVERYTHING, PROMPTS, VIDEOS, SECRET)
    answers = answered(ordinary(items)[:100], "ann") + answered(ordinary(items)[:19], "bob")
    skipped = [replace(answer, judge="cid", skipped=True) for answer in answered(ordinary(items), "cid")]
    again = next_items(EVERYTHING, PROMPTS, VIDEOS, items, answers + skipped, [], SECRET)
    assert Counter(item.judge for item in again) == {"ann": 5}
    by_key = {item.item_key: item for item in items}
    for item in again:
        first = by_key[item.repeats]
        assert (item.kind, item.media_a, item.media_b, item.answers_wanted) == (
            "repeat",
            first.media_b,
            first.media_a,
            1,
        )
        assert item.repeats in {one.item_key for one in ordinary(items)[:50]}, "of the older half"
    assert next_items(EVERYTHING, PROMPTS, VIDEOS, items + again, answers, [], SECRET) == []
    more = answers + answered(ordinary(items)[100:140], "ann")
    assert len(next_items(EVERYTHING, PROMPTS, VIDEOS, items + again, more, [], SECRET)) == 2


def test_a_repeat_goes_to_the_seat_that_the_item_was_dealt_to_whatever_the_account_is_called():
    items = ordinary(first_items(EVERYTHING, PROMPTS, VIDEOS, SECRET, judges=JUDGES))
    mine = [item for item in items if item.judge == "judge-2"]
    again = next_items(EVERYTHING, PROMPTS, VIDEOS, items, answered(mine, "judge-2@localhost"), [], SECRET)
    assert {item.judge for item in again} == {"judge-2"} and len(again) == 3


def test_what_was_asked_reads_as_the_questions_it_was_dealt_from():
    items = first_items(EVERYTHING, PROMPTS, VIDEOS, SECRET)
    assert set(asked(items, VIDEOS)) == set(questions(VIDEOS, EVERYTHING, SECRET))


def test_the_absolute_design_asks_every_video_alone_and_repeats_it_alone():
    settings = EVERYTHING.model_copy(update={"design": Design.ABSOLUTE, "answers_wanted": 2})
    gold = [GoldQuestion(Question("p003", "ours"), {"motion_quality": "fail"})]
    items = first_items(settings, PROMPTS, VIDEOS, SECRET, gold, JUDGES)
    seen = defaultdict(set)
    for item in ordinary(items):
        seen[item.media_a].add(item.judge)
    assert {key: len(judges) for key, judges in seen.items()} == dict.fromkeys(SYSTEM_OF, 2)
    assert {item.media_b for item in items} == {""}
    assert {item.kind for item in items} == {"random", "gold"}
    mine = [item for item in ordinary(items) if item.judge == "judge-1"][:40]
    again = next_items(settings, PROMPTS, VIDEOS, items, answered(mine, "judge-1"), [], SECRET)
    assert len(again) == 2 and {item.media_b for item in again} == {""}
