"""How strong each system is, from who beat whom and how often nobody did: Bradley-Terry with ties.

    PairVotes --count per pair and outcome--> counts [1 + B, P, 3] --Newton, all resamples at once--> strengths, ranks

The model is Rao and Kupper's (1967). With strengths s > 0 and a threshold t >= 1 of what a judge can tell apart,

    P(i wins) = s_i / (s_i + t s_j)     P(j wins) = s_j / (s_j + t s_i)     P(tie) = (t^2 - 1) s_i s_j / (both divisors)

In d = log s_i - log s_j and h = log t this is an ordered logit with cuts at -h and h, so its likelihood is concave and
has one maximum. It uses answers about other pairs: who beat a strong one is strong. Where a pair was not asked, or a
system never lost (no finite strength would do), PRIOR answers of each kind on every pair of systems decide: far too few
to be seen where there are answers (0.0005 of a log strength at 150 a pair), enough for a finite maximum.

Resamples are of prompts and judges (annotation/study/intervals.py). A rank's interval is where it lies in 95% of them.
22,995 answers about six systems with 1,000 resamples take 0.04 s of CPU, the fit half of it.

Legend: B resamples (the study itself first), P pairs of systems, C systems, D unknowns: C - 1 strengths and h.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from annotation.study.axes import OVERALL
from annotation.study.intervals import Crossed, Interval
from annotation.study.ranking import rank_range, ranks
from annotation.study.votes import PairVotes

PRIOR = 0.05  # answers of each kind on every pair
MOST_STEPS, CLOSE = 100, 1e-9  # of Newton; the gradient per answer at which it ends
ELO_PER_LOG = 400 / math.log(10)  # so that 400 points are odds of 10 to 1
ELO_MEAN = 1000.0


@dataclass(frozen=True)
class Fitted:
    """Maximum of the likelihood. Log strengths sum to 0."""

    log_strength_BC: np.ndarray
    log_threshold_B: np.ndarray


@dataclass(frozen=True)
class Strength:
    """One system's place. Rank 1 is the strongest."""

    system: str
    log_strength: Interval
    elo: Interval  # the same on chess's scale, mean of the systems 1000
    rank: int
    best_rank: int
    worst_rank: int


@dataclass(frozen=True)
class Strengths:
    """All systems of a study on one axis, and how they vary over prompts and judges."""

    systems: tuple[str, ...]
    axis: str
    fitted: Fitted  # resample 0 is the study itself
    confidence: float

    @cached_property
    def ranking(self) -> list[Strength]:
        """Strongest first."""
        drawn_BC = self.fitted.log_strength_BC
        rank_C = ranks(drawn_BC[:1])[0]
        best_C, worst_C = rank_range(drawn_BC[1:], self.confidence)
        places = []
        for number, system in enumerate(self.systems):
            found = self._interval(drawn_BC[:, number])
            elo = Interval(*(ELO_MEAN + ELO_PER_LOG * each for each in (found.value, found.low, found.high)))
            rank, best, worst = (int(each[number]) for each in (rank_C, best_C, worst_C))
            places.append(Strength(system, found, elo, rank, best, worst))
        return sorted(places, key=lambda place: place.rank)

    @property
    def threshold(self) -> Interval:
        """Rao and Kupper's t: 1 where nobody ever calls a tie."""
        found = self._interval(self.fitted.log_threshold_B)
        return Interval(math.exp(found.value), math.exp(found.low), math.exp(found.high))

    def differences(self, first: int, second: int) -> np.ndarray:
        """Log strength of one less that of another, by number, float64 [1 + B]."""
        return self.fitted.log_strength_BC[:, first] - self.fitted.log_strength_BC[:, second]

    def net_wins(self, first: int, second: int) -> np.ndarray:
        """Net win rate (win - loss) that the model expects of one against another, float64 [1 + B]."""
        win, _, loss = chances(self.differences(first, second), self.fitted.log_threshold_B)
        return win - loss

    def _interval(self, values_B: np.ndarray) -> Interval:
        return Interval(float(values_B[0]), *self._range(values_B[1:]))

    def _range(self, values_B: np.ndarray) -> tuple[float, float]:
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(values_B, [tail, 1 - tail], method="inverted_cdf")
        return float(low), float(high)


