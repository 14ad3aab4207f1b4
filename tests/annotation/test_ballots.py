"""Which answers count."""

import json
from collections import Counter
from dataclasses import replace

import pyarrow as pa
import pytest

from annotation.ballots import Standing, answer_columns, answer_rows, ballots, standings, votes
from annotation.resolve import resolve_rows
from curation.tables import Workspace
from tests.annotation.answers import annotation, kept, rejected


@pytest.mark.parametrize(
    ("answers", "expected"),
    [((), "waiting"), ((None,), "waiting"), ((None, None), "skipped"), ((None, "keep"), "answered")],
)
def test_a_task_stands_in_exactly_one_place(answers, expected):
    rows = [annotation("c1", str(number), kept() if given else None) for number, given in enumerate(answers)]
    assert standings(rows, {"c1": 2}) == {Standing(expected): 1}


def test_tasks_are_counted_by_where_they_stand():
    given = {"a": [kept(), kept()], "b": [kept()], "c": [None, None], "d": [None, rejected("dull")], "e": [None]}
    rows = [annotation(clip, str(number), answer) for clip, own in given.items() for number, answer in enumerate(own)]
    wanted = [*given, "nobody saw this"]
    assert standings(rows, dict.fromkeys(wanted, 2)) == {"answered": 2, "skipped": 1, "waiting": 3}
    one_by_one = sum((standings(rows, {clip: 2}) for clip in wanted), Counter())
    assert one_by_one == standings(rows, dict.fromkeys(wanted, 2))
    assert standings(rows, {"a": 1, "b": 2}) == {"answered": 1, "waiting": 1}, "each task wants its own number"
    assert standings(rows, {"a": 2}) == {Standing.ANSWERED: 1}, "other clips are not counted"
    assert standings([], {"a": 2}) == {Standing.WAITING: 1}


def test_the_newest_row_replaces_the_older_one_whole():
    rows = [
        annotation("c1", "ann", kept(), at="2026-01-01T00:00:00.5Z"),
        annotation("c1", "ann", rejected("dull"), at="2026-01-01T02:00:01+02:00"),
    ]
    (ballot,) = ballots(reversed(rows))["c1"]
    assert ballot.answers == rejected("dull"), "no rating of the older row is left"


def test_times_are_compared_as_times_and_not_as_text():
    rows = [
        annotation("c1", "ann", kept(), at="2026-01-01T00:00:00.5Z"),
        annotation("c1", "ann", rejected("dull"), at="2026-01-01T00:00:00Z"),
    ]
    assert ballots(rows)["c1"][0].answers["verdict"] == "keep"


def test_each_question_takes_the_newest_of_two_projects():
    fast = annotation("c1", "ann", rejected("dull"), at="2026-01-03T00:00:00Z")
    full = replace(annotation("c1", "ann", kept(), at="2026-01-02T00:00:00Z"), project="full")
    (ballot,) = ballots([fast, full])["c1"]
    assert ballot.answers["verdict"] == "reject" and ballot.answers["motion_speed"] == 5
    skip = replace(fast, skipped=True, answers="{}", annotation_key="skip")
    (ballot,) = ballots([skip, full])["c1"]
    assert ballot.answers["verdict"] == "keep" and not ballot.skipped, "a skip takes nothing back elsewhere"


def test_an_older_answer_counts_again_when_the_newer_is_withdrawn():
    rows = [annotation("c1", "ann", kept(), at=f"2026-01-0{day}T00:00:00Z") for day in (1, 2)]
    assert ballots(rows, {rows[1].annotation_key})["c1"][0].annotation == rows[0]
    assert ballots(rows, {row.annotation_key for row in rows}) == {}


def test_answers_become_columns_in_the_order_of_the_votes():
    rows = [
        annotation("c2", "ann", {"verdict": "keep", "short": 'Two\nlines, \u00e9 and a "quote".', "new": {"x": 1}}),
        annotation("c1", "bob", None),
        annotation("c1", "ann", rejected("dull", "unsafe")),
    ]
    types = {"verdict": pa.string(), "short": pa.string(), "reject_reasons": pa.list_(pa.string())}
    columns = {name: column.to_pylist() for name, column in answer_columns(votes(rows), types).items()}
    assert columns["verdict"] == ["reject", None, "keep"]
    assert columns["short"] == ["A dog runs.", None, json.loads(rows[0].answers)["short"]]
    assert columns["reject_reasons"] == [["dull", "unsafe"], None, None]


def test_an_answer_of_another_type_is_an_error_and_never_a_hole():
    with pytest.raises(pa.ArrowInvalid):
        answer_columns(votes([annotation("c1", "ann", {"verdict": ["keep"]})]), {"verdict": pa.string()})


def test_rows_that_lie_in_two_parts_count_once(tmp_path):
    table = Workspace(str(tmp_path)).table("annotations")
    assert answer_rows(table).num_rows == 0
    rows = [annotation(clip, "ann", kept()) for clip in ("c2", "c1")]
    table.append("first", rows)
    table.append("second", [*rows, annotation("c1", "bob", rejected("dull"))])
    found = answer_rows(table)
    assert found.num_rows == 5 and standings(found, {"c1": 2, "c2": 2}) == {"answered": 1, "waiting": 1}
    assert resolve_rows(found, 1).verdicts.equals(resolve_rows(table.read(), 1).verdicts)
