"""Everything that a study found about systems, in the same nouns for both designs.

    PassVotes --rates, rates_by-----------------------------------+--> Result: standings, contests, slices
    PairVotes --paired_by_axis, strengths, paired_by_category-----+

A Standing says where a system stands, a Contest how two of them compare, a Slice how they do on one kind of prompt, so
the page, the files and the main report are written once. A figure is a pass rate (absolute) or a net win rate
(pairwise: wins less losses, over all comparisons), in shares. Pairwise, systems are ranked by strength, which takes
into account against whom a system won; net win rates say it in a unit that people know.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from annotation.agreement import Agreement
from annotation.study.axes import OVERALL
from annotation.study.intervals import Crossed, Interval
from annotation.study.paired import NetWin, Paired, paired_by_axis, paired_by_category
from annotation.study.planning import Remaining, State, remaining
from annotation.study.rates import RateTable, rates, rates_by
from annotation.study.settings import StudySettings
from annotation.study.tied_strengths import strengths
from annotation.study.votes import MISSING, PairVotes, PassVotes
from curation.study_records import StudyPrompt

MOST_KINDS = 40  # values of a category column; a column with more tells prompts apart, not kinds of prompts


@dataclass(frozen=True)
class Standing:
    """Where one system stands. Ranks count from 1; the truth lies from `best` to `worst`."""

    system: str
    rank: int
    best: int
    worst: int
    axes: Mapping[str, Interval]  # axis -> rate or net win rate
    answers: int
    strength: Interval | None = None  # pairwise: on chess's scale, 1000 the mean


@dataclass(frozen=True)
class Contest:
    """Two systems, the one ahead first."""

    first: str
    second: str
    difference: Interval  # first less second, overall
    remaining: Remaining  # what would settle it if it stays as large as it is
    answers: int
    counts: tuple[int, int, int] | None = None  # pairwise: won, tied, lost by the first
    axes: Mapping[str, Interval] = field(default_factory=dict)

    @property
    def settled(self) -> bool:
        return self.remaining.state is State.SETTLED


@dataclass(frozen=True)
class Slice:
    """The systems on prompts of one kind."""

    column: str
    value: str
    prompts: int
    answers: int
    overall: Mapping[str, Interval]  # system -> rate or net win rate


@dataclass(frozen=True)
class Result:
    """What one set of judges said."""

    standings: tuple[Standing, ...]  # best first
    contests: tuple[Contest, ...]  # by rank of the one ahead
    slices: tuple[Slice, ...]
    answers: int
    judges: int
    over_judges: bool  # intervals speak of judges who were not asked; else of these alone


def result(votes: PairVotes | PassVotes, kinds: Mapping[str, Mapping[str, str]], settings: StudySettings) -> Result:
    """All figures of these votes.

    Args:
        kinds: category column -> prompt id -> value.
    """
    if isinstance(votes, PairVotes):
        standings, contests = _pairwise(votes, settings)
    else:
        standings, contests = _absolute(rates(votes), settings.adaptive.negligible)
    place = {each.system: number for number, each in enumerate(standings)}
    return Result(
        standings=tuple(standings),
        contests=tuple(sorted(contests, key=lambda each: (place[each.first], place[each.second]))),
        slices=tuple(_slices(votes, kinds, settings.seed)),
        answers=len(votes),
        judges=len(np.unique(votes.judge_N)),
        over_judges=Crossed(votes.prompt_N, votes.judge_N).over_judges,
    )


def interval_of(found: Agreement) -> Interval:
    """Alpha with its interval."""
    return Interval(*(math.nan if part is None else part for part in (found.alpha, found.low, found.high)))


def kinds_of(prompts: Sequence[StudyPrompt], wanted: Sequence[str]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Category column -> prompt id -> value, of the wanted columns or of all; and the columns of too many values."""
    kinds: dict[str, dict[str, str]] = {}
    for prompt in prompts:
        for column, value in json.loads(prompt.categories or "{}").items():
            if not wanted or column in wanted:
                kinds.setdefault(column, {})[prompt.prompt_id] = str(value)
    many = [column for column, values in kinds.items() if len(set(values.values())) > MOST_KINDS]
    return {column: values for column, values in kinds.items() if column not in many}, many


