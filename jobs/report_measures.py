"""Automatic measures for reports: a table for each kind of subject, and curves over a run's checkpoints.

    measurements --by kind of subject--> a row per subject, a column per (measure, version, protocol) --> MeasureTable
                 --"<run>/<stage>@<step>"--> a line per measure over steps -----------------------------> SVG

Values stand in one column only if code, weights and protocol are the same, so whatever stands in a column compares;
subjects that have no column in common are in tables of their own. Dynamic degree comes first, then what a video that
hardly moves has for free. Measures of single videos are not shown; a system's row is their mean.
"""

import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from curation.tables import Measurement
from jobs.measure_settings import CHEATED_BY_STILLNESS
from jobs.measure_summary import DYNAMIC_DEGREE

KINDS = {"vae": "VAE", "checkpoint": "Checkpoints", "system": "Systems"}
BESIDE = "dynamic degree "  # of notes: a column here
CHECKPOINT = re.compile(r"(?P<run>.+)/(?P<stage>[^/@]+)@(?P<step>\d+)")
NONE, DIGITS = "–", 4


@dataclass(frozen=True)
class MeasureTable:
    """All that was measured of one kind of subject."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]  # subject, a value per column
    protocols: tuple[tuple[str, str], ...]  # column, what makes its values comparable
    notes: tuple[str, ...]


@dataclass(frozen=True)
class MeasureCurve:
    """One stage's measures over its steps."""

    title: str
    svg: str


@dataclass(frozen=True)
class Measures:
    """What the page shows; false where there is nothing."""

    tables: tuple[MeasureTable, ...] = ()
    curves: tuple[MeasureCurve, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.tables)


@dataclass(frozen=True, order=True)
class _Column:
    place: int
    measure: str
    version: str
    protocol: str


def measures(rows: Iterable[Measurement], subjects: Sequence[str] | None = None) -> Measures:
    """Tables and curves of everything but single videos; of these subjects only and in this order, where given."""
    by_kind: dict[str, list[Measurement]] = defaultdict(list)
    for row in rows:
        if row.subject_kind in KINDS and (subjects is None or row.subject in subjects):
            by_kind[row.subject_kind].append(row)
    order = _subject_order if subjects is None else subjects.index
    tables = [_table(title, rows, order) for kind, title in KINDS.items() for rows in _comparable(by_kind[kind])]
    return Measures(tuple(tables), tuple(_curves(by_kind["checkpoint"])))


def _comparable(rows: Sequence[Measurement]) -> list[list[Measurement]]:
    """The rows by table: subjects with a column in common are in one, most subjects first."""
    tables: list[tuple[set[_Column], list[Measurement]]] = []
    by_subject: dict[str, list[Measurement]] = defaultdict(list)
    for row in rows:
        by_subject[row.subject].append(row)
    for _, own in sorted(by_subject.items()):
        columns, joined = {_column(row) for row in own}, list(own)
        for table in [table for table in tables if table[0] & columns]:
            tables.remove(table)
            columns, joined = columns | table[0], [*table[1], *joined]
        tables.append((columns, joined))
    return sorted((table for _, table in tables), key=lambda table: -len({row.subject for row in table}))


def _table(title: str, rows: Sequence[Measurement], order: Callable[[str], Any]) -> MeasureTable:
    columns = sorted({_column(row) for row in rows})
    values: dict[str, dict[_Column, Measurement]] = defaultdict(dict)
    for row in rows:
        values[row.subject][_column(row)] = row
    repeated = {each.measure for each in columns if sum(other.measure == each.measure for other in columns) > 1}
    numbers: dict[str, int] = defaultdict(int)
    names = []
    for each in columns:
        numbers[each.measure] += 1
        names.append(f"{_words(each.measure)}{f' ({numbers[each.measure]})' if each.measure in repeated else ''}")
    ordered = sorted(values, key=order)
    decimals = {each: _decimals([found[each].value for found in values.values() if each in found]) for each in columns}
    return MeasureTable(
        title,
        tuple(names),
        tuple(
            (subject, tuple(_cell(values[subject].get(each), decimals[each]) for each in columns))
            for subject in ordered
        ),
        tuple((name, _protocol(each)) for name, each in zip(names, columns, strict=True)),
        tuple(sorted({f"{row.subject}, {_words(row.measure)}: {note}" for row in rows if (note := _note(row))})),
    )


def _note(row: Measurement) -> str:
    return "; ".join(part for part in row.note.split("; ") if not part.startswith(BESIDE))


def _column(row: Measurement) -> _Column:
    place = 0 if row.measure == DYNAMIC_DEGREE else 1 if row.measure in CHEATED_BY_STILLNESS else 2
    return _Column(place, row.measure, row.version, row.protocol)


def _words(measure: str) -> str:
    return measure.replace("_", " ").replace("@", " at ")


def _decimals(values: Sequence[float | None]) -> int:
    """So many that the largest of a column has DIGITS digits; the others then stand under it, point under point."""
    largest = max((abs(value) for value in values if value is not None and math.isfinite(value)), default=0.0)
    return min(max(DIGITS - 1 - math.floor(math.log10(largest)), 0), 9) if largest else 0


def _cell(row: Measurement | None, decimals: int) -> str:
    if row is None or row.value is None or not math.isfinite(row.value):
        return NONE
    return f"{row.value:,.{decimals}f}"


def _protocol(column: _Column) -> str:
    told = json.loads(column.protocol or "{}")
    parts = [f"{_words(name)} {_plain(value)}" for name, value in sorted(told.items())]
    return "; ".join([*parts, f"version {column.version}"])


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _subject_order(subject: str) -> tuple[str, int]:
    found = CHECKPOINT.fullmatch(subject)
    return (f"{found['run']}/{found['stage']}", int(found["step"])) if found else (subject, 0)


def _curves(rows: Sequence[Measurement]) -> list[MeasureCurve]:
    """A panel per measure with two steps or more; "flow_loss@0.1" and its like share one."""
    lines: dict[str, dict[_Column, list[tuple[int, float]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        found = CHECKPOINT.fullmatch(row.subject)
        if found and row.value is not None and math.isfinite(row.value):
            lines[f"{found['run']}/{found['stage']}"][_column(row)].append((int(found["step"]), row.value))
    curves = []
    for stage, by_column in sorted(lines.items()):
        panels: dict[str, dict[str, list[tuple[int, float]]]] = defaultdict(dict)
        for column, points in sorted(by_column.items()):
            if len(points) > 1:
                name, _, level = column.measure.partition("@")
                label = f"at {level}" if level else _words(name)
                panel = panels[_words(name)]
                again = sum(known.partition(" (")[0] == label for known in panel)
                panel[f"{label} ({again + 1})" if again else label] = sorted(points)
        if panels:
            from jobs.report_charts import measure_curves

            curves.append(MeasureCurve(stage, measure_curves(stage, panels)))
    return curves
