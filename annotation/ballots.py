"""Which answers count, by clip and person: one rule for resolving, for agreement and for the report.

    annotations --newest per clip, person and project, withdrawn ones left out--> rows that count --> Votes (columns)
                                                                                              |--> Ballot (records)

An edited answer replaces the older one of the same project whole, a skip too. A person may meet a clip in two projects
(the fast and the full pass): then each question is answered by the newest row that answers it. Nobody's answer is left
out for being one too many: overlap is what is wanted, not a cap. An answer that disappeared from the server
(`withdrawn`) does not count, and then an older row of that person counts again unless it has been withdrawn as well.

A million answers are columns, never objects. Arrow's own JSON reader takes 2 microseconds per answer of 400 bytes,
`json.loads` 8. Legend: A rows that count, V votes (a person on a clip), C clips.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json as arrow_json

from annotation.screen import ChoiceQuestion, Question, TextQuestion
from curation.records import Annotation, to_row
from curation.tables import Table, schema_of

SCHEMA = schema_of(Annotation)
COLUMNS = [name for name in SCHEMA.names if name != "task_id"]
ROWS_AT_ONCE = 1 << 15


class Standing(StrEnum):
    """Where a task is: decided, set aside by everybody who saw it, or still in want of answers."""

    ANSWERED = "answered"
    SKIPPED = "skipped"
    WAITING = "waiting"


@dataclass(frozen=True)
class Ballot:
    """One person's counting answers about one clip; `annotation` is the newest row they come from."""

    annotation: Annotation
    answers: dict[str, Any]
    origins: dict[str, str]
    skipped: bool


@dataclass(frozen=True)
class Votes:
    """The rows that count, ordered by clip, person and time, and where each vote begins among them."""

    rows: pa.Table  # all that was given
    places: np.ndarray  # int64 [A], which of them count
    clip: np.ndarray  # int64 [V], index into clip_ids
    person: np.ndarray  # int64 [V], index into people
    heads: np.ndarray  # int64 [V], first counting row of each vote
    clip_ids: pa.Array  # [C], in order
    people: pa.Array  # in order

    def column(self, name: str) -> pa.ChunkedArray:
        """A column of the rows that count, [A]."""
        return self.rows.column(name).take(pa.array(self.places))

    def newest(self, given: np.ndarray) -> np.ndarray:
        """The last counting row of each vote where `given` (bool [A]) holds, -1 where none does. int64 [V]."""
        if not len(self.heads):
            return np.zeros(0, np.int64)
        return np.maximum.reduceat(np.where(given, np.arange(len(given)), -1), self.heads)

    def skipped(self) -> np.ndarray:
        """Votes of nothing but skips. bool [V]."""
        rows = self.column("skipped").to_numpy()
        return np.logical_and.reduceat(rows, self.heads) if len(rows) else rows


def answer_rows(table: Table) -> pa.Table:
    """The table `annotations` as it lies, in part order and with repeats, which never count twice.

    Half the time of `Table.read`, which orders a gigabyte of text by keys that nothing here asks for.
    """
    schema = pa.schema([SCHEMA.field(name) for name in COLUMNS])
    return pa.concat_tables([schema.empty_table(), *(part.cast(schema) for part in table.parts(COLUMNS))])


def withdrawn_keys(table: Table) -> set[str]:
    """Of the table `withdrawals`: keys of answers that are no longer on the server, as far as anybody has looked."""
    rows = sorted(table.records(), key=lambda row: row.seen_at)
    newest = {row.annotation_key: row.gone for row in rows}
    return {key for key, is_gone in newest.items() if is_gone}


def as_rows(annotations: pa.Table | Iterable[Annotation]) -> pa.Table:
    """Records as the table they came from; a table as it is."""
    if isinstance(annotations, pa.Table):
        return annotations
    return pa.Table.from_pylist([to_row(row) for row in annotations], schema=SCHEMA)


def votes(annotations: pa.Table | Iterable[Annotation], withdrawn: Collection[str] = ()) -> Votes:
    """The answers that count.

    Args:
        annotations: rows of the table `annotations`, in any order; the same row may be there twice.
        withdrawn: keys of answers that were deleted on the server.
    """
    rows = as_rows(annotations)
    clips, clip_ids = _places_in_order(rows.column("clip_id"))
    persons, people = _places_in_order(rows.column("annotator"))
    projects, _ = _places_in_order(rows.column("project"))
    keys, _ = _places_in_order(rows.column("annotation_key"))
    times = rows.column("updated_at").cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    order = np.lexsort((keys, times, projects, persons, clips))
    if withdrawn:
        gone = pc.call_function(
            "is_in", [rows.column("annotation_key")], pc.SetLookupOptions(pa.array(sorted(withdrawn), pa.string()))
        )
        order = order[~gone.to_numpy()[order]]
    newest = np.ones(len(order), bool)
    newest[:-1] = np.any([each[order[1:]] != each[order[:-1]] for each in (clips, persons, projects)], axis=0)
    places = order[newest]
    places = places[np.lexsort((keys[places], times[places], persons[places], clips[places]))]
    clips, persons = clips[places], persons[places]
    heads = np.flatnonzero((np.diff(clips, prepend=-1) != 0) | (np.diff(persons, prepend=-1) != 0))
    return Votes(rows, places, clips[heads], persons[heads], heads, clip_ids, people)


