"""Divides clips of very different cost over processes that wait for each other at every micro-batch.

    clips --largest cost first--> bins (ranks x micro-batches), each under a limit of tokens
          --sorted--> R bins of like cost = one micro-batch of the step
          --moves and swaps between bins--> less waiting

Sharded weights are gathered block by block, so in micro-batch j every rank waits for the slowest, and a step lasts

    duration = sum over j of max over r of cost(r, j)        waste = 1 - sum of all costs / (R duration)

Bins therefore need not cost the same: those of one micro-batch must. Long videos meet long videos in one, images meet
images in another. Greedy: largest processing time first (Graham 1969); then the fullest bin of a micro-batch gives a
clip to, or exchanges one with, a bin that stays within its own micro-batch's duration. More micro-batches balance
better and use a device worse, so one is added only where it saves more than TOLERANCE.

Clips of equal tokens and cost are one kind, so that the search is over kinds: 4,096 clips on 64 ranks take about half a
second of one core, 256 on 8 a few hundredths. Everything is ordered; the same input gives the same division.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TOLERANCE = 0.01  # of the duration; a further micro-batch that saves less is not worth it, nor is more search
EXTRA_MICRO_BATCHES = 2
PLENTY = 1 << 40

Groups = list[list[list[int]]]
"""Indices of clips by micro-batch, rank and place; empty lists where there are too few clips."""


@dataclass
class _Bins:
    """What every bin holds: `counts` of each kind [bins, kinds], and the sums that follow, [bins].

    The last kind is nothing at all, of which every bin has PLENTY: to exchange for it is to move.
    """

    counts: np.ndarray
    tokens: np.ndarray
    costs: np.ndarray

    @property
    def num_clips(self) -> np.ndarray:
        return self.counts[:, :-1].sum(axis=1)

    def sort(self) -> None:
        """By falling cost; equal costs keep their order."""
        order = np.argsort(-self.costs, kind="stable")
        self.counts, self.tokens, self.costs = self.counts[order], self.tokens[order], self.costs[order]


@dataclass(frozen=True)
class _Kinds:
    """Clips by their tokens and cost, the costliest kind first; the last kind is nothing, and has no members."""

    tokens: np.ndarray
    costs: np.ndarray
    members: list[list[int]]
    limit: int

    def fits(self, tokens: np.ndarray, num_clips: np.ndarray) -> np.ndarray:
        """A bin is legal under the limit, or with one clip alone, however large."""
        return (tokens <= self.limit) | (num_clips <= 1)


def divide(tokens: Sequence[int], costs: Sequence[float], num_ranks: int, limit_tokens: int) -> Groups:
    """Divide clips over `num_ranks`, with the same number of micro-batches for each.

    Args:
        tokens, costs: of every clip, positive.
        limit_tokens: of one micro-batch on one rank; a clip above it is alone. 0 = one micro-batch without a limit.

    Returns: every index once. A rank's list is empty only where clips are fewer than bins are needed for.
    """
    kinds = _kinds_of(tokens, costs, limit_tokens or sum(tokens))
    fewest = max(1, -(-sum(tokens) // (num_ranks * kinds.limit)))
    best, best_duration = None, float("inf")
    most = fewest
    number = fewest
    while number <= most:
        bins = _greedy(kinds, num_ranks * number)
        number += 1
        if bins is None:
            most = max(most, number)
            continue
        if best is None and limit_tokens:
            most = min(number - 1 + EXTRA_MICRO_BATCHES, max(number - 1, len(tokens) // num_ranks))
        _improve(kinds, bins, num_ranks)
        duration = _tops(bins, num_ranks).sum()
        if duration < best_duration * (1 - TOLERANCE):
            best, best_duration = bins, duration
        if sum(costs) >= num_ranks * best_duration * (1 - TOLERANCE):
            break
    assert best is not None
    return _as_groups(kinds, best, num_ranks)


def _kinds_of(tokens: Sequence[int], costs: Sequence[float], limit: int) -> _Kinds:
    members: dict[tuple[float, int], list[int]] = {}
    for index, (size, cost) in enumerate(zip(tokens, costs, strict=True)):
        members.setdefault((float(cost), int(size)), []).append(index)
    ordered = sorted(members, reverse=True)
    sizes = np.array([size for _, size in ordered] + [0], dtype=np.int64)
    return _Kinds(sizes, np.array([cost for cost, _ in ordered] + [0.0]), [members[key] for key in ordered], limit)


def _greedy(kinds: _Kinds, num_bins: int) -> _Bins | None:
    """The costliest clip first, each into the cheapest bin that takes it; None where one fits nowhere."""
    shape = (num_bins, len(kinds.costs))
    bins = _Bins(np.zeros(shape, np.int64), np.zeros(num_bins, np.int64), np.zeros(num_bins))
    bins.counts[:, -1] = PLENTY
    held = np.zeros(num_bins, np.int64)
    for kind, clips in enumerate(kinds.members):
        for _ in clips:
            legal = kinds.fits(bins.tokens + kinds.tokens[kind], held + 1)
            place = int(np.argmin(np.where(legal, bins.costs, np.inf)))
            if not legal[place]:
                return None
            bins.counts[place, kind] += 1
            bins.tokens[place] += kinds.tokens[kind]
            bins.costs[place] += kinds.costs[kind]
            held[place] += 1
    bins.sort()
    return bins


def _tops(bins: _Bins, num_ranks: int) -> np.ndarray:
    """The duration of every micro-batch: its costliest bin."""
    return bins.costs.reshape(-1, num_ranks).max(axis=1)


def _improve(kinds: _Kinds, bins: _Bins, num_ranks: int) -> None:
    """Moves and exchanges until none shortens the step, then sorted anew, until that brings nothing either."""
    duration = np.inf
    for _ in range(8):
        bins.sort()
        tops = _tops(bins, num_ranks)
        if tops.sum() >= duration * (1 - TOLERANCE / 10) or bins.costs.sum() >= tops.sum() * num_ranks * (1 - 1e-3):
            return
        duration = tops.sum()
        for _ in range(4 * len(bins.costs)):
            if not any(_relieve(kinds, bins, num_ranks, group) for group in np.argsort(-_spread(bins, num_ranks))):
                break
    bins.sort()


def _spread(bins: _Bins, num_ranks: int) -> np.ndarray:
    """What the ranks wait in every micro-batch."""
    table = bins.costs.reshape(-1, num_ranks)
    return num_ranks * table.max(axis=1) - table.sum(axis=1)


def _relieve(kinds: _Kinds, bins: _Bins, num_ranks: int, group: int) -> bool:
    """One move or exchange that takes cost off the costliest bin of a micro-batch and lengthens no other.

    Either the duration falls; or work goes to a costlier micro-batch; or two bins of one come closer: so it ends.
    """
    start = group * num_ranks
    table = bins.costs[start : start + num_ranks]
    giver = start + int(table.argmax())
    top = bins.costs[giver]
    second = np.partition(table, -2)[-2] if num_ranks > 1 else 0.0
    bounds = np.repeat(_tops(bins, num_ranks), num_ranks)
    bounds[start : start + num_ranks] = np.nextafter(top, 0)
    if top <= second:  # others are as costly and no duration falls yet: only towards costlier micro-batches
        bounds[start + num_ranks :] = -np.inf
    bounds[giver] = -np.inf
    given, taken = _exchanges(kinds, bins, giver)
    less, fewer = kinds.costs[given] - kinds.costs[taken], kinds.tokens[given] - kinds.tokens[taken]
    after = bins.costs + less[:, None]
    moves = taken == len(kinds.members)
    legal = (after <= bounds) & (bins.counts.T[taken] > 0)
    legal &= kinds.fits(bins.tokens + fewer[:, None], bins.num_clips + moves[:, None])
    if not legal.any():
        return False
    gain = np.minimum(less, top - second) + 1e-6 * less
    chosen = int(np.where(legal.any(axis=1), gain, -1).argmax())
    taker = int(np.argmin(np.where(legal[chosen], bounds - after[chosen], np.inf)))
    for place, sign in ((giver, -1), (taker, 1)):
        bins.counts[place, given[chosen]] += sign
        bins.counts[place, taken[chosen]] -= sign
        bins.costs[place] += sign * less[chosen]
        bins.tokens[place] += sign * fewer[chosen]
    return True


def _exchanges(kinds: _Kinds, bins: _Bins, giver: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of kinds that would relieve a bin: what it gives, and what cheaper kind it takes for it."""
    num_kinds = len(kinds.costs)
    held = bins.num_clips[giver]
    given, taken = np.meshgrid(np.flatnonzero(bins.counts[giver, :-1]), np.arange(num_kinds), indexing="ij")
    given, taken = given.ravel(), taken.ravel()
    left = held - (taken == num_kinds - 1)
    tokens = bins.tokens[giver] - kinds.tokens[given] + kinds.tokens[taken]
    useful = (kinds.costs[given] > kinds.costs[taken]) & kinds.fits(tokens, left) & (left > 0)
    return given[useful], taken[useful]


def _as_groups(kinds: _Kinds, bins: _Bins, num_ranks: int) -> Groups:
    """Kinds back to clips; within a micro-batch the costliest bin goes to the rank that has least so far."""
    left = [iter(members) for members in kinds.members]
    totals = np.zeros(num_ranks)
    groups: Groups = []
    for start in range(0, len(bins.costs), num_ranks):
        parts: list[list[int]] = [[] for _ in range(num_ranks)]
        for place, rank in zip(range(start, start + num_ranks), np.argsort(totals, kind="stable"), strict=True):
            parts[rank] = sorted(next(left[kind]) for kind in np.repeat(np.arange(len(left)), bins.counts[place, :-1]))
            totals[rank] += bins.costs[place]
        if any(parts):
            groups.append(parts)
    return groups