def strengths(
    votes: PairVotes, axis: str = OVERALL, num_bootstraps: int = 1000, seed: int = 0, confidence: float = 0.95
) -> Strengths:
    """Strengths of all systems on one axis, with resamples of prompts and judges; NaN of fewer than two prompts."""
    answer_N = votes.answer_NA[:, votes.axes.index(axis)]
    votes, answer_N = votes.chosen(answer_N >= 0), answer_N[answer_N >= 0]
    pair_P2 = all_pairs(len(votes.systems))
    pair_N, outcome_N = paired_outcomes(votes, answer_N)
    counts = Crossed(votes.prompt_N, votes.judge_N).resampled_counts(
        pair_N * 3 + outcome_N, len(pair_P2) * 3, num_bootstraps, seed
    )
    known = counts[~np.isnan(counts).any(1)]
    fitted = fit(known.reshape(len(known), len(pair_P2), 3), pair_P2, len(votes.systems))
    if len(known) < len(counts):
        unknown = np.full((len(counts) - 1, len(votes.systems)), np.nan)
        fitted = Fitted(
            np.concatenate([fitted.log_strength_BC[:1], unknown]),
            np.concatenate([fitted.log_threshold_B[:1], unknown[:, 0]]),
        )
    return Strengths(votes.systems, axis, fitted, confidence)


def all_pairs(num_systems: int) -> np.ndarray:
    """Numbers of the first and the second system of each pair, first < second, int64 [P, 2]."""
    return np.stack(np.triu_indices(num_systems, 1), axis=1)


