"""How each judge answers: attention, side bias, agreement with the others, pace; and who is left out, by a stated rule.

    Given --per judge--> gold right, repeats answered alike, identical called a tie, seconds, side A, kappa
                                  |--CheckSettings--> failed, in words --> left_out --> pair_votes(leave_out=...)
    votes --per axis--> Krippendorff's alpha

A judge fails a check where the share lies below the wanted one by more than chance explains: where the upper end of its
one-sided 95% interval does, on `fewest_checks` items or more. A bare share would throw out attentive judges: one who
repeats 65% of his answers falls below 50% on 11 items in one case of seven. Axes of an item are answered together, so
intervals are over items. A repeat is compared with its sides exchanged back.

Kappa (Cohen 1960, with the others in the place of the second) compares the share of others who said the same of the
same videos with the share who say so of any: 0 for one who answers by chance, whatever the habits. In the absolute
design without gold it is the only check that sees such a one, as half of the repeats agree by luck.

60 judges with 2,300 answers each take 0.7 s.
Legend: M answers that count, I items, A axes, V answers possible on an axis.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from annotation.agreement import Agreement, Answered, agreement
from annotation.study.axes import FAIL, PASS, TIE, A, B
from annotation.study.intervals import NOTHING, Crossed, Interval, Spread, clustered_share
from annotation.study.rows import CODES, COUNTED, Given
from annotation.study.settings import CheckSettings
from annotation.study.votes import MISSING, PairVotes, PassVotes
from curation.study_records import ItemKind

NUM_VALUES = 3
ONE_SIDED = 0.9  # two-sided confidence of which each end is one-sided 95%


@dataclass(frozen=True)
class Check:
    """A judge's share (or kappa) on items of one kind; NaN where there are none."""

    found: Interval  # 95%, over items
    at_most: float  # upper end of the one-sided 95% interval
    items: int


@dataclass(frozen=True)
class Judge:
    """One judge. `failed` says by which checks, in words; empty for one who counts."""

    name: str
    items: int  # answered, of all kinds
    answers: int  # those that say something of systems
    gold: Check
    repeats: Check
    identical: Check
    agreement: Check  # kappa with the others, over all axes
    agreement_by_axis: dict[str, float]
    side_a: Interval  # share of A where a side was chosen; NaN in the absolute design
    tie_share: float  # likewise
    pass_share: float  # on the last axis, the overall; NaN in the pairwise design
    median_s: float
    failed: tuple[str, ...]


@dataclass(frozen=True)
class _Checked:
    """Of each answer: how many axes were checked, and how many were right. float64 [M]."""

    right: np.ndarray
    tries: np.ndarray

    def of(self, own: np.ndarray) -> Check:
        items = int((self.tries[own] > 0).sum())
        interval, one_sided = (
            clustered_share(self.right[own], self.tries[own], confidence) for confidence in (0.95, ONE_SIDED)
        )
        return Check(interval, one_sided.high, items)


def judges(given: Given, settings: CheckSettings) -> list[Judge]:
    """Every judge who answered, by name."""
    right, alike, shared = _right(given), _alike(given), _Shared(given)
    ordinary, gold, identical = given.kind(*COUNTED), given.kind(ItemKind.GOLD), given.kind(ItemKind.IDENTICAL)
    sides = ordinary | given.kind(ItemKind.REPEAT)
    found = []
    for place, name in enumerate(given.judges):
        own = given.judge_M == place
        said, seconds = given.answer_MA[own & sides], given.seconds_M[own & np.isfinite(given.seconds_M)]
        decided = (said == CODES[A]) | (said == CODES[B])
        pooled, by_axis = shared.kappa(place)
        judge = Judge(
            name,
            items=int(own.sum()),
            answers=int((own & ordinary).sum()),
            gold=right.of(own & gold),
            repeats=alike.of(own),
            identical=right.of(own & identical),
            agreement=pooled,
            agreement_by_axis=dict(zip(given.axes, by_axis, strict=True)),
            side_a=clustered_share((said == CODES[A]).sum(1), decided.sum(1)) if given.pairwise else NOTHING,
            tie_share=_share_of(said, TIE) if given.pairwise else math.nan,
            pass_share=math.nan if given.pairwise else _share_of(said[:, -1:], PASS),
            median_s=float(np.median(seconds)) if len(seconds) else math.nan,
            failed=(),
        )
        found.append(replace(judge, failed=failed_checks(judge, settings)))
    return found


