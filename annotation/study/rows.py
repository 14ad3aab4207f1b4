"""Rows of a study as columns: which answers count, and what they say of systems.

    items, answers --newest of each judge on each item, skips left out--> Given --+--> judges.py
                                                                                  |
    prompts, videos --media_key to system-----------------------------------------+--> PairVotes, PassVotes

Repeats, gold and identical items say something of judges alone and are in `Given` only. Nobody's answer is left out
for being one too many. Answers are JSON of which there are few distinct texts, so each text is read once: 140,000
answers take 0.2 s. Rows are of one study, and every answer is to one of the items: `study collect` sees to that.

Legend: M answers that count, I items, N ordinary ones, A axes.
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from annotation.study.axes import ALL_AXES, AXES, FAIL, PASS, TIE, A, B
from annotation.study.votes import MISSING, PairVotes, PassVotes
from curation.records import to_row
from curation.study_records import ItemKind, StudyAnswer, StudyItem, StudyPrompt, StudyVideo
from curation.tables import schema_of

CODES = {A: 0, TIE: 1, B: 2, FAIL: 0, PASS: 1}
COUNTED = (ItemKind.RANDOM.value, ItemKind.ADAPTIVE.value)


@dataclass(frozen=True)
class Given:
    """What judges said: the newest answer of each judge on each item, ordered by item and judge.

    `answer_MA` holds 0, 1, 2 for A, tie, B, or 0, 1 for fail, pass; MISSING where an axis was not answered. With one
    video per item the last axis, the overall, is whether all three pass.
    """

    items: pa.Table  # [I], by item_key
    judges: tuple[str, ...]  # in order
    axes: tuple[str, ...]
    pairwise: bool
    item_M: np.ndarray  # int64, index into items
    judge_M: np.ndarray  # int64, index into judges
    answer_MA: np.ndarray  # int8
    seconds_M: np.ndarray  # float64, NaN where it was not measured

    def kind(self, *kinds: str) -> np.ndarray:
        """Which of the answers are to items of these kinds, bool [M]."""
        of_kind = pc.call_function("is_in", [self.items["kind"]], pc.SetLookupOptions(pa.array(kinds, pa.string())))
        return of_kind.to_numpy()[self.item_M]

    def expected(self) -> np.ndarray:
        """The right answers to the items, MISSING where there is none: int8 [I, A]."""
        return _codes(self.items["expected"].combine_chunks(), self.axes)


def given(items: pa.Table | Iterable[StudyItem], answers: pa.Table | Iterable[StudyAnswer]) -> Given:
    """The answers that count; a judge whose newest word on an item is to skip it has said nothing of it."""
    asked, said = _as_table(items, StudyItem).sort_by("item_key"), _as_table(answers, StudyAnswer)
    item = _places(said["item_key"], asked["item_key"])
    judges = sorted(said["judge"].unique().to_pylist())
    judge = _places(said["judge"], pa.array(judges, pa.string()))
    keys = _places(said["answer_key"], said["answer_key"].combine_chunks().sort())
    times = said["answered_at"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    order = np.lexsort((keys, times, judge, item))
    newest = np.ones(len(order), bool)
    newest[:-1] = (item[order[1:]] != item[order[:-1]]) | (judge[order[1:]] != judge[order[:-1]])
    rows = order[newest]
    rows = rows[~said["skipped"].to_numpy()[rows]]
    pairwise = pc.call_function("any", [pc.call_function("not_equal", [asked["media_b"], ""])]).as_py() or False
    counted = said.take(pa.array(rows))
    codes = _codes(counted["answers"].combine_chunks(), ALL_AXES)
    if not pairwise:
        singles = codes[:, : len(AXES)]
        codes[:, -1] = np.where((singles == MISSING).any(1), MISSING, singles.min(1))
    seconds = counted["lead_time_s"].cast(pa.float64()).to_numpy()
    return Given(asked, tuple(judges), ALL_AXES, pairwise, item[rows], judge[rows], codes, seconds)


def pair_votes(
    prompts: pa.Table | Iterable[StudyPrompt],
    videos: pa.Table | Iterable[StudyVideo],
    items: pa.Table | Iterable[StudyItem],
    answers: pa.Table | Iterable[StudyAnswer],
    leave_out: Collection[str] = (),
) -> PairVotes:
    """Comparisons, without those of the judges to leave out; prompts, systems and judges in order of their names."""
    known = given(items, answers)
    assert known.pairwise or not known.items.num_rows, "items of one video each"
    names, chosen = _ordinary(known, leave_out)
    systems, system_of = _systems(videos)
    return PairVotes(
        systems=systems,
        prompts=(prompt_ids := _prompt_ids(prompts)),
        judges=names,
        axes=known.axes,
        first_N=system_of(known.items["media_a"])[known.item_M[chosen]],
        second_N=system_of(known.items["media_b"])[known.item_M[chosen]],
        prompt_N=_prompts_of(known, prompt_ids)[chosen],
        judge_N=_judges_of(known, names)[chosen],
        answer_NA=known.answer_MA[chosen],
    )


def pass_votes(
    prompts: pa.Table | Iterable[StudyPrompt],
    videos: pa.Table | Iterable[StudyVideo],
    items: pa.Table | Iterable[StudyItem],
    answers: pa.Table | Iterable[StudyAnswer],
    leave_out: Collection[str] = (),
) -> PassVotes:
    """Judgements of one video each, without those of the judges to leave out; names in order."""
    known = given(items, answers)
    assert not known.pairwise, "items of two videos each"
    names, chosen = _ordinary(known, leave_out)
    systems, system_of = _systems(videos)
    return PassVotes(
        systems=systems,
        prompts=(prompt_ids := _prompt_ids(prompts)),
        judges=names,
        axes=known.axes,
        system_N=system_of(known.items["media_a"])[known.item_M[chosen]],
        prompt_N=_prompts_of(known, prompt_ids)[chosen],
        judge_N=_judges_of(known, names)[chosen],
        passed_NA=known.answer_MA[chosen],
    )


def _ordinary(known: Given, leave_out: Collection[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """The judges that stay, and which answers are theirs and say something of systems: int64 [N]."""
    stays = np.array([name not in leave_out for name in known.judges], bool)
    chosen = np.flatnonzero(known.kind(*COUNTED) & stays[known.judge_M])
    return tuple(name for name in known.judges if name not in leave_out), chosen


def _judges_of(known: Given, names: tuple[str, ...]) -> np.ndarray:
    place = {name: number for number, name in enumerate(names)}
    return np.array([place.get(name, MISSING) for name in known.judges], np.int32)[known.judge_M]


def _prompts_of(known: Given, prompt_ids: tuple[str, ...]) -> np.ndarray:
    return _places(known.items["prompt_id"], pa.array(prompt_ids, pa.string())).astype(np.int32)[known.item_M]


def _prompt_ids(prompts: pa.Table | Iterable[StudyPrompt]) -> tuple[str, ...]:
    return tuple(sorted(_as_table(prompts, StudyPrompt)["prompt_id"].to_pylist()))


def _systems(videos: pa.Table | Iterable[StudyVideo]) -> tuple[tuple[str, ...], Any]:
    """Names of the systems in order, and what turns media keys into their numbers."""
    shown = _as_table(videos, StudyVideo)
    systems = tuple(sorted(shown["system"].unique().to_pylist()))
    of_video = _places(shown["system"], pa.array(systems, pa.string())).astype(np.int32)
    return systems, lambda keys: of_video[_places(keys, shown["media_key"])]


def _places(values: pa.ChunkedArray, among: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """Where each value stands among these, int64; every one must be there."""
    found = pc.call_function("index_in", [values], pc.SetLookupOptions(among))
    assert not found.null_count, f"{found.null_count} rows name what is not in the study's tables"
    return found.to_numpy().astype(np.int64)


def _codes(texts: pa.Array, axes: tuple[str, ...]) -> np.ndarray:
    """Answers in JSON as numbers, int8 [len(texts), A]."""
    coded = texts.dictionary_encode()
    read = np.full((len(coded.dictionary), len(axes)), MISSING, np.int8)
    for place, text in enumerate(coded.dictionary.to_pylist()):
        said = json.loads(text)
        read[place] = [CODES[said[axis]] if axis in said else MISSING for axis in axes]
    return read[coded.indices.to_numpy()] if len(coded) else read


def _as_table(rows: pa.Table | Iterable[Any], record: type) -> pa.Table:
    """Records as the table they would be; a table as it is."""
    if isinstance(rows, pa.Table):
        return _of_one_study(rows)
    return _of_one_study(pa.Table.from_pylist([to_row(row) for row in rows], schema=schema_of(record)))


def _of_one_study(table: pa.Table) -> pa.Table:
    studies = table["study"].unique().to_pylist()
    assert len(studies) <= 1, f"rows of several studies: {', '.join(sorted(studies))}"
    return table
