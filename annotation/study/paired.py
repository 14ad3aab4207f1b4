"""How far each system wins over each other one: net win rates with intervals over prompts and judges.

    PairVotes --wins, ties, losses of each pair--> net win rate (win - loss) / (win + tie + loss), from -1 to 1
              --mean over a system's opponents---> its own net win rate, and its rank

The net win rate is Movie Gen's (arXiv 2410.13720, section 3.5): 0 where neither wins, 0.2 where it wins 60 % and loses
40 %, or wins 20 % and ties the rest. A system's is the mean over its opponents, each counting alike, so a schedule that
asks close pairs more often does not change what it estimates. Intervals are two-way clustered, ranks are of draws from
the covariance of all pairs (annotation/study/intervals.py): both systems of a pair share prompts and judges.

Legend: N answers, P pairs of systems in the order of `all_pairs`, C systems, B draws.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from annotation.study.axes import OVERALL
from annotation.study.intervals import NOTHING, Crossed, Interval, Spread, Spreads
from annotation.study.ranking import rank_range, ranks
from annotation.study.tied_strengths import all_pairs, paired_outcomes
from annotation.study.votes import PairVotes


@dataclass(frozen=True)
class NetWin:
    """One pair on one axis. `net` is of `first`; NaN where nobody was asked."""

    axis: str
    first: str
    second: str
    wins: int
    ties: int
    losses: int
    net: Interval
    spread: Spread  # of `net`; says how much of it more answers would take away

    @property
    def answers(self) -> int:
        return self.wins + self.ties + self.losses

    @property
    def settled(self) -> bool:
        """Whether the interval leaves no doubt which of the two is better."""
        return self.net.excludes_zero


@dataclass(frozen=True)
class Standing:
    """One system against all others on one axis. Rank 1 wins most."""

    axis: str
    system: str
    answers: int
    net: Interval
    rank: int
    best_rank: int
    worst_rank: int


@dataclass(frozen=True)
class Paired:
    """An axis as a whole."""

    axis: str
    pairs: tuple[NetWin, ...]
    standings: tuple[Standing, ...]  # best first

    def net_of(self, first: str, second: str) -> Interval:
        """Net win rate of one system over another, whichever of them the pair names first."""
        for pair in self.pairs:
            if (pair.first, pair.second) == (first, second):
                return pair.net
            if (pair.first, pair.second) == (second, first):
                return Interval(-pair.net.value, -pair.net.high, -pair.net.low)
        raise KeyError(f"{first} and {second} are no pair of this study")


def paired(
    votes: PairVotes, axis: str = OVERALL, confidence: float = 0.95, num_bootstraps: int = 1000, seed: int = 0
) -> Paired:
    """Net win rates of all pairs and systems on one axis."""
    answer_N = votes.answer_NA[:, votes.axes.index(axis)]
    votes, answer_N = votes.chosen(answer_N >= 0), answer_N[answer_N >= 0]
    pair_P2 = all_pairs(len(votes.systems))
    pair_N, outcome_N = paired_outcomes(votes, answer_N)
    counts_P3 = np.bincount(pair_N * 3 + outcome_N, minlength=len(pair_P2) * 3).reshape(-1, 3)
    asked_NP = (pair_N[:, None] == np.arange(len(pair_P2))).astype(np.float64)
    net_P, spreads = Crossed(votes.prompt_N, votes.judge_N).ratios(asked_NP * (1 - outcome_N)[:, None], asked_NP)
    pairs = []
    for number, (first, second) in enumerate(pair_P2.tolist()):
        wins, ties, losses = counts_P3[number].tolist()
        spread, total = spreads.one(number), wins + ties + losses
        net = spread.share(float(net_P[number]), total, confidence, -1.0) if total else NOTHING
        pairs.append(NetWin(axis, votes.systems[first], votes.systems[second], wins, ties, losses, net, spread))
    standings = _standings(votes.systems, axis, counts_P3.sum(1), net_P, spreads, confidence, num_bootstraps, seed)
    return Paired(axis, tuple(pairs), tuple(standings))


def _standings(
    systems: tuple[str, ...],
    axis: str,
    answers_P: np.ndarray,
    net_P: np.ndarray,
    spreads: Spreads,
    confidence: float,
    num_bootstraps: int,
    seed: int,
) -> list[Standing]:
    """Each system's mean over the opponents it was compared with, best first."""
    met_CP = np.zeros((len(systems), len(answers_P)))
    pair_P2 = all_pairs(len(systems))
    met_CP[pair_P2[:, 0], np.arange(len(answers_P))] = answers_P > 0
    met_CP[pair_P2[:, 1], np.arange(len(answers_P))] = -1.0 * (answers_P > 0)
    opponents_C, answers_C = np.abs(met_CP).sum(1), np.abs(met_CP) @ answers_P
    mean_CP = met_CP / np.maximum(opponents_C, 1)[:, None]
    net_C = mean_CP @ np.nan_to_num(net_P)
    rank_C = ranks(net_C[None])[0]
    best_C, worst_C = rank_range(spreads.draws(np.nan_to_num(net_P), num_bootstraps, seed) @ mean_CP.T, confidence)
    standings = []
    for number, system in enumerate(systems):
        net = NOTHING
        if opponents_C[number]:
            net = spreads.of(mean_CP[number]).share(float(net_C[number]), answers_C[number], confidence, -1.0)
        rank, best, worst = (int(each[number]) for each in (rank_C, best_C, worst_C))
        standings.append(Standing(axis, system, int(answers_C[number]), net, rank, best, worst))
    return sorted(standings, key=lambda standing: standing.rank)


def paired_by_axis(
    votes: PairVotes, confidence: float = 0.95, num_bootstraps: int = 1000, seed: int = 0
) -> dict[str, Paired]:
    """The same for every axis of the study."""
    return {axis: paired(votes, axis, confidence, num_bootstraps, seed) for axis in votes.axes}


def paired_by_category(
    votes: PairVotes,
    category: Mapping[str, str],
    axis: str = OVERALL,
    confidence: float = 0.95,
    num_bootstraps: int = 1000,
    seed: int = 0,
) -> dict[str, Paired]:
    """The same for the prompts of each category, in order of their names.

    Args:
        category: of each prompt, by prompt id; a prompt that is not in it is in no category.
    """
    named = np.array([category.get(prompt, "") for prompt in votes.prompts])
    known = np.array([prompt in category for prompt in votes.prompts])
    return {
        name: paired(votes.chosen((known & (named == name))[votes.prompt_N]), axis, confidence, num_bootstraps, seed)
        for name in sorted(set(category.values()))
    }
