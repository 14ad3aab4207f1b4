"""Which clips go to people, in which order, how often and to whom: a pure function of columns.

    review band --strata (concept x score), the most informative first--+
    what machines kept     --the smallest draws-------------------------+--merged evenly--> budget --> limits --> rows
    what machines rejected --the smallest draws-------------------------+
    gold (answer known)    --the smallest draws-------------------------+

Strata take turns: the most informative clip of each, then the second of each; so a budget of as many tasks as there
are strata covers them all, whatever their sizes, and who stops half-way has seen some of everything. Without a measure
of information the order in a stratum is a seeded shuffle; neighbours of one film do not tire the annotator in a row.

A draw is a number that depends on the seed, its purpose and the clip's id alone. So a second plan over more clips
agrees with the first; an audit slice is a uniform sample of the pool as it is now; and which tasks get several answers
is a property of the clip (that share holds on average, while the others hold to a task). What already lies on the
server stays and counts; new tasks fill up to the budget.

Nothing of a plan goes into task data: reason, stratum and priority would bias answers. A million clips take a second.

Legend: N clips of the pool, by place.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pandas.util import hash_array
from pydantic import BaseModel, Field, model_validator

from annotation.assignment import assign, assign_gold, room_beside_gold
from annotation.media_server import ServeSettings
from annotation.preflight import PreflightSettings
from curation.records import Decision, content_id

REVIEW, KEPT, REJECTED, GOLD = "review", "audit of kept", "audit of rejected", "gold"
KINDS = (REVIEW, KEPT, REJECTED, GOLD)
FLAGS = {Decision.REVIEW.value: 4, Decision.KEEP.value: 2, Decision.REJECT.value: 1}  # the highest of a clip counts
SCHEMA = pa.schema(
    [
        ("clip_id", pa.string()),
        ("reason", pa.string()),
        ("stratum", pa.string()),
        ("priority", pa.int64()),
        ("answers_wanted", pa.int64()),
        ("annotators", pa.list_(pa.string())),
    ]
)


class Slice(BaseModel, frozen=True, extra="forbid"):
    """A part of the tasks: a share of all of them, or a number."""

    share: float = Field(default=0.0, ge=0, lt=1, description="of all tasks, 0..1")
    number: int = Field(default=0, ge=0, description="tasks")

    @model_validator(mode="after")
    def _one_of_both(self) -> "Slice":
        if self.share and self.number:
            raise ValueError(f"give a share or a number, not both (share = {self.share}, number = {self.number})")
        return self


class RoutingSettings(BaseModel, frozen=True, extra="forbid"):
    """What people are asked to look at, and how the clips reach their screens."""

    max_tasks: int = Field(default=0, ge=0, description="most tasks in the project, what lies there included; 0: all")
    strata_scores: tuple[str, ...] = Field(
        default=("suitability", "aesthetic", "motion"),
        description="scorers; the quantiles of the first that runs are strata, beside the concepts of `dailies group`",
    )
    quantiles: int = Field(default=4, ge=1, description="strata by score; 1: none")
    audit_kept: Slice = Field(default=Slice(), description="clips that machines kept, drawn at random, to check them")
    audit_rejected: Slice = Field(default=Slice(), description="the same of what every stage's gates rejected")
    gold_share: float = Field(default=0.0, ge=0, le=0.5, description="of an annotator's tasks, with known answers")
    overlap_share: float = Field(
        default=1.0, ge=0, le=1, description="of the tasks get annotation.overlap answers, the others one"
    )
    annotators: tuple[str, ...] = Field(default=(), description="e-mail addresses, to plan who answers what")
    max_per_annotator: int = Field(default=0, ge=0, description="most tasks for one annotator; 0: no limit")
    media: Literal["local-files", "serve", "presigned"] = Field(
        default="local-files",
        description="who gives clips to the browser: Label Studio's own route, `dailies serve`, or the object store",
    )
    presigned_hours: float = Field(default=168, gt=0, le=168, description="how long presigned addresses work")
    serve: ServeSettings = ServeSettings()
    preflight: PreflightSettings = PreflightSettings()

    @model_validator(mode="after")
    def _can_be_met(self) -> "RoutingSettings":
        shares = self.audit_kept.share + self.audit_rejected.share + self.gold_share
        if shares >= 1:
            raise ValueError(f"audits and gold take {shares:g} of the tasks; leave a share for the review band")
        if len(set(self.annotators)) < len(self.annotators):
            raise ValueError("annotators: the same address is there twice")
        if self.max_per_annotator and not self.annotators:
            raise ValueError("max_per_annotator needs annotators: who else would the limit be of")
        return self


@dataclass(frozen=True)
class Pool:
    """What is known of all clips."""

    clip_ids: pa.Array  # string [N], distinct
    verdicts: pa.Table  # rows of `gate_verdicts` of one set of rules
    concept: np.ndarray | None = None  # int64 [N], -1 for a clip without one
    score: np.ndarray | None = None  # float64 [N], NaN for a clip without one
    information: np.ndarray | None = None  # float64 [N], 0..1, higher first; NaN (nothing is known) counts as 1


@dataclass(frozen=True)
class Routed:
    """What a plan says of one task."""

    reason: str
    stratum: str = ""
    priority: int = 0
    answers_wanted: int = 1
    annotators: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """The tasks to make, in their order, and what became of every candidate."""

    rows: pa.Table  # SCHEMA; priority 0 comes first
    there: pa.Array  # clip ids of the candidates that lie on the server already
    candidates: Mapping[str, int] = field(default_factory=dict)  # by kind
    over_budget: int = 0

    def tasks(self) -> dict[str, Routed]:
        """Clip id -> what to do, in the order of the rows; for the few that are pushed one by one."""
        return {
            row.pop("clip_id"): Routed(**{**row, "annotators": tuple(row["annotators"])})
            for row in self.rows.to_pylist()
        }

    @property
    def holds(self) -> bool:
        return sum(self.candidates.values()) == self.rows.num_rows + self.over_budget + len(self.there)

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.candidates.items() if count)
        text = f"{sum(self.candidates.values())} candidates{f' ({kinds})' if kinds else ''}"
        text += f" = {self.rows.num_rows} routed + {self.over_budget} over budget + {len(self.there)} already there"
        return text if self.holds else f"{text}  DOES NOT HOLD"


def plan(
    pool: Pool,
    settings: RoutingSettings,
    seed: int,
    overlap: int = 1,
    gold: Collection[str] = (),
    there: Collection[str] = (),
    loads: Mapping[str, int] | None = None,
) -> Plan:
    """The tasks that are worth making now.

    Args:
        overlap: answers wanted of the `overlap_share` of the tasks, and of gold where no annotators are named.
        gold: ids of clips with a known answer; those that are not in the pool do not count.
        there: ids of clips that are tasks already.
        loads: tasks each annotator has already; absent ones have none.

    Raises:
        UserError: a task wants more answers than there are annotators.
    """
    is_there = _among(pool.clip_ids, there)
    budget = _budget(settings, overlap, len(there), loads or {})
    candidates = _candidates(pool, settings, seed, gold, budget)
    others = [places[~is_there[places]] for places in candidates[1:]]
    strata = _strata(pool, candidates[0], settings.quantiles)
    review = _by_strata(pool, strata, candidates[0], is_there, seed)
    room = len(pool.clip_ids) if budget is None else max(0, budget - len(there))
    order, kinds = _merged([review[: max(0, room - sum(map(len, others)))], *others])
    order, kinds = order[:room], kinds[:room]
    wanted = answers_wanted(pool.clip_ids.take(pa.array(order)), settings, seed, overlap)
    wanted[kinds == KINDS.index(GOLD)] = overlap
    people: list[tuple[int, ...]] = [() for _ in order]
    if settings.annotators:
        people = _assigned(wanted, kinds == KINDS.index(GOLD), settings, seed, loads or {})
        goes = np.array([bool(each) for each in people], bool)
        order, kinds, people = order[goes], kinds[goes], [each for each in people if each]
        wanted = np.array([len(each) for each in people], np.int64)
    everything = np.concatenate(candidates)
    routed = np.zeros(len(pool.clip_ids), bool)
    routed[order] = True
    return Plan(
        rows=_rows(pool, settings, strata, _Chosen(order, kinds, wanted, people)),
        there=pool.clip_ids.take(pa.array(everything[is_there[everything]])),
        candidates={kind: len(places) for kind, places in zip(KINDS, candidates, strict=True)},
        over_budget=int((~is_there[everything] & ~routed[everything]).sum()),
    )


def answers_wanted(clip_ids: pa.Array, settings: RoutingSettings, seed: int, overlap: int) -> np.ndarray:
    """How many people each of these clips wants, int64: `overlap` or 1, always the same for a clip."""
    several = _draws(clip_ids, seed, "overlap") < settings.overlap_share * 2.0**64
    return np.where(several, overlap, 1).astype(np.int64)


def _draws(clip_ids: pa.Array, seed: int, purpose: str) -> np.ndarray:
    """A number of each clip, uint64, uniform; another purpose gives other, independent numbers."""
    texts, hashed = clip_ids.to_numpy(zero_copy_only=False).astype(object), cast(Any, hash_array)
    return hashed(texts, hash_key=content_id(seed, purpose)[:16], categorize=False)


def _decided(pool: Pool) -> np.ndarray:
    """What machines say of each clip, uint8 [N]: flags of FLAGS, 0 for a clip without a verdict."""
    flags = np.zeros(len(pool.clip_ids), np.uint8)
    for places, codes, _ in _verdict_parts(pool):
        for flag in FLAGS.values():
            flags[places[codes == flag]] |= flag
    return flags


@dataclass(frozen=True)
class _Chosen:
    """The tasks in their order."""

    order: np.ndarray  # places
    kinds: np.ndarray  # index into KINDS
    wanted: np.ndarray  # answers
    people: list[tuple[int, ...]]  # numbers of the annotators


def _budget(settings: RoutingSettings, overlap: int, num_there: int, loads: Mapping[str, int]) -> int | None:
    """Most tasks, those on the server included, as the budget and the annotators' limits allow; None: no limit."""
    budget = settings.max_tasks or None
    if settings.max_per_annotator:
        left = sum(max(0, settings.max_per_annotator - loads.get(email, 0)) for email in settings.annotators)
        of_people = num_there + math.ceil(left / (1 + settings.overlap_share * (overlap - 1)))
        budget = of_people if budget is None else min(budget, of_people)
    return budget


