"""The main report's short word on each blind study: who leads, by how much, and where its own page lies.

    study_report/<study>/figures.parquet (written by `dailies study report`) + study_answers --> StudyCard

Nothing is computed again here: a study's figures take resamples, and its page is where they are explained.
"""

import math
from collections import Counter
from dataclasses import dataclass

import pyarrow.parquet as pq

from annotation.study.axes import OVERALL
from annotation.study.intervals import Interval
from curation.tables import Workspace
from jobs.study_drawn import Track
from jobs.study_export import ANSWERS, COUNTED, FIGURES, NET_WIN_RATE, PAGE, PASS_RATE, RANK, folder_of

WORDS = {PASS_RATE: "pass all axes, %", NET_WIN_RATE: "net wins, points"}


@dataclass(frozen=True)
class StudyRow:
    """One system."""

    rank: int
    system: str
    value: str
    reach: str


@dataclass(frozen=True)
class StudyCard:
    """One study; no rows where it has no report yet."""

    name: str
    answers: int
    simulated: int
    text: str
    page: str = ""
    figure: str = ""
    rows: tuple[StudyRow, ...] = ()


def studies(workspace: Workspace) -> list[StudyCard]:
    """Every study of the workspace, by name."""
    answers, simulated = Counter[str](), Counter[str]()
    for row in workspace.table("study_answers").read(["study", "simulated"]).to_pylist():
        answers[row["study"]] += 1
        simulated[row["study"]] += row["simulated"]
    names = sorted(name for (name,) in workspace.table("study_prompts").distinct("study"))
    return [_card(workspace, name, answers[name], simulated[name]) for name in names]


def _card(workspace: Workspace, name: str, answers: int, simulated: int) -> StudyCard:
    folder = folder_of(name)
    if not workspace.exists(*folder, f"{FIGURES}.parquet"):
        after = "dailies study report" if answers else "dailies study collect"
        return StudyCard(name, answers, simulated, f"{answers:,} answers and no page yet. Next: {after}.")
    with workspace.fs.open_input_file(workspace.path(*folder, f"{FIGURES}.parquet")) as file:
        figures = pq.ParquetFile(file).read().to_pylist()
    with workspace.fs.open_input_file(workspace.path(*folder, f"{ANSWERS}.parquet")) as file:
        since = answers - pq.ParquetFile(file).metadata.num_rows
    text = f"From {answers - since:,} answers" + (f"; {since:,} have come since." if since else ".")
    counted = [row for row in figures if row["judges"] == COUNTED and row["axis"] == OVERALL and not row["column"]]
    ranks = {row["system"]: int(row["value"]) for row in counted if row["figure"] == RANK}
    rates = {row["system"]: row for row in counted if row["figure"] in WORDS}
    figure = next((row["figure"] for row in rates.values()), "")
    scale = Track(-1.0, 1.0, signed=figure == NET_WIN_RATE)
    rows = []
    for system in sorted(ranks, key=ranks.__getitem__):
        found = [rates[system][part] for part in ("value", "low", "high")]
        drawn = scale.drawn(Interval(*(math.nan if part is None else part for part in found)))
        rows.append(StudyRow(ranks[system], system, drawn.value, drawn.reach))
    return StudyCard(name, answers, simulated, text, "/".join((*folder, PAGE)), WORDS.get(figure, ""), tuple(rows))
