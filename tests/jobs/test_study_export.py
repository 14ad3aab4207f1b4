"""Files beside the page: every number of it, readable without Dailies."""

import io
import json
import math

import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from annotation.agreement import Agreement
from annotation.study.axes import ALL_AXES, OVERALL, Design
from annotation.study.intervals import Interval
from annotation.study.judges import judges
from annotation.study.planning import Remaining, State
from annotation.study.rows import given
from annotation.study.settings import CheckSettings
from curation.tables import Workspace
from jobs.study_export import (
    ALPHA,
    ANSWERS,
    COUNTED,
    DIFFERENCE,
    NET_WIN_RATE,
    RANK,
    STRENGTH,
    FigureRow,
    JudgeRow,
    figure_rows,
    folder_of,
    judge_row,
    table_of,
    unblinded,
    write_both,
)
from jobs.study_figures import Contest, Result, Slice, Standing
from tests.jobs.studied import studied

RATE = Interval(0.2, 0.1, 0.3)
CONTEST = Contest(
    "ours",
    "theirs",
    Interval(0.1, -0.02, 0.2),
    Remaining(State.ANSWERS, 3.0, 120),
    60,
    (30, 10, 20),
    dict.fromkeys(ALL_AXES, RATE),
)
RESULT = Result(
    (
        Standing("ours", 1, 1, 2, dict.fromkeys(ALL_AXES, RATE), 60, Interval(1040, 1010, 1070)),
        Standing("theirs", 2, 1, 2, {OVERALL: Interval(-0.2, math.nan, math.nan)}, 60),
    ),
    (CONTEST,),
    (Slice("motion", "low", 10, 20, {"ours": RATE}),),
    60,
    5,
    True,
)


def test_every_figure_is_a_row_with_its_interval():
    alpha = Agreement("motion_quality", 40, 40, 0.7, 0.3, 0.2, 0.4)
    rows = figure_rows(COUNTED, NET_WIN_RATE, RESULT, [alpha])

    def those(figure: str) -> list[FigureRow]:
        return [row for row in rows if row.figure == figure]

    assert [row.axis for row in those(NET_WIN_RATE) if row.system == "ours" and not row.column] == list(ALL_AXES)
    assert [(row.column, row.category, row.value) for row in those(NET_WIN_RATE) if row.column] == [
        ("motion", "low", 0.2)
    ]
    assert [(row.system, row.value, row.low, row.high) for row in those(RANK)] == [
        ("ours", 1, 1, 2),
        ("theirs", 2, 1, 2),
    ]
    assert [(row.system, row.value) for row in those(STRENGTH)] == [("ours", 1040)]
    (overall,) = [row for row in those(DIFFERENCE) if row.axis == OVERALL]
    assert (overall.system, overall.other, overall.settled, overall.more_answers) == ("ours", "theirs", False, 120)
    assert len(those(DIFFERENCE)) == len(ALL_AXES)
    assert [(row.axis, row.value, row.answers) for row in those(ALPHA)] == [("motion_quality", 0.3, 40)]
    (unknown,) = [row for row in those(NET_WIN_RATE) if row.system == "theirs"]
    assert unknown.low is None and unknown.high is None


def test_csv_and_parquet_hold_the_same_rows(tmp_path):
    workspace = Workspace(str(tmp_path))
    table = table_of(FigureRow, figure_rows(COUNTED, NET_WIN_RATE, RESULT))
    write_both(workspace, table, folder_of("s"), "figures")
    parquet = pq.read_table(tmp_path / "study_report" / "s" / "figures.parquet")
    assert parquet.equals(table)
    csv = pacsv.read_csv(io.BytesIO((tmp_path / "study_report" / "s" / "figures.csv").read_bytes()))
    assert csv.column_names == table.column_names and csv["value"].to_pylist() == table["value"].to_pylist()


def test_answers_get_their_systems_back_and_judges_their_checks(tmp_path):
    workspace = studied(
        tmp_path, Design.PAIRWISE, {"ours": 0.8, "theirs": 0.1}, num_prompts=8, num_judges=3, media=False
    )
    items, videos, answers = (workspace.table(f"study_{name}").read() for name in ("items", "videos", ANSWERS))
    rows = unblinded(items, videos, answers, ["judge-03@localhost"]).to_pylist()
    assert len(rows) == answers.num_rows
    system = dict(zip(videos["media_key"].to_pylist(), videos["system"].to_pylist(), strict=True))
    item = {row["item_key"]: row for row in items.to_pylist()}
    said = {row["answer_key"]: json.loads(row["answers"]) for row in answers.to_pylist()}
    for row in rows:
        assert row["system_a"] == system[item[row["item_key"]]["media_a"]]
        assert {axis: row[axis] for axis in ALL_AXES} == said[row["answer_key"]]
        assert row["judge_left_out"] == (row["judge"] == "judge-03@localhost")
    found = judges(given(items, answers), CheckSettings())
    table = table_of(JudgeRow, map(judge_row, found))
    assert table["judge"].to_pylist() == [f"judge-0{number}@localhost" for number in (1, 2, 3)]
    assert table["gold_right"].to_pylist() == [None] * 3, "nothing of known answer was asked"
    assert sum(table["answers"].to_pylist()) == sum(row["kind"] == "random" for row in rows)
