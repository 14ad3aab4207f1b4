"""Tables that people write for a study, as they keep them, and clear words about those that make none."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from annotation.study.axes import Design
from annotation.study.dealing import GoldQuestion, Question
from annotation.study.settings import CheckSettings, StudySettings, SystemSettings
from curation.records import UserError
from curation.study_records import StudyPrompt
from jobs.study_tables import read_gold, read_study_prompts

CAT, BOAT = "A cat, on a mat", "A boat in a storm / 35 mm"


def read(tmp_path, name: str, content: str, **settings) -> list[StudyPrompt]:
    (tmp_path / name).write_text(content, encoding="utf-8")
    return read_study_prompts(StudySettings(prompts=str(tmp_path / name), **settings))


def test_the_same_prompts_are_read_from_every_kind_of_table_with_their_categories(tmp_path):
    rows = [{"prompt_id": "1", "prompt": CAT, "motion": "low"}, {"prompt_id": "2", "prompt": BOAT, "motion": "high"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")
    tables = [
        read(tmp_path, "p.csv", f'prompt_id,prompt,motion\n1,"{CAT}",low\n2,"{BOAT}",high\n'),
        read(tmp_path, "p.jsonl", "\n".join(map(json.dumps, rows))),
        read_study_prompts(StudySettings(prompts=str(tmp_path / "p.parquet"))),
    ]
    assert tables[0] == tables[1] == tables[2]
    assert [(row.prompt_id, row.prompt, row.categories) for row in tables[0]] == [
        ("1", CAT, '{"motion": "low"}'),
        ("2", BOAT, '{"motion": "high"}'),
    ]


def test_a_list_of_prompts_gets_ids_that_do_not_depend_on_their_place(tmp_path):
    there = {row.prompt: row.prompt_id for row in read(tmp_path, "p.txt", f"{CAT}\n\n{BOAT}\n")}
    back = {row.prompt: row.prompt_id for row in read(tmp_path, "p.txt", f"{BOAT}\n{CAT}\n")}
    assert there == back and len(set(there.values())) == 2


def test_only_the_named_columns_are_categories(tmp_path):
    (row,) = read(tmp_path, "p.csv", f'prompt,motion,note\n"{CAT}",low,mine\n', categories=("motion",))
    assert json.loads(row.categories) == {"motion": "low"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.csv", "prompt,motion\n,low\n", "p.csv:2: the prompt is empty"),
        ("p.csv", "prompt\na cat\na cat\n", "1 values of prompt stand there more than once, such as 'a cat'"),
        ("p.csv", "prompt_id,prompt\n1,a\n1,b\n", "1 values of prompt_id stand there more than once, such as '1'"),
        ("p.csv", "prompt\na cat, on a mat\n", "p.csv:2 has more fields than columns; put quotes"),
        ("p.txt", "\n", "holds no prompt"),
        ("p.xlsx", "x", "is none of .csv, .jsonl, .parquet, .txt"),
    ],
)
def test_a_table_that_cannot_be_a_study_says_where_and_why(tmp_path, name, content, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, name, content)


def test_a_category_that_is_no_column_and_a_missing_table_are_refused(tmp_path):
    with pytest.raises(UserError, match="has no column 'genre'; it has motion"):
        read(tmp_path, "p.csv", "prompt,motion\na,low\n", categories=("genre",))
    with pytest.raises(UserError, match="is not there"):
        read_study_prompts(StudySettings(prompts=str(tmp_path / "no.csv")))
    with pytest.raises(UserError, match=r"study\.prompts is not set"):
        read_study_prompts(StudySettings())


def gold_of(tmp_path, content: str, design: Design = Design.PAIRWISE) -> list[GoldQuestion]:
    (tmp_path / "gold.csv").write_text(content)
    systems = tuple(SystemSettings(name=name, videos="x") for name in ("ours", "theirs"))
    checks = CheckSettings(gold=str(tmp_path / "gold.csv"))
    return read_gold(StudySettings(design=design, systems=systems, checks=checks))


def test_known_answers_of_one_question_are_put_together(tmp_path):
    rows = "prompt_id,system_a,system_b,axis,answer\n1,theirs,ours,overall,B\n1,theirs,ours,motion_quality,tie\n"
    question = Question("1", "theirs", "ours")
    assert gold_of(tmp_path, rows) == [GoldQuestion(question, {"overall": "B", "motion_quality": "tie"})]
    single = "prompt_id,system,axis,answer\n1,ours,motion_quality,fail\n"
    question = Question("1", "ours")
    assert gold_of(tmp_path, single, Design.ABSOLUTE) == [GoldQuestion(question, {"motion_quality": "fail"})]
    assert read_gold(StudySettings()) == []


@pytest.mark.parametrize("row", ["1,theirs,mine,overall,A", "1,theirs,ours,beauty,A", "1,theirs,ours,overall,yes"])
def test_a_known_answer_to_no_question_of_the_study_is_refused(tmp_path, row):
    with pytest.raises(
        UserError, match=r"gold\.csv:2: a row of study\.checks\.gold needs prompt_id, system_a, system_b"
    ):
        gold_of(tmp_path, f"prompt_id,system_a,system_b,axis,answer\n{row}\n")