def _candidates(
    pool: Pool, settings: RoutingSettings, seed: int, gold: Collection[str], budget: int | None
) -> list[np.ndarray]:
    """Places by kind; each clip is of one kind, and all but the review band are in the order of their draws."""
    is_gold = _among(pool.clip_ids, gold)
    flags = np.where(is_gold, 0, _decided(pool))
    classes = [flags >= 4, (flags >= 2) & (flags < 4), flags == 1, is_gold]
    slices = [settings.audit_kept, settings.audit_rejected, Slice(share=settings.gold_share)]
    sizes = _sizes(int(classes[0].sum()), [int(each.sum()) for each in classes[1:]], slices, budget)
    found = [np.flatnonzero(classes[0])]
    for kind, of_kind, size in zip(KINDS[1:], classes[1:], sizes, strict=True):
        places = np.flatnonzero(of_kind) if size else np.empty(0, np.int64)
        drawn = _draws(pool.clip_ids.take(pa.array(places)), seed, kind)
        found.append(places[np.argsort(drawn, kind="stable")[:size]])
    return found


def _sizes(num_review: int, available: list[int], slices: list[Slice], budget: int | None) -> list[int]:
    """How many of each slice make the wanted share of all tasks; a slice that runs short is taken whole."""
    sizes = [min(each.number, count) if each.number else None for each, count in zip(slices, available, strict=True)]
    while True:
        open_share = sum(each.share for each, size in zip(slices, sizes, strict=True) if size is None)
        total = (num_review + sum(size or 0 for size in sizes)) / (1 - open_share)
        total = total if budget is None else min(total, budget)
        asked = [round(each.share * total) if size is None else size for each, size in zip(slices, sizes, strict=True)]
        if all(want <= count for want, count in zip(asked, available, strict=True)):
            return asked
        sizes = [
            count if size is None and want > count else size
            for size, want, count in zip(sizes, asked, available, strict=True)
        ]


