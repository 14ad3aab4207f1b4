"""The study's figures, judges and answers as files beside its page: CSV for spreadsheets, Parquet for programs.

    figures   one row per figure: what it is of, its value and interval, whether settled
    judges    one row per judge: what was checked, and whether their answers count
    answers   one row per answer, unblinded: prompt, systems on side A and B, judge, axes

All three can be read without Dailies, and every number of the page is in the first two.
"""

import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from annotation.agreement import Agreement
from annotation.study.axes import ALL_AXES, OVERALL
from annotation.study.intervals import Interval
from annotation.study.judges import Judge
from annotation.study.planning import Remaining, State
from curation.tables import Workspace, schema_of
from jobs.study_figures import Result, interval_of

PAGE, FIGURES, JUDGES, ANSWERS = "report.html", "figures", "judges", "answers"
COUNTED, EVERYBODY = "counted", "everybody"
PASS_RATE, NET_WIN_RATE, RANK, STRENGTH, DIFFERENCE, ALPHA = (
    "pass_rate", "net_win_rate", "rank", "strength", "difference", "alpha",
)  # fmt: skip


def folder_of(study: str) -> tuple[str, ...]:
    """Where the study's page and its files lie in the workspace: never where judges' pages are served from."""
    return "study_report", study


@dataclass(frozen=True)
class FigureRow:
    """One figure of the study."""

    judges: str  # COUNTED: without those left out; EVERYBODY
    figure: str  # PASS_RATE, ...
    axis: str
    system: str
    other: str  # of a difference: the system it is ahead of
    column: str  # category column; empty: all prompts
    category: str
    value: float | None
    low: float | None
    high: float | None
    answers: int
    settled: bool | None
    more_answers: int | None  # that would settle a difference if it stays; None where no number would


@dataclass(frozen=True)
class JudgeRow:
    """One judge, as checked; None where there was nothing to check."""

    judge: str
    items: int
    answers: int
    median_s: float | None
    kappa: float | None
    kappa_low: float | None
    kappa_high: float | None
    side_a: float | None
    side_a_low: float | None
    side_a_high: float | None
    tie_share: float | None
    pass_share: float | None
    repeats: int
    repeats_alike: float | None
    identical: int
    identical_tied: float | None
    gold: int
    gold_right: float | None
    left_out: bool
    reasons: str


def judge_row(judge: Judge) -> JudgeRow:
    """A judge as a row."""
    kappa, side = judge.agreement.found, judge.side_a
    return JudgeRow(
        judge=judge.name,
        items=judge.items,
        answers=judge.answers,
        median_s=_known(judge.median_s),
        kappa=_known(kappa.value),
        kappa_low=_known(kappa.low),
        kappa_high=_known(kappa.high),
        side_a=_known(side.value),
        side_a_low=_known(side.low),
        side_a_high=_known(side.high),
        tie_share=_known(judge.tie_share),
        pass_share=_known(judge.pass_share),
        repeats=judge.repeats.items,
        repeats_alike=_known(judge.repeats.found.value),
        identical=judge.identical.items,
        identical_tied=_known(judge.identical.found.value),
        gold=judge.gold.items,
        gold_right=_known(judge.gold.found.value),
        left_out=bool(judge.failed),
        reasons="; ".join(judge.failed),
    )


def figure_rows(
    judges: str,
    rate: str,
    result: Result,
    agreement: Sequence[Agreement] = (),
) -> list[FigureRow]:
    """All figures of one set of judges.

    Args:
        rate: what the standings' figures are: PASS_RATE or NET_WIN_RATE.
    """
    rows = []
    for each in result.standings:
        rows += [_row(judges, rate, axis, each.system, found, each.answers) for axis, found in each.axes.items()]
        rank = Interval(each.rank, each.best, each.worst)
        rows.append(_row(judges, RANK, OVERALL, each.system, rank, each.answers))
        if each.strength is not None:
            rows.append(_row(judges, STRENGTH, OVERALL, each.system, each.strength, each.answers))
    for each in result.contests:
        row = _row(judges, DIFFERENCE, OVERALL, each.first, each.difference, each.answers, other=each.second)
        rows.append(FigureRow(**{**asdict(row), "settled": each.settled, "more_answers": _more(each.remaining)}))
        rows += [
            _row(judges, DIFFERENCE, axis, each.first, found, each.answers, other=each.second)
            for axis, found in each.axes.items()
            if axis != OVERALL
        ]
    for each in result.slices:
        rows += [
            _row(judges, rate, OVERALL, system, found, each.answers, column=each.column, category=each.value)
            for system, found in each.overall.items()
        ]
    for each in agreement:
        rows.append(_row(judges, ALPHA, each.question, "", interval_of(each), each.num_clips))
    return rows


def _row(
    judges: str,
    figure: str,
    axis: str,
    system: str,
    found: Interval,
    answers: int,
    other: str = "",
    column: str = "",
    category: str = "",
) -> FigureRow:
    value, low, high = (_known(each) for each in (found.value, found.low, found.high))
    return FigureRow(judges, figure, axis, system, other, column, category, value, low, high, answers, None, None)


def _more(needed: Remaining) -> int | None:
    return None if needed.state is State.NEVER else needed.answers


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def table_of(record: type, rows: Iterable[object]) -> pa.Table:
    """Records as the table of their fields."""
    return pa.Table.from_pylist([asdict(row) for row in rows], schema=schema_of(record))  # type: ignore[call-overload]


def unblinded(items: pa.Table, videos: pa.Table, answers: pa.Table, left_out: Iterable[str]) -> pa.Table:
    """Every answer with the systems it is about; `counts` is false for checks, skips and judges left out.

    Rows are of one study; in the order of their keys.
    """
    system = dict(zip(videos["media_key"].to_pylist(), videos["system"].to_pylist(), strict=True))
    known = {row["item_key"]: row for row in items.to_pylist()}
    out, rows = set(left_out), []
    for answer in answers.sort_by("answer_key").to_pylist():
        item = known[answer["item_key"]]
        said = json.loads(answer["answers"]) if answer["answers"] else {}
        rows.append(
            {
                "answer_key": answer["answer_key"],
                "item_key": answer["item_key"],
                "kind": item["kind"],
                "prompt_id": item["prompt_id"],
                "system_a": system[item["media_a"]],
                "system_b": system.get(item["media_b"], ""),
                "judge": answer["judge"],
                **{axis: said.get(axis, "") for axis in ALL_AXES},
                "lead_time_s": answer["lead_time_s"],
                "answered_at": answer["answered_at"],
                "simulated": answer["simulated"],
                "skipped": answer["skipped"],
                "judge_left_out": answer["judge"] in out,
            }
        )
    return pa.Table.from_pylist(rows)


def write_both(workspace: Workspace, table: pa.Table, folder: tuple[str, ...], name: str) -> None:
    """The table as `name`.csv and `name`.parquet."""
    sink = io.BytesIO()
    pacsv.write_csv(table, sink)
    workspace.write_bytes(sink.getvalue(), *folder, f"{name}.csv")
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    workspace.write_bytes(sink.getvalue(), *folder, f"{name}.parquet")