def _absolute(table: RateTable, negligible: float) -> tuple[list[Standing], list[Contest]]:
    by_axis = {axis: {rate.system: rate for rate in table.of(axis)} for axis in table.axes}
    standings = [
        Standing(
            rate.system,
            rate.rank,
            rate.best_rank,
            rate.worst_rank,
            {axis: by_axis[axis][rate.system].interval for axis in table.axes if rate.system in by_axis[axis]},
            rate.answers,
        )
        for rate in table.of(OVERALL)
    ]
    axes: dict[frozenset[str], dict[str, Interval]] = {}
    overall = [each for each in table.differences if each.axis == OVERALL]
    ahead = {frozenset((each.first, each.second)): each.first for each in overall}
    for each in table.differences:
        pair = frozenset((each.first, each.second))
        seen = each.interval if ahead.get(pair) == each.first else turned(each.interval)
        axes.setdefault(pair, {})[each.axis] = seen
    contests = [
        Contest(
            each.first,
            each.second,
            each.interval,
            remaining(each.interval, each.spread, each.answers, negligible),
            each.answers,
            axes=axes[frozenset((each.first, each.second))],
        )
        for each in overall
    ]
    return standings, contests


def _pairwise(votes: PairVotes, settings: StudySettings) -> tuple[list[Standing], list[Contest]]:
    number, seed = settings.bootstraps, settings.seed
    by_axis = paired_by_axis(votes, num_bootstraps=number, seed=seed)
    net = {axis: {each.system: each.net for each in found.standings} for axis, found in by_axis.items()}
    answers = {each.system: each.answers for each in by_axis[OVERALL].standings}
    standings = [
        Standing(
            place.system,
            place.rank,
            place.best_rank,
            place.worst_rank,
            {axis: found[place.system] for axis, found in net.items()},
            answers[place.system],
            place.elo,
        )
        for place in strengths(votes, OVERALL, number, seed).ranking
        if answers[place.system]
    ]
    negligible = settings.adaptive.negligible
    return standings, [_contest(pair, by_axis, negligible) for pair in by_axis[OVERALL].pairs if pair.answers]


def _contest(pair: NetWin, by_axis: Mapping[str, Paired], negligible: float) -> Contest:
    ahead = pair.net.value >= 0
    first, second = (pair.first, pair.second) if ahead else (pair.second, pair.first)
    return Contest(
        first,
        second,
        by_axis[OVERALL].net_of(first, second),
        remaining(pair.net, pair.spread, pair.answers, negligible),
        pair.answers,
        (pair.wins, pair.ties, pair.losses) if ahead else (pair.losses, pair.ties, pair.wins),
        {axis: found.net_of(first, second) for axis, found in by_axis.items()},
    )


def _slices(votes: PairVotes | PassVotes, kinds: Mapping[str, Mapping[str, str]], seed: int) -> list[Slice]:
    found = []
    for column, of_prompt in sorted(kinds.items()):
        named = np.array([of_prompt.get(prompt, "") for prompt in votes.prompts])
        for value, overall in _by_kind(votes, of_prompt, seed).items():
            here = (named == value)[votes.prompt_N]
            if here.any():
                prompts = len(np.unique(votes.prompt_N[here]))
                found.append(Slice(column, value, prompts, int(here.sum()), overall))
    return found


def _by_kind(votes: PairVotes | PassVotes, of_prompt: Mapping[str, str], seed: int) -> dict[str, dict[str, Interval]]:
    """Value -> system -> its overall figure on the prompts of that value."""
    if isinstance(votes, PairVotes):
        tables = paired_by_category(votes, of_prompt, seed=seed)
        return {value: {each.system: each.net for each in table.standings} for value, table in tables.items()}
    names = sorted(set(of_prompt.values()))
    numbers = [names.index(of_prompt[prompt]) if prompt in of_prompt else MISSING for prompt in votes.prompts]
    found = rates_by(votes, np.array(numbers), names)
    return {value: {rate.system: rate.interval for rate in table.of(OVERALL)} for value, table in found.items()}


def turned(interval: Interval) -> Interval:
    """Of the second less the first."""
    return Interval(-interval.value, -interval.high, -interval.low)
