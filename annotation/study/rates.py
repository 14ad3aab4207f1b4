"""The paper's table: how often each system's videos pass, which ranks and which differences that settles.

    PassVotes --rates--> RateTable: a Rate per system and axis, a Difference per pair of systems and axis
              --rates_by--> the same per category of prompts

A rate is the share of passes among the answers, 0 to 1. Its interval is over prompts and judges
(annotation/study/intervals.py). A difference is taken over the prompts that both systems have, so a missing video takes
its prompt out of that comparison only, and its interval knows that prompts and judges are shared.

A difference is settled when its own interval excludes 0; `settled_together` holds where it still does when all
differences on the axis are asked for at once (Holm 1979). A rank's interval counts the systems that are settled to be
better and worse (Goldstein and Spiegelhalter 1996; Mogstad, Romano, Shaikh, Wilhelm 2024): ranks of resamples would be
too sure of systems that are near to equal (Xie, Singh, Zhang 2009).

1,533 prompts x 6 systems, one answer each by 60 judges: 0.07 s. Legend: N answers, A axes, S systems, K = S x A.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from annotation.study.intervals import Crossed, Interval, Spread
from annotation.study.votes import MISSING, PassVotes


@dataclass(frozen=True)
class Rate:
    """One system on one axis. Ranks count from 1, the best; equal rates share one."""

    system: str
    axis: str
    interval: Interval
    rank: int
    best_rank: int
    worst_rank: int
    answers: int
    prompts: int


@dataclass(frozen=True)
class Difference:
    """Rate of `first` less that of `second`, over the prompts of both."""

    first: str
    second: str
    axis: str
    interval: Interval
    spread: Spread
    chance: float  # of a difference at least this large if there were none
    settled_together: bool
    prompts: int
    answers: int

    @property
    def settled(self) -> bool:
        return self.interval.excludes_zero


@dataclass(frozen=True)
class RateTable:
    """The paper's table and what it leaves open; systems without an answer are not in it."""

    systems: tuple[str, ...]
    axes: tuple[str, ...]
    rates: tuple[Rate, ...]  # by axis, then best first
    differences: tuple[Difference, ...]  # by axis; of each pair the better first
    over_judges: bool  # else intervals are of these judges alone

    def of(self, axis: str) -> tuple[Rate, ...]:
        """One axis, best first."""
        return tuple(rate for rate in self.rates if rate.axis == axis)


def rates(votes: PassVotes, confidence: float = 0.95) -> RateTable:
    """Every rate and difference of a study."""
    answered = [place for place in range(len(votes.systems)) if (votes.system_N == place).any()]
    differences = _differences(votes, answered, confidence)
    crossed = Crossed(votes.prompt_N, votes.judge_N)
    value_SA, spreads_S = _values(votes, answered, crossed)
    found = []
    for number, axis in enumerate(votes.axes):
        here = [difference for difference in differences if difference.axis == axis]
        for place, system in enumerate(answered):
            own = (votes.system_N == system) & (votes.passed_NA[:, number] != MISSING)
            prompts = len(np.unique(votes.prompt_N[own]))
            value, name = float(value_SA[place, number]), votes.systems[system]
            if not prompts:
                continue
            spread = spreads_S[place][number]
            better = sum(each.settled and each.second == name for each in here)
            worse = sum(each.settled and each.first == name for each in here)
            found.append(
                Rate(
                    name,
                    axis,
                    spread.share(value, prompts, confidence),
                    rank=1 + int((value_SA[:, number] > value).sum()),
                    best_rank=1 + better,
                    worst_rank=int(np.isfinite(value_SA[:, number]).sum()) - worse,
                    answers=int(own.sum()),
                    prompts=prompts,
                )
            )
    order = {axis: place for place, axis in enumerate(votes.axes)}
    found.sort(key=lambda rate: (order[rate.axis], rate.rank, rate.system))
    names = tuple(votes.systems[place] for place in answered)
    return RateTable(names, votes.axes, tuple(found), tuple(differences), crossed.over_judges)