def left_out(found: Iterable[Judge]) -> tuple[str, ...]:
    """Names of the judges who failed a check."""
    return tuple(judge.name for judge in found if judge.failed)


def failed_checks(judge: Judge, settings: CheckSettings) -> tuple[str, ...]:
    """Why a judge is left out, a sentence for each failed check."""
    checks = (
        (judge.gold, settings.least_gold, "known answers right"),
        (judge.repeats, settings.least_repeat, "repeats answered alike"),
        (judge.identical, settings.least_identical, "identical pairs called a tie"),
        (judge.agreement, settings.least_agreement, "agreement with other judges beyond chance (kappa)"),
    )
    reasons = [
        f"{words}: {check.found.value:.2f} on {check.items} items, at most {check.at_most:.2f} as far as chance goes; "
        f"at least {least:.2f} wanted"
        for check, least, words in checks
        if check.items >= settings.fewest_checks and check.at_most < least
    ]
    if judge.items >= settings.fewest_checks and judge.median_s < settings.least_seconds:
        reasons.append(f"median of {judge.median_s:.1f} s per item; at least {settings.least_seconds:g} s wanted")
    return tuple(reasons)


def alphas(votes: PairVotes | PassVotes, seed: int = 0) -> list[Agreement]:
    """Krippendorff's alpha of each axis over videos that several judges saw: ordinal for A, tie, B."""
    if isinstance(votes, PairVotes):
        turned = votes.first_N > votes.second_N
        low, high = np.minimum(votes.first_N, votes.second_N), np.maximum(votes.first_N, votes.second_N)
        unit = (votes.prompt_N.astype(np.int64) * len(votes.systems) + low) * len(votes.systems) + high
        codes, labels = _turned(votes.answer_NA, turned), (A, TIE, B)
    else:
        unit = votes.prompt_N.astype(np.int64) * len(votes.systems) + votes.system_N
        codes, labels = votes.passed_NA, (FAIL, PASS)
    return [
        agreement(axis, _answered(unit, votes.judge_N, codes[:, place], labels), seed)
        for place, axis in enumerate(votes.axes)
    ]


def side_bias(votes: PairVotes) -> Interval:
    """Share of A among the answers that chose a side, all axes together; half where nobody leans."""
    first = (votes.answer_NA == CODES[A]).sum(1, keepdims=True)
    decided = first + (votes.answer_NA == CODES[B]).sum(1, keepdims=True)
    if not decided.sum():
        return NOTHING
    (value,), spreads = Crossed(votes.prompt_N, votes.judge_N).ratios(first, decided)
    return spreads.one(0).share(float(value), len(np.unique(votes.prompt_N)))


def _answered(unit: np.ndarray, judge: np.ndarray, codes: np.ndarray, labels: tuple[str, ...]) -> Answered:
    """Answers on one axis to units that two judges or more have answered; a judge's second word on one is left out."""
    given = np.flatnonzero(codes != MISSING)
    given = given[np.lexsort((judge[given], unit[given]))]
    again = (np.diff(unit[given], prepend=-1) == 0) & (np.diff(judge[given], prepend=-1) == 0)
    given = given[~again]
    _, of_answer, times = np.unique(unit[given], return_inverse=True, return_counts=True)
    given = given[times[of_answer] > 1]
    values = codes[given].astype(np.int64)
    return Answered(unit[given], judge[given].astype(np.int64), values, labels, ordinal=len(labels) > 2)


def _turned(codes_NA: np.ndarray, turned_N: np.ndarray) -> np.ndarray:
    """Answers with A and B exchanged where asked."""
    return np.where(turned_N[:, None] & (codes_NA != MISSING), CODES[B] - codes_NA, codes_NA).astype(np.int8)


def _share_of(codes: np.ndarray, answer: str) -> float:
    known = codes[codes != MISSING]
    return float((known == CODES[answer]).mean()) if len(known) else math.nan


def _right(given: Given) -> _Checked:
    """Against the known answers."""
    expected = given.expected()[given.item_M]
    checked = (expected != MISSING) & (given.answer_MA != MISSING)
    return _Checked((checked & (expected == given.answer_MA)).sum(1), checked.sum(1))


