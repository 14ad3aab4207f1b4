"""Gold items: what a file may hold, and how right people are."""

import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from annotation.ballots import votes
from annotation.gold import GoldItem, accuracies, known_verdicts, load_gold, wilson
from curation.records import UserError
from tests.annotation.answers import annotation, kept, rejected

ROWS = [
    {"clip_id": "c2", "question": "verdict", "answer": "keep"},
    {"clip_id": "c1", "question": "verdict", "answer": "reject"},
    {"clip_id": "c1", "question": "reject_reasons", "answer": ["unsafe", "dull"]},
    {"clip_id": "c2", "question": "motion_speed", "answer": 5},
]
ITEMS = (
    GoldItem("c1", "reject_reasons", ("dull", "unsafe")),
    GoldItem("c1", "verdict", "reject"),
    GoldItem("c2", "motion_speed", 5),
    GoldItem("c2", "verdict", "keep"),
)


def as_text(answer):
    return "; ".join(answer) if isinstance(answer, list) else str(answer)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_the_same_items_come_out_of_every_kind_of_file(tmp_path, kind):
    path = tmp_path / f"gold.{kind}"
    flat = [row | {"answer": as_text(row["answer"])} for row in ROWS]
    if kind == "csv":
        path.write_text("clip_id,question,answer\n" + "".join(",".join(row.values()) + "\n" for row in flat))
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    else:
        parquet.write_table(pa.Table.from_pylist(flat), path)
    assert load_gold(path) == ITEMS
    assert known_verdicts(ITEMS) == {"c1": "reject", "c2": "keep"}


BAD = {
    "no question 'mood'": [{"clip_id": "c1", "question": "mood", "answer": "fine"}],
    "no question 'short'": [{"clip_id": "c1", "question": "short", "answer": "A dog."}],
    "verdict offers keep, reject; got 'accept'": [{"clip_id": "c1", "question": "verdict", "answer": "accept"}],
    "takes one option": [{"clip_id": "c1", "question": "verdict", "answer": ["keep", "reject"]}],
    "rated 1 to 5 in whole steps, got 6": [{"clip_id": "c1", "question": "motion_speed", "answer": 6}],
    "rated 1 to 5 in whole steps, got 2.5": [{"clip_id": "c1", "question": "motion_speed", "answer": 2.5}],
    "row 2: answer missing": [ROWS[0], {"clip_id": "c1", "question": "verdict"}],
    "given twice, as 'keep' and as 'reject'": [ROWS[0], ROWS[0] | {"answer": "reject"}],
    "row 1: clip_id, question, answer missing": [[1]],
}


@pytest.mark.parametrize("message", BAD)
def test_a_row_that_does_not_fit_is_said_with_what_would(tmp_path, message):
    path = tmp_path / "gold.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in BAD[message]))
    with pytest.raises(UserError) as caught:
        load_gold(path)
    assert message in str(caught.value) and str(path) in str(caught.value)


def test_files_that_are_no_gold_are_refused(tmp_path):
    with pytest.raises(UserError, match="no gold file at"):
        load_gold(tmp_path / "gold.csv")
    (tmp_path / "gold.xlsx").write_text("")
    with pytest.raises(UserError, match=r"expected .csv, .jsonl, .parquet"):
        load_gold(tmp_path / "gold.xlsx")
    for name in ("broken.jsonl", "broken.parquet"):
        (tmp_path / name).write_text("{")
        with pytest.raises(UserError, match="cannot be read as"):
            load_gold(tmp_path / name)
    (tmp_path / "other.csv").write_text("clip,answer\nc1,keep\n")
    with pytest.raises(UserError, match="clip_id, question missing"):
        load_gold(tmp_path / "other.csv")


def test_right_answers_are_counted_per_person_and_question():
    rows = [
        annotation("c1", "ann", rejected("unsafe", "dull")),
        annotation("c2", "ann", kept(motion_speed=4)),
        annotation("c1", "bob", kept()),
        annotation("c2", "bob", None),
        annotation("c3", "cat", kept()),
    ]
    found = {(each.annotator, each.question): (each.right, each.asked) for each in accuracies(votes(rows), ITEMS)}
    assert found == {
        ("ann", ""): (3, 4),
        ("ann", "verdict"): (2, 2),
        ("ann", "reject_reasons"): (1, 1),
        ("ann", "motion_speed"): (0, 1),
        ("bob", ""): (0, 1),
        ("bob", "verdict"): (0, 1),
    }, "skips and questions without an answer are not wrong, and cat saw no gold"
    assert accuracies(votes(rows), ()) == []


def test_wilsons_interval_is_the_textbooks():
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