def paired_outcomes(votes: PairVotes, answer_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row in `all_pairs` of each answer, and 0 where the pair's first system won, 1 for a tie, 2 for its second."""
    low, high = np.minimum(votes.first_N, votes.second_N), np.maximum(votes.first_N, votes.second_N)
    row_CC = np.zeros((len(votes.systems),) * 2, dtype=np.int64)
    first, second = all_pairs(len(votes.systems)).T
    row_CC[first, second] = np.arange(len(first))
    return row_CC[low, high], np.where(votes.first_N < votes.second_N, answer_N, 2 - answer_N).astype(np.int64)


def chances(difference: np.ndarray, log_threshold: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities that the first wins, of a tie, and that the second wins."""
    win, loss = _sigmoid(difference - log_threshold), _sigmoid(-difference - log_threshold)
    return win, 1 - win - loss, loss


def fit(counts_BP3: np.ndarray, pair_P2: np.ndarray, num_systems: int) -> Fitted:
    """Most likely strengths of each resample, by Newton's method with halved steps.

    Args:
        counts_BP3: answers for the pair's first system, ties, answers for its second; not below 0.
        pair_P2: numbers of the two systems.

    Raises:
        FloatingPointError: no maximum after MOST_STEPS (the likelihood is concave, so this is a fault of ours).
    """
    counts = counts_BP3 + PRIOR
    sides_PC = np.zeros((len(pair_P2), num_systems))
    sides_PC[np.arange(len(pair_P2)), pair_P2[:, 0]] = 1
    sides_PC[np.arange(len(pair_P2)), pair_P2[:, 1]] = -1
    likelihood = _Likelihood(counts, sides_PC[:, 1:])
    unknown_BD = np.zeros((len(counts), num_systems))
    unknown_BD[:, -1] = 0.5
    total_B1 = counts.sum((1, 2))[:, None]
    for _ in range(MOST_STEPS):
        gradient_BD, curvature_BDD = likelihood.slopes(unknown_BD)
        if (np.abs(gradient_BD) < CLOSE * total_B1).all():
            break
        step_BD = np.linalg.solve(curvature_BDD, gradient_BD[..., None])[..., 0]
        unknown_BD = likelihood.uphill(unknown_BD, step_BD)
    else:
        raise FloatingPointError(f"strengths of {num_systems} systems were not found in {MOST_STEPS} steps")
    log_strength_BC = np.concatenate([np.zeros((len(counts), 1)), unknown_BD[:, :-1]], axis=1)
    return Fitted(log_strength_BC - log_strength_BC.mean(1, keepdims=True), unknown_BD[:, -1])


class _Likelihood:
    """log L = sum over pairs of a log S(d - h) + b log S(-d - h) + T log(e^2h - 1), S the logistic function.

    a and b are wins of the first and of the second with the ties added to both, T is all ties.
    """

    def __init__(self, counts_BP3: np.ndarray, sides_PU: np.ndarray) -> None:
        self.first_BP = counts_BP3[..., 0] + counts_BP3[..., 1]
        self.second_BP = counts_BP3[..., 2] + counts_BP3[..., 1]
        self.ties_B = counts_BP3[..., 1].sum(1)
        self.sides_PU = sides_PU

    def value(self, unknown_BD: np.ndarray) -> np.ndarray:
        """log L, [B]; minus infinity where h is not above 0."""
        difference, log_threshold = self._parts(unknown_BD)
        each = self.first_BP * _log_sigmoid(difference - log_threshold)
        each += self.second_BP * _log_sigmoid(-difference - log_threshold)
        inside = unknown_BD[:, -1] > 0
        ties_B = self.ties_B * np.log(np.expm1(2 * np.where(inside, unknown_BD[:, -1], 1.0)))
        return np.where(inside, each.sum(1) + ties_B, -np.inf)

    def slopes(self, unknown_BD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradient [B, D] and the negative of the second derivatives [B, D, D], positive definite."""
        difference, log_threshold = self._parts(unknown_BD)
        first, second = _sigmoid(log_threshold - difference), _sigmoid(log_threshold + difference)
        up, down = self.first_BP * first, self.second_BP * second
        bend_up, bend_down = up * (1 - first), down * (1 - second)
        grown = np.expm1(2 * unknown_BD[:, -1])
        of_threshold = -(up + down).sum(1) + 2 * self.ties_B * (1 + 1 / grown)
        gradient = np.concatenate([(up - down) @ self.sides_PU, of_threshold[:, None]], axis=1)
        size = unknown_BD.shape[1]
        curvature = np.empty((len(unknown_BD), size, size))
        curvature[:, :-1, :-1] = np.einsum("bp,pu,pv->buv", bend_up + bend_down, self.sides_PU, self.sides_PU)
        curvature[:, :-1, -1] = curvature[:, -1, :-1] = (bend_down - bend_up) @ self.sides_PU
        curvature[:, -1, -1] = (bend_up + bend_down).sum(1) + 4 * self.ties_B * (1 + 1 / grown) / grown
        return gradient, curvature

    def uphill(self, unknown_BD: np.ndarray, step_BD: np.ndarray) -> np.ndarray:
        """The step taken, halved for those resamples that it would not bring further up."""
        size_B, here = np.ones(len(unknown_BD)), self.value(unknown_BD)
        slack = 1e-12 * np.abs(here)
        for _ in range(60):
            there = unknown_BD + size_B[:, None] * step_BD
            too_far = ~(self.value(there) >= here - slack)
            if not too_far.any():
                break
            size_B = np.where(too_far, size_B / 2, size_B)
        return there

    def _parts(self, unknown_BD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return unknown_BD[:, :-1] @ self.sides_PU.T, unknown_BD[:, -1:]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(x / 2))


def _log_sigmoid(x: np.ndarray) -> np.ndarray:
    return -np.logaddexp(0, -x)
