"""Rows to votes: which answers count, and that A is who stood on side A."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from annotation.study.axes import ALL_AXES, AXES
from annotation.study.rows import given, pair_votes, pass_votes
from annotation.study.votes import MISSING
from curation.records import to_row
from curation.study_records import ItemKind, StudyAnswer, StudyItem
from curation.tables import schema_of
from tests.annotation.study.asked import answer, item, prompts_of, video

PROMPTS = prompts_of(3)
VIDEOS = [video(system, prompt.prompt_id) for prompt in PROMPTS for system in ("ours", "luma", "gen")]


def pairs(items, answers, leave_out=()):
    return pair_votes(PROMPTS, VIDEOS, items, answers, leave_out)


def test_the_winner_is_who_stood_on_the_side_that_was_named():
    items = [item("k1", "ours", "luma", "p0001"), item("k2", "gen", "ours", "p0002")]
    mixed = dict.fromkeys(ALL_AXES, "tie") | {"motion_quality": "B"}
    found = pairs(items, [answer("k2", "ann", mixed), answer("k1", "bob", "A")])
    assert found.systems == ("gen", "luma", "ours") and found.judges == ("ann", "bob") and found.axes == ALL_AXES
    assert [found.systems[place] for place in found.first_N] == ["ours", "gen"]
    assert [found.systems[place] for place in found.second_N] == ["luma", "ours"]
    assert [found.prompts[place] for place in found.prompt_N] == ["p0001", "p0002"]
    assert [found.judges[place] for place in found.judge_N] == ["bob", "ann"]
    assert found.answer_NA.tolist() == [[0, 0, 0, 0], [1, 2, 1, 1]]


def test_the_newest_word_of_a_judge_counts_and_a_skip_takes_it_back():
    items = [item("k1", "ours", "luma"), item("k2", "ours", "gen")]
    answers = [
        answer("k1", "ann", "A", after_s=1.5),
        answer("k1", "ann", "B", after_s=1.0),
        answer("k1", "bob", "tie"),
        answer("k2", "ann", "A"),
        answer("k2", "ann", "", after_s=9, skipped=True),
        answer("k2", "bob", "", skipped=True),
        answer("k2", "bob", "B", after_s=3600),
    ]
    found = pairs(items, answers)
    who = zip(found.second_N, found.judge_N, found.answer_NA[:, 0], strict=True)
    said = {(found.systems[system], found.judges[judge]): code for system, judge, code in who}
    assert said == {("luma", "ann"): 0, ("luma", "bob"): 1, ("gen", "bob"): 2}


def test_times_are_compared_as_times_not_as_text():
    early = replace(answer("k1", "ann", "A"), answered_at="2026-01-01T12:00:00+02:00", answer_key="z")
    late = replace(answer("k1", "ann", "B"), answered_at="2026-01-01T10:00:00.5Z", answer_key="a")
    found = pairs([item("k1", "ours", "luma")], [late, early])
    assert found.answer_NA[:, 0].tolist() == [2]


def test_checks_of_judges_say_nothing_of_systems():
    items = [
        item("k1", "ours", "luma"),
        item("k2", "luma", "ours", kind=ItemKind.REPEAT, repeats="k1"),
        item("k3", "ours", "luma", kind=ItemKind.GOLD, expected={"overall": "A"}),
        item("k4", "ours", "ours", kind=ItemKind.IDENTICAL, expected={"overall": "tie"}),
        item("k5", "gen", "luma", kind=ItemKind.ADAPTIVE),
    ]
    answers = [answer(each.item_key, "ann", "A") for each in items]
    assert len(pairs(items, answers)) == 2
    known = given(items, answers)
    assert len(known.item_M) == 5 and known.expected()[:, -1].tolist() == [MISSING, MISSING, 0, 1, MISSING]


def test_judges_left_out_are_gone_and_the_others_keep_their_names():
    items = [item("k1", "ours", "luma")]
    answers = [answer("k1", judge, said) for judge, said in (("ann", "A"), ("bob", "B"), ("cat", "tie"))]
    found = pairs(items, answers, leave_out=["ann"])
    said = [(found.judges[j], code) for j, code in zip(found.judge_N, found.answer_NA[:, 0], strict=True)]
    assert said == [("bob", 2), ("cat", 1)]


def test_a_video_passes_overall_where_it_passes_all_three():
    items = [item("k1", "ours"), item("k2", "luma"), item("k3", "gen")]
    failing = dict.fromkeys(AXES, "pass") | {"visual_quality": "fail"}
    missing = {"text_alignment": "fail"}
    answers = [
        answer("k1", "ann", dict.fromkeys(AXES, "pass")),
        answer("k2", "ann", failing),
        answer("k3", "ann", missing),
    ]
    found = pass_votes(PROMPTS, VIDEOS, items, answers)
    said = {found.systems[s]: passed.tolist() for s, passed in zip(found.system_N, found.passed_NA, strict=True)}
    assert said == {"ours": [1, 1, 1, 1], "luma": [1, 1, 0, 0], "gen": [0, MISSING, MISSING, MISSING]}


def test_tables_and_records_give_the_same_votes_whatever_their_order():
    generator = np.random.default_rng(0)
    items = [item(f"k{place}", "ours", "luma", f"p000{place % 3}") for place in range(30)]
    answers = [
        answer(each.item_key, judge, generator.choice(["A", "tie", "B"])) for each in items for judge in ("ann", "bob")
    ]
    tables = [
        pa.Table.from_pylist([to_row(row) for row in rows][::-1], schema=schema_of(record))
        for rows, record in ((items, StudyItem), (answers, StudyAnswer))
    ]
    found, again = pairs(items, answers), pairs(*tables)
    for column in ("prompt_N", "judge_N", "first_N", "second_N", "answer_NA"):
        np.testing.assert_array_equal(getattr(found, column), getattr(again, column))


def test_a_study_without_answers_has_no_votes():
    found = pairs([item("k1", "ours", "luma")], [])
    assert len(found) == 0 and found.judges == () and found.answer_NA.shape == (0, 4)
    assert len(pass_votes(PROMPTS, VIDEOS, [item("k1", "ours")], [])) == 0


def test_answers_to_items_that_nobody_asked_are_a_fault_of_ours():
    with pytest.raises(AssertionError, match="1 rows name what is not in the study's tables"):
        pairs([item("k1", "ours", "luma")], [answer("k2", "ann", "A")])