def ballots(annotations: pa.Table | Iterable[Annotation], withdrawn: Collection[str] = ()) -> dict[str, list[Ballot]]:
    """Clip id -> what counts of each person, ordered by person, as records: for the few that a person looks at."""
    counted = votes(annotations, withdrawn)
    records = [Annotation(**row) for row in counted.rows.take(pa.array(counted.places)).to_pylist()]
    by_clip: dict[str, list[Ballot]] = defaultdict(list)
    for own in np.split(np.array(records, object), counted.heads[1:]) if records else ():
        answers, origins = {}, {}
        for row in own:
            answers |= json.loads(row.answers)
            origins |= json.loads(row.origins)
        skipped = all(row.skipped for row in own)
        by_clip[own[-1].clip_id].append(Ballot(own[-1], answers, origins, skipped))
    return dict(by_clip)


def standings(
    annotations: pa.Table | Iterable[Annotation],
    answers_wanted: Mapping[str, int],
    withdrawn: Collection[str] = (),
) -> Counter[Standing]:
    """How many tasks stand where; `annotations` are those of the tasks' own project.

    Args:
        answers_wanted: clip id of each task -> answers that it wants.
    """
    counted = votes(annotations, withdrawn)
    wanted = pa.array(sorted(answers_wanted), pa.string())
    size = len(counted.clip_ids)
    seen = np.bincount(counted.clip, minlength=size)
    skips = np.bincount(counted.clip[counted.skipped()], minlength=size)
    known = pc.call_function("is_in", [counted.clip_ids], pc.SetLookupOptions(wanted)).to_numpy(zero_copy_only=False)
    cases = np.stack([seen, skips, wanted_by_clip(answers_wanted, counted.clip_ids)], axis=1)[known]
    distinct, counts = np.unique(cases, axis=0, return_counts=True)
    found: Counter[Standing] = Counter()
    for (num_seen, num_skips, num_wanted), count in zip(distinct.tolist(), counts.tolist(), strict=True):
        found[_standing(num_seen, num_skips, num_wanted)] += count
    found[Standing.WAITING] += len(wanted) - int(known.sum())
    return +found


def wanted_by_clip(answers_wanted: int | Mapping[str, int], clip_ids: pa.Array) -> np.ndarray:
    """Answers wanted of each clip, int64 [C]; a clip that is not in the mapping wants one."""
    if isinstance(answers_wanted, int):
        return np.full(len(clip_ids), answers_wanted)
    known = pa.array(answers_wanted.keys(), pa.string())
    place = pc.call_function("index_in", [clip_ids], pc.SetLookupOptions(value_set=known)).fill_null(-1).to_numpy()
    return np.append(np.fromiter(answers_wanted.values(), np.int64, len(answers_wanted)), 1)[place]


def answer_types(questions: Mapping[str, Question]) -> dict[str, pa.DataType]:
    """How each question's answers lie in a column; free text stays out."""
    types: dict[str, pa.DataType] = {}
    for name, question in questions.items():
        if isinstance(question, ChoiceQuestion):
            types[name] = pa.list_(pa.string()) if question.many else pa.string()
        elif not isinstance(question, TextQuestion):
            types[name] = pa.float64()
    return types


def read_answers_as_columns(texts: pa.ChunkedArray, types: Mapping[str, pa.DataType]) -> Iterator[pa.Table]:
    """JSON objects as columns of these types, null where a question has no answer; some rows at a time, in order.

    Raises:
        ArrowInvalid: a text is no JSON object, or an answer is of another type; `collect` lets no such answer in.
    """
    schema = pa.schema(list(types.items()))
    parse = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    for start in range(0, len(texts), ROWS_AT_ONCE):
        part = pa.concat_arrays(texts.slice(start, ROWS_AT_ONCE).chunks)
        lines = pa.ListArray.from_arrays(pa.array([0, len(part)], pa.int32()), part)
        joined = pc.call_function("binary_join", [lines, "\n"])[0].as_buffer()
        read = arrow_json.ReadOptions(block_size=joined.size + 1)  # an object across two blocks would be an error
        table = arrow_json.read_json(pa.BufferReader(joined), read, parse).select(schema.names)
        assert table.num_rows == len(part), "an answer is one line"
        yield table


def answer_columns(counted: Votes, types: Mapping[str, pa.DataType]) -> dict[str, pa.ChunkedArray]:
    """The answers of the rows that count, [A] each."""
    parts = list(read_answers_as_columns(counted.rows.column("answers"), types))
    table = pa.concat_tables([pa.schema(list(types.items())).empty_table(), *parts])
    return {name: table.column(name).take(pa.array(counted.places)) for name in types}


def _standing(num_seen: int, num_skips: int, answers_wanted: int) -> Standing:
    if num_seen < answers_wanted:
        return Standing.WAITING
    return Standing.SKIPPED if num_skips == num_seen else Standing.ANSWERED


def _places_in_order(column: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
    """Each text's place among the sorted distinct ones, int64, and these."""
    encoded = pa.concat_arrays([pa.array([], pa.string()), *column.chunks]).dictionary_encode()
    order = pc.call_function("array_sort_indices", [encoded.dictionary])
    place = np.empty(len(order), np.int64)
    place[order.to_numpy()] = np.arange(len(order))
    return place[encoded.indices.to_numpy()], encoded.dictionary.take(order)