def rates_by(
    votes: PassVotes, category_P: np.ndarray, names: Sequence[str], confidence: float = 0.95
) -> dict[str, RateTable]:
    """Category -> its table, of those with answers.

    Args:
        category_P: each prompt's category as an index into `names`, int [number of prompts]; below 0: none.
    """
    of_answer = category_P[votes.prompt_N]
    present = [place for place in range(len(names)) if (of_answer == place).any()]
    return {names[place]: rates(votes.chosen(of_answer == place), confidence) for place in present}


def _values(votes: PassVotes, systems: Sequence[int], crossed: Crossed) -> tuple[np.ndarray, list[list[Spread]]]:
    """Rates [S, A] of these systems, and their spreads."""
    num_axes = len(votes.axes)
    above_NK, below_NK = _counted(votes, systems)
    value_K, spreads = crossed.ratios(above_NK, below_NK)
    by_system = [[spreads.one(place * num_axes + axis) for axis in range(num_axes)] for place in range(len(systems))]
    return value_K.reshape(len(systems), num_axes), by_system


def _counted(votes: PassVotes, systems: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Whether an answer is a pass, and an answer at all, of each system and axis: bool [N, K], twice."""
    own = votes.system_N[:, None] == np.array(systems, votes.system_N.dtype)
    below = own[:, :, None] & (votes.passed_NA != MISSING)[:, None, :]
    above = below & (votes.passed_NA == 1)[:, None, :]
    figures = len(systems) * len(votes.axes)
    return above.reshape(len(votes), figures), below.reshape(len(votes), figures)


def _differences(votes: PassVotes, systems: Sequence[int], confidence: float) -> list[Difference]:
    """Every pair of systems on every axis, those of an axis together."""
    shown_SP = np.zeros((len(votes.systems), len(votes.prompts)), bool)
    shown_SP[votes.system_N, votes.prompt_N] = True
    pairs = [(one, other) for place, one in enumerate(systems) for other in systems[place + 1 :]]
    by_pair = [
        difference
        for one, other in pairs
        for difference in _compared(votes, one, other, shown_SP[one] & shown_SP[other], confidence)
    ]
    by_axis = [[each for each in by_pair if each.axis == axis] for axis in votes.axes]
    return [each for here in by_axis for each in _settled_together(here, 1 - confidence)]


def _compared(votes: PassVotes, one: int, other: int, common_P: np.ndarray, confidence: float) -> list[Difference]:
    """Two systems on each axis on which both have answers about their common prompts."""
    ours = votes.chosen(np.isin(votes.system_N, (one, other)) & common_P[votes.prompt_N])
    num_axes = len(votes.axes)
    above_NK, below_NK = _counted(ours, (one, other))
    value_K, spreads = Crossed(ours.prompt_N, ours.judge_N).ratios(above_NK, below_NK)
    answered = below_NK.sum(0).reshape(2, num_axes)
    found = []
    for axis in np.flatnonzero(answered.min(0)).tolist():
        sides = np.array([axis, num_axes + axis])
        if value_K[sides[0]] < value_K[sides[1]]:
            sides = sides[::-1]
        better, worse = (votes.systems[(one, other)[side // num_axes]] for side in sides.tolist())
        contrast = np.zeros(2 * num_axes)
        contrast[sides] = 1, -1
        value, spread = float(value_K[sides[0]] - value_K[sides[1]]), spreads.of(contrast)
        interval, chance = spread.around(value, confidence), spread.chance_beyond(value)
        found.append(
            Difference(
                better,
                worse,
                votes.axes[axis],
                interval,
                spread,
                chance,
                settled_together=False,
                prompts=int(common_P.sum()),
                answers=int(answered[:, axis].sum()),
            )
        )
    return found


def _settled_together(differences: list[Difference], level: float) -> list[Difference]:
    """Holm's step-down: the k-th smallest chance of m must lie below level / (m - k + 1), and so those before it."""
    order = sorted(range(len(differences)), key=lambda place: differences[place].chance)
    holds, settled = True, set()
    for passed, place in enumerate(order):
        holds = holds and differences[place].chance <= level / (len(order) - passed)
        if holds:
            settled.add(place)
    return [replace(each, settled_together=place in settled) for place, each in enumerate(differences)]
