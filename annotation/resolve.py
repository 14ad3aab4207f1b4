"""From all answers to one verdict and one caption per clip: a pure function, in columns.

    annotations --Votes--> keep and reject per clip --ResolveSettings--> `human_verdicts`
                           medians of ratings and best part --------------^
                           caption of the best answer --------------------> `captions`

Rules, version 2. A clip is decided when as many people as wanted have voted or skipped it everywhere, and at least one
voted; a skip abstains, and more answers than wanted all count. Majority: most votes win, and a tie rejects, because a
fine-tuning set must hold only clips that can be defended. Adjudicated: where votes differ, the adjudicator's is the
verdict and without it the clip waits. A gold clip's verdict is its known answer, whatever people say, since they were
asked to measure them; it is an ordinary clip otherwise and waits for its answers like any other.

The ratings are the median per criterion over all who rated; the best part is the median start and the median end of
those who marked one (starts lie before ends one by one, hence the medians do too; no end means the end of the clip).
The caption is taken whole from one answer, since its fields hang together: of somebody on the side of the verdict
before somebody without a vote, of the one who put most of it into own words, then of the longest; the first by name if
they are still level. Its `version` is the key of that answer. A clip of which nobody wrote a caption gets none.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from annotation.ballots import Votes, answer_types, read_answers_as_columns, votes, wanted_by_clip
from annotation.project import KEPT, REJECTED, SCREEN, SEGMENT
from annotation.rules import KNOWN, ResolveSettings
from annotation.screen import RatingQuestion
from annotation.tasks import CAPTION_FIELDS
from curation.records import Annotation, Caption
from curation.tables import HumanVerdict, schema_of

BY_PEOPLE, BY_SIMULATED = "people", "people (simulated)"
OWN_WORDS = ("manual", "prediction-changed")
VERDICTS, CAPTIONS = schema_of(HumanVerdict), schema_of(Caption)
TEXTS: dict[str, pa.DataType] = dict.fromkeys(CAPTION_FIELDS, pa.string())
MAJORITY = ResolveSettings()


@dataclass(frozen=True)
class Resolved:
    """Rows of `human_verdicts` and `captions`, ordered by clip id, and how many clips wait for the adjudicator."""

    verdicts: pa.Table
    captions: pa.Table
    num_waiting_for_adjudicator: int = 0


@dataclass(frozen=True)
class _Count:
    """Votes per clip: C clips, V votes."""

    keeps: np.ndarray  # int64 [C]
    rejects: np.ndarray  # int64 [C]
    decided: np.ndarray  # bool [C]
    kept: np.ndarray  # bool [C], of the decided
    adjudicated: np.ndarray  # bool [C]
    known: np.ndarray  # bool [C]
    verdict_row: np.ndarray  # int64 [V], the row that holds each vote's verdict, -1 for none
    keeps_vote: np.ndarray  # bool [V]
    num_waiting: int = field(default=0)


def resolve_rows(
    annotations: pa.Table,
    answers_wanted: int | Mapping[str, int],
    settings: ResolveSettings = MAJORITY,
    withdrawn: Collection[str] = (),
    known: Mapping[str, str] | None = None,
) -> Resolved:
    """Verdict and caption of every decided clip.

    Args:
        annotations: rows of the table `annotations`, of all projects.
        answers_wanted: of different people; by clip id, a clip that is not there wants one.
        withdrawn: keys of answers that were deleted on the server; they are left out.
        known: clip id -> verdict of gold clips (`gold.known_verdicts`).
    """
    counted = votes(annotations, withdrawn)
    columns = _columns(counted)
    count = _count(counted, columns["verdict"], answers_wanted, settings, known or {})
    chosen = np.flatnonzero(count.decided)
    verdicts = _verdicts(counted, columns, count, chosen, settings)
    return Resolved(verdicts, _captions(counted, columns["caption length"], count), count.num_waiting)


def resolve(
    annotations: Iterable[Annotation],
    answers_wanted: int | Mapping[str, int],
    settings: ResolveSettings = MAJORITY,
    withdrawn: Collection[str] = (),
    known: Mapping[str, str] | None = None,
) -> tuple[list[HumanVerdict], list[Caption]]:
    """`resolve_rows` of records and as records, for a handful of clips."""
    rows = pa.Table.from_pylist([vars(row) for row in annotations], schema=schema_of(Annotation))
    found = resolve_rows(rows, answers_wanted, settings, withdrawn, known)
    verdicts = [HumanVerdict(**row) for row in found.verdicts.to_pylist()]
    return verdicts, [Caption(**row) for row in found.captions.to_pylist()]


def _columns(counted: Votes) -> dict[str, pa.ChunkedArray]:
    """The answers of the rows that count; of the caption its length alone, which is what it is ranked by."""
    types = answer_types(SCREEN.questions)
    wanted = types | TEXTS
    parts = []
    for table in read_answers_as_columns(counted.rows.column("answers"), wanted):
        lengths = np.zeros(table.num_rows, np.int64)
        for name in CAPTION_FIELDS:
            lengths += pc.call_function("utf8_length", [table.column(name).fill_null("")]).to_numpy()
        parts.append(table.select(list(types)).append_column("caption length", pa.array(lengths)))
    schema = pa.schema([*types.items(), ("caption length", pa.int64())])
    table = pa.concat_tables([schema.empty_table(), *parts])
    return {name: table.column(name).take(pa.array(counted.places)) for name in schema.names}


def _count(
    counted: Votes,
    verdict: pa.ChunkedArray,
    answers_wanted: int | Mapping[str, int],
    settings: ResolveSettings,
    known: Mapping[str, str],
) -> _Count:
    clip, size = counted.clip, len(counted.clip_ids)
    row = counted.newest(verdict.is_valid().to_numpy())
    voted = row >= 0
    says_keep = pc.call_function("equal", [verdict, pa.scalar(KEPT)]).fill_null(False).to_numpy()
    keeps_vote = voted & (says_keep[row] if len(row) else voted)
    keeps = np.bincount(clip[keeps_vote], minlength=size)
    rejects = np.bincount(clip[voted], minlength=size) - keeps
    skips = np.bincount(clip[counted.skipped() & ~voted], minlength=size)
    enough = (keeps + rejects > 0) & (keeps + rejects + skips >= wanted_by_clip(answers_wanted, counted.clip_ids))
    kept, adjudicated, waiting = keeps > rejects, np.zeros(size, bool), np.zeros(size, bool)
    if settings.rule == "adjudicated":
        person = counted.people.index(settings.adjudicator).as_py()
        theirs = voted & (counted.person == person)
        has_theirs, theirs_keep = np.zeros(size, bool), np.zeros(size, bool)
        has_theirs[clip[theirs]], theirs_keep[clip[theirs]] = True, keeps_vote[theirs]
        differ = (keeps > 0) & (rejects > 0)
        waiting, adjudicated = enough & differ & ~has_theirs, differ & has_theirs
        kept = np.where(adjudicated, theirs_keep, kept)
    place = pc.call_function(
        "index_in", [pa.array(known, pa.string())], pc.SetLookupOptions(value_set=counted.clip_ids)
    ).fill_null(-1)
    is_known = np.zeros(size, bool)
    for at, answer in zip(place.to_pylist(), known.values(), strict=True):
        if at >= 0:
            is_known[at], kept[at], adjudicated[at], waiting[at] = True, answer == KEPT, False, False
    return _Count(keeps, rejects, enough & ~waiting, kept, adjudicated, is_known, row, keeps_vote, int(waiting.sum()))


def _verdicts(
    counted: Votes,
    columns: Mapping[str, pa.ChunkedArray],
    count: _Count,
    chosen: np.ndarray,
    settings: ResolveSettings,
) -> pa.Table:
    """Rows of `human_verdicts` of the chosen clips, int64 [N]."""
    size = len(counted.clip_ids)
    voters = np.flatnonzero(count.verdict_row >= 0)
    simulated = counted.column("simulated").to_numpy()[count.verdict_row[voters]]
    names = counted.people.take(pa.array(counted.person[voters]))
    kept, known = count.kept[chosen], count.known[chosen]
    starts, ends = _segments(counted, columns, size)
    values = {
        "clip_id": counted.clip_ids.take(pa.array(chosen)),
        "decision": _texts_of(kept, [REJECTED, KEPT]),
        "reason": _reasons(counted, columns.get("reject_reasons"), count, settings).take(pa.array(chosen)),
        "num_answers": (count.keeps + count.rejects)[chosen],
        "simulated": np.bincount(counted.clip[voters][simulated], minlength=size)[chosen] > 0,
        "by": _joined(names, counted.clip[voters], size, ", ").take(pa.array(chosen)),
        "rule": _texts_of(known, [settings.text, KNOWN]),
        "ratings": _ratings(counted, columns, size).take(pa.array(chosen)),
        "best_start_s": pa.array(starts[chosen], from_pandas=True),
        "best_end_s": pa.array(np.where(np.isfinite(ends), ends, np.nan)[chosen], from_pandas=True),
    }
    return pa.table(values).select(VERDICTS.names).cast(VERDICTS)


def _reasons(counted: Votes, given: pa.ChunkedArray | None, count: _Count, settings: ResolveSettings) -> pa.Array:
    """`2 keep, 1 reject: dull, unsafe` per clip [C]; reasons by how many gave them, then by alphabet."""
    size = len(counted.clip_ids)
    said = np.stack([count.keeps, count.rejects, count.adjudicated, count.known], axis=1).astype(np.int64)
    distinct, of_clip = np.unique(said, axis=0, return_inverse=True)
    texts = []
    for keeps, rejects, adjudicated, known in distinct.tolist():
        decided_by = f", {settings.adjudicator} decided" if adjudicated else ""
        texts.append(f"{'known answer; people: ' if known else ''}{keeps} keep, {rejects} reject{decided_by}")
    head = pa.array(texts, pa.string()).take(pa.array(of_clip.reshape(-1)))
    if given is None:
        return head
    rejecting = np.flatnonzero((count.verdict_row >= 0) & ~count.keeps_vote)
    lists = pa.concat_arrays([pa.array([], given.type), *given.take(pa.array(count.verdict_row[rejecting])).chunks])
    owner = counted.clip[rejecting][pc.call_function("list_parent_indices", [lists]).to_numpy()]
    reasons = lists.flatten().dictionary_encode()
    order = pc.call_function("array_sort_indices", [reasons.dictionary]).to_numpy()
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    width = max(len(order), 1)
    pairs, times = np.unique(owner * width + rank[reasons.indices.to_numpy()], return_counts=True)
    clip, reason = pairs // width, pairs % width
    first = np.lexsort((reason, -times, clip))
    named = _joined(reasons.dictionary.take(pa.array(order[reason[first]])), clip[first], size, ", ")
    has = np.bincount(clip, minlength=size) > 0
    named = pc.call_function("if_else", [pa.array(has), named, pa.scalar(None, pa.string())])
    skip_nulls = pc.JoinOptions(null_handling="skip")
    return pc.call_function("binary_join_element_wise", [head, named, ": "], skip_nulls)


def _ratings(counted: Votes, columns: Mapping[str, pa.ChunkedArray], size: int) -> pa.Array:
    """`{"motion_speed": 3.5, ...}` per clip [C], in the screen's order; `{}` where nobody rated."""
    pieces = []
    for name, question in SCREEN.questions.items():
        if not isinstance(question, RatingQuestion):
            continue
        column = columns[name]
        medians = _medians(counted, column.to_numpy(), column.is_valid().to_numpy(), size)
        distinct, of_clip = np.unique(medians, return_inverse=True)
        texts = ["" if np.isnan(value) else f"{json.dumps(name)}: {value:g}, " for value in distinct.tolist()]
        pieces.append(pa.array(texts, pa.string()).take(pa.array(of_clip)))
    body = pc.call_function("binary_join_element_wise", [*pieces, ""])
    body = pc.call_function("utf8_rtrim", [body], pc.TrimOptions(", "))
    return pc.call_function("binary_join_element_wise", [pa.scalar("{"), body, pa.scalar("}"), ""])