def _by_strata(pool: Pool, strata: np.ndarray, review: np.ndarray, is_there: np.ndarray, seed: int) -> np.ndarray:
    """The review places that are not there yet: strata take turns, each gives its most informative clip first.

    A stratum whose clips lie on the server already waits until the others have caught up.
    """
    _, of_review = np.unique(strata[review], return_inverse=True)
    is_fresh = ~is_there[review]
    fresh = review[is_fresh]
    known = np.ones(len(fresh)) if pool.information is None else np.nan_to_num(pool.information[fresh], nan=1.0)
    best_first = np.lexsort((_draws(pool.clip_ids.take(pa.array(fresh)), seed, REVIEW), -known))
    of_fresh = of_review[is_fresh][best_first]
    together, sizes = np.argsort(of_fresh, kind="stable"), np.bincount(of_fresh)
    turn = np.empty(len(fresh), np.int64)
    turn[together] = np.arange(len(fresh)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    turn += np.bincount(of_review[~is_fresh], minlength=of_review.max(initial=0) + 1)[of_fresh]
    return fresh[best_first[np.argsort(turn, kind="stable")]]


def _strata(pool: Pool, review: np.ndarray, quantiles: int) -> np.ndarray:
    """Stratum of every clip, int64 [N]: concept and score quantile as one number, see `_stratum_text`."""
    concept = np.zeros(len(pool.clip_ids), np.int64) if pool.concept is None else pool.concept.astype(np.int64) + 1
    score = np.full(len(concept), np.nan) if pool.score is None else pool.score
    known = score[review][~np.isnan(score[review])]
    inner = np.arange(1, quantiles) / quantiles
    edges = np.quantile(known, inner) if len(known) else inner
    place = np.where(np.isnan(score), 0, 1 + np.searchsorted(edges, score, side="right"))
    return concept * (quantiles + 1) + place


def _stratum_text(pool: Pool, stratum: int, quantiles: int) -> str:
    concept, place = divmod(stratum, quantiles + 1)
    parts = [] if pool.concept is None else [f"concept {concept - 1}" if concept else "no concept"]
    if pool.score is not None:
        parts.append(f"score {place} of {quantiles}" if place else "no score")
    return ", ".join(parts) or "all"


def _merged(parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Places of all parts in one order, each part evenly spread over it, and the number of the part of each."""
    kinds = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    spots = np.concatenate([(np.arange(len(part)) + 0.5) / max(1, len(part)) for part in parts])
    order = np.lexsort((kinds, spots))
    return np.concatenate(parts)[order], kinds[order]


def _assigned(
    wanted: np.ndarray, is_gold: np.ndarray, settings: RoutingSettings, seed: int, loads: Mapping[str, int]
) -> list[tuple[int, ...]]:
    """Numbers of the annotators of each task; empty for those that nobody has room for, and for gold behind them."""
    taken = [loads.get(email, 0) for email in settings.annotators]
    limit, share = settings.max_per_annotator, settings.gold_share
    beside = [room_beside_gold(limit, load, share, int(is_gold.sum())) if limit else None for load in taken]
    others = assign(wanted[~is_gold], beside, seed, taken)
    positions = np.flatnonzero(~is_gold)
    covered = [position for position, people in zip(positions, others, strict=True) if people]
    golden = np.flatnonzero(is_gold)
    if len(covered) < len(positions):
        golden = golden[golden < max(covered, default=0)]
    counts = np.bincount([person for people in others for person in people], minlength=len(taken)).tolist()
    room = [max(0, limit - load) if limit else None for load in taken]
    members: list[tuple[int, ...]] = [() for _ in is_gold]
    for position, people in zip(positions, others, strict=True):
        members[position] = people
    for position, people in zip(golden, assign_gold(counts, share, len(golden), room), strict=True):
        members[position] = tuple(people)
    return members


def _rows(pool: Pool, settings: RoutingSettings, strata: np.ndarray, chosen: _Chosen) -> pa.Table:
    order = chosen.order
    distinct, of_task = np.unique(strata[order], return_inverse=True)
    texts = [_stratum_text(pool, stratum, settings.quantiles) for stratum in distinct.tolist()]
    ends = np.cumsum([0, *(len(people) for people in chosen.people)])
    people = pa.array([person for people in chosen.people for person in people], pa.int32())
    columns = {
        "clip_id": pool.clip_ids.take(pa.array(order)),
        "reason": _reasons(pool, chosen),
        "stratum": pa.array(texts, pa.string()).take(pa.array(of_task)),
        "priority": pa.array(np.arange(len(order))),
        "answers_wanted": pa.array(chosen.wanted),
        "annotators": pa.ListArray.from_arrays(
            pa.array(ends, pa.int32()), pa.array(settings.annotators, pa.string()).take(people)
        ),
    }
    return pa.table(columns, schema=SCHEMA)


def _reasons(pool: Pool, chosen: _Chosen) -> pa.ChunkedArray:
    """Why each task needs people: of the review band stage by stage ("image: sharpness < 8; video: motion < 0.02")."""
    is_review = np.zeros(len(pool.clip_ids), bool)
    is_review[chosen.order[chosen.kinds == 0]] = True
    parts = []
    for places, codes, rows in _verdict_parts(pool):
        asked = (codes == FLAGS[Decision.REVIEW.value]) & is_review[places]
        named = rows.select(["stage", "reason"]).filter(pa.array(asked))
        columns = [pa.array(places[asked]), *(named.column(name).cast(pa.string()) for name in ("stage", "reason"))]
        parts.append(pa.table(columns, names=["place", "stage", "reason"]))
    if not parts:
        return pa.chunked_array([], pa.string())
    rows = pa.concat_tables(parts).sort_by([("place", "ascending"), ("stage", "ascending")])
    said = pc.call_function("binary_join_element_wise", [rows.column("stage"), rows.column("reason"), ": "])
    places, starts = np.unique(rows.column("place").to_numpy(), return_index=True)
    ends = pa.array(np.append(starts, rows.num_rows), pa.int32())
    reasons = pc.call_function("binary_join", [pa.ListArray.from_arrays(ends, said.combine_chunks()), pa.scalar("; ")])
    texts = pa.chunked_array([reasons, pa.array(KINDS[1:])], pa.string())
    of_review = np.searchsorted(places, chosen.order)
    return texts.take(pa.array(np.where(chosen.kinds == 0, of_review, len(reasons) + chosen.kinds - 1)))


def _verdict_parts(pool: Pool) -> Iterator[tuple[np.ndarray, np.ndarray, pa.Table]]:
    """Verdicts of clips in the pool: their places, their flags of FLAGS, the rows. A clip is once in each stage."""
    strays = []
    for batch in pool.verdicts.to_batches():
        rows = pa.Table.from_batches([batch])
        ids = rows.column("clip_id").cast(pa.string()).combine_chunks()
        if ids.equals(pool.clip_ids):  # as `dailies gates` writes a stage, so that nothing is to be looked up
            yield np.arange(len(ids)), _flags(rows), rows
        elif len(ids):
            strays.append(rows.select(["clip_id", "stage", "decision", "reason"]))
    if strays:
        rows = pa.concat_tables(strays).unify_dictionaries().combine_chunks()
        ids = rows.column("clip_id").cast(pa.string())
        found = pc.call_function("index_in", [ids], pc.SetLookupOptions(pool.clip_ids))
        rows, places = rows.filter(found.is_valid()), found.drop_null().to_numpy().astype(np.int64)
        yield places, _flags(rows), rows


def _flags(rows: pa.Table) -> np.ndarray:
    """uint8, FLAGS of the decision of each row."""
    decision = rows.column("decision").combine_chunks()
    encoded: pa.DictionaryArray = decision if pa.types.is_dictionary(decision.type) else decision.dictionary_encode()
    meaning = np.array([FLAGS[text] for text in encoded.dictionary.to_pylist()], np.uint8)
    return meaning[encoded.indices.to_numpy()]


def _among(clip_ids: pa.Array, wanted: Collection[str]) -> np.ndarray:
    """Which of the clips are wanted, bool [N]."""
    found = pc.call_function("is_in", [clip_ids], pc.SetLookupOptions(pa.array(sorted(wanted), pa.string())))
    return found.to_numpy(zero_copy_only=False)