def _alike(given: Given) -> _Checked:
    """Repeats against what the same judge said the first time."""
    keys = {key: place for place, key in enumerate(given.items["item_key"].to_pylist())}
    original = np.array([keys.get(key, MISSING) for key in given.items["repeats"].to_pylist()], np.int64)
    side_a = given.items["media_a"].to_numpy()
    number = len(given.judges)
    asked = np.flatnonzero(given.kind(ItemKind.REPEAT))
    wanted = original[given.item_M[asked]] * number + given.judge_M[asked]
    told = given.item_M * number + given.judge_M  # ascending
    place = np.minimum(np.searchsorted(told, wanted), max(len(told) - 1, 0))
    answered = (told[place] == wanted) if len(told) else np.zeros(0, bool)
    asked, first = asked[answered], place[answered]
    exchanged = side_a[given.item_M[asked]] != side_a[given.item_M[first]]
    again, before = _turned(given.answer_MA[asked], exchanged), given.answer_MA[first]
    both = (again != MISSING) & (before != MISSING)
    right, tries = np.zeros(len(told)), np.zeros(len(told))
    right[asked], tries[asked] = (both & (again == before)).sum(1), both.sum(1)
    return _Checked(right, tries)


class _Shared:
    """Ordinary answers beside those of other judges to the same videos."""

    def __init__(self, given: Given) -> None:
        chosen = np.flatnonzero(given.kind(*COUNTED))
        item, self.judge = given.item_M[chosen], given.judge_M[chosen]
        unit_I, turned_I = _units(given)
        self.codes = _turned(given.answer_MA[chosen], turned_I[item])
        said = self.codes != MISSING
        place = unit_I[item, None] * len(given.axes) + np.arange(len(given.axes))
        size = (int(unit_I.max(initial=-1)) + 1) * len(given.axes)
        counts = np.bincount((place * NUM_VALUES + self.codes)[said], minlength=size * NUM_VALUES)
        counts = counts.reshape(size, NUM_VALUES)
        others = np.maximum(counts.sum(1)[place] - 1, 0)
        self.known = said & (others > 0)
        self.same = np.where(self.known, counts[place, self.codes] - 1, 0) / np.maximum(others, 1)
        self.habits_AV = self._habits(np.ones(len(chosen), bool))

    def kappa(self, judge: int) -> tuple[Check, list[float]]:
        """Kappa of one judge with the others: over all axes, and on each."""
        own = self.judge == judge
        habits_AV = (self.habits_AV - self._habits(own)).astype(np.float64)
        habits_AV /= np.maximum(habits_AV.sum(1, keepdims=True), 1)
        known, codes = self.known[own], self.codes[own]
        expected = np.where(known, habits_AV[np.arange(len(habits_AV)), codes], 0.0)
        beyond, room = np.where(known, self.same[own] - expected, 0.0), np.where(known, 1 - expected, 0.0)
        by_axis = [_ratio(above, below) for above, below in zip(beyond.sum(0), room.sum(0), strict=True)]
        items, value = int(known.any(1).sum()), _ratio(beyond.sum(), room.sum())
        if items < 2 or math.isnan(value):
            return Check(Interval(value, math.nan, math.nan), math.nan, items), by_axis
        left = beyond.sum(1) - value * room.sum(1)
        variance = items / (items - 1) * float((left**2).sum()) / float(room.sum()) ** 2
        spread = Spread(variance, math.nan, variance, items - 1)
        return Check(spread.around(value), spread.around(value, ONE_SIDED).high, items), by_axis

    def _habits(self, rows: np.ndarray) -> np.ndarray:
        """How often each answer was given on each axis, int [A, V]."""
        return np.stack([(self.codes[rows] == value).sum(0) for value in range(NUM_VALUES)], 1)


def _units(given: Given) -> tuple[np.ndarray, np.ndarray]:
    """Which videos each item shows, as a number, and whether they stand the other way round: int64 [I], bool [I]."""
    first, second = (given.items[name].to_numpy() for name in ("media_a", "media_b"))
    turned = (first > second) & given.pairwise
    names = np.where(turned, second, first) + "/" + np.where(turned, first, second)
    _, unit = np.unique(names.astype(str), return_inverse=True)
    return unit.astype(np.int64), turned.astype(bool)


def _ratio(above: float, below: float) -> float:
    return float(above / below) if below > 0 else math.nan