def _segments(counted: Votes, columns: Mapping[str, pa.ChunkedArray], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Median start and end of the best part per clip in seconds; NaN where nobody marked one, infinite: to the end.

    Who gave one bound alone means from the clip's beginning, or to its end.
    """
    start, end = (columns[name] for name in SEGMENT)
    marked = pc.call_function("or", [start.is_valid(), end.is_valid()]).to_numpy()
    starts = _medians(counted, start.fill_null(0.0).to_numpy(), marked, size)
    return starts, _medians(counted, end.fill_null(np.inf).to_numpy(), marked, size)


def _medians(counted: Votes, values: np.ndarray, given: np.ndarray, size: int) -> np.ndarray:
    """The median per clip over the newest value of each vote, NaN for none. float64 [C]."""
    row = counted.newest(given)
    voted = row >= 0
    clip, value = counted.clip[voted], values[row[voted]]
    value = value[np.lexsort((value, clip))]
    number = np.bincount(clip, minlength=size)
    start = np.cumsum(number) - number
    has = number > 0
    medians = np.full(size, np.nan)
    lower, upper = start + (number - 1) // 2, start + number // 2
    medians[has] = (value[lower[has]] + value[upper[has]]) / 2
    return medians


def _captions(counted: Votes, lengths: pa.ChunkedArray, count: _Count) -> pa.Table:
    """The best answer's caption of every decided clip that has one."""
    length = lengths.to_numpy()
    row = counted.newest(length > 0)
    candidates = np.flatnonzero((row >= 0) & count.decided[counted.clip])
    clip, row = counted.clip[candidates], row[candidates]
    voted = count.verdict_row[candidates] >= 0
    side = np.where(voted, np.where(count.keeps_vote[candidates] == count.kept[clip], 2, 0), 1)
    own = _own_words(counted.column("origins"))[row]
    order = np.lexsort((counted.person[candidates], -length[row], -own, -side, clip))
    best = order[np.diff(clip[order], prepend=-1) != 0]
    places = pa.array(counted.places[row[best]])
    chosen = counted.rows.select(["clip_id", "annotation_key", "simulated", "answers"]).take(places)
    parts = list(read_answers_as_columns(chosen.column("answers"), TEXTS))
    fields = pa.concat_tables([pa.schema(list(TEXTS.items())).empty_table(), *parts])
    simulated = chosen.column("simulated").to_numpy()
    values: dict[str, Any] = {name: fields.column(name).fill_null("") for name in CAPTION_FIELDS}
    values |= {"clip_id": chosen.column("clip_id"), "version": chosen.column("annotation_key")}
    values["by"] = _texts_of(simulated, [BY_PEOPLE, BY_SIMULATED])
    return pa.table(values).select(CAPTIONS.names).cast(CAPTIONS)


def _own_words(origins: pa.ChunkedArray) -> np.ndarray:
    """How many caption fields of each row are the person's own, int64 [A]; each distinct text is parsed once."""
    encoded = pa.concat_arrays([pa.array([], pa.string()), *origins.chunks]).dictionary_encode()
    own = []
    for text in encoded.dictionary.to_pylist():
        given = json.loads(text)
        own.append(sum(given.get(name) in OWN_WORDS for name in CAPTION_FIELDS))
    return np.array(own, np.int64)[encoded.indices.to_numpy()]


def _texts_of(place: np.ndarray, texts: list[str]) -> pa.Array:
    return pa.array(texts, pa.string()).take(pa.array(place.astype(np.int64)))


def _joined(texts: pa.Array, group: np.ndarray, num_groups: int, separator: str) -> pa.Array:
    """Texts joined per group; `group` ascends, and a group without texts is empty."""
    ends = np.concatenate([[0], np.cumsum(np.bincount(group, minlength=num_groups))]).astype(np.int32)
    return pc.call_function("binary_join", [pa.ListArray.from_arrays(pa.array(ends), texts), separator])
