"""Bounds on scores that keep what people keep: a conjunction of one-sided rules, found by coordinate search.

    values [N, R], one column per bound, "passes from here on" --> search --> bounds [R] that reach a precision

Every bound is brought to one form: pass where the value is at least the bound (a largest value is negated by the
caller), and -inf lets everything through. For a price of a bad clip the search looks at one bound after the other and
puts it where the good clips less the price of the bad ones are most, given the other bounds, until nothing moves;
prices rise step by step, each starting from the last one's bounds and from the hand-set ones. Of all that was found,
that with the highest recall at the wanted precision is taken: rising prices trace the convex hull of what conjunctions
can do, and a last pass loosens single bounds as far as the precision allows. N log N for each bound and pass.

Candidates are the quantiles of the column, so few answers are not followed to the last digit.
"""

from collections.abc import Sequence

import numpy as np

NUM_CANDIDATES = 40
PRICES = tuple(float(price) for price in np.geomspace(0.05, 50, 16))
MAX_PASSES = 12
FEWEST_PROPOSED = 10


def passes(values_NR: np.ndarray, bounds_R: np.ndarray) -> np.ndarray:
    """Which clips pass all bounds, bool [N]; a missing value passes only where there is no bound."""
    return np.all((values_NR >= bounds_R) | np.isneginf(bounds_R), axis=1)


def search(
    values_NR: np.ndarray, kept: np.ndarray, precision: float, hand_set_R: np.ndarray, free: Sequence[bool]
) -> np.ndarray:
    """Bounds, float64 [R], with the highest recall among those that reach the precision; else the highest precision.

    Args:
        values_NR: NaN where unknown.
        hand_set_R: where the search also starts from, and what bounds that are not free stay at.
    """
    columns = [column for column, is_free in enumerate(free) if is_free]
    candidates = {column: _candidates(values_NR[:, column]) for column in columns}
    loose = np.where(free, -np.inf, hand_set_R)
    found = [hand_set_R.copy(), loose]
    for start in (loose, hand_set_R):
        bounds = start.copy()
        for price in PRICES:
            bounds = _settle(values_NR, kept, bounds, candidates, price)
            found.append(bounds.copy())
    return _loosen(values_NR, kept, precision, _best(values_NR, kept, precision, found), candidates)


def _settle(
    values_NR: np.ndarray, kept: np.ndarray, bounds_R: np.ndarray, candidates: dict[int, np.ndarray], price: float
) -> np.ndarray:
    """Coordinate ascent of good clips less the price of bad ones."""
    bounds, worth = bounds_R.copy(), np.where(kept, 1.0, -price)
    for _ in range(MAX_PASSES):
        before = bounds.copy()
        for column, places in candidates.items():
            here = _passes_others(values_NR, bounds, column)
            total = _from_each(values_NR[here, column], worth[here], places)
            bounds[column] = places[int(np.argmax(total))]  # of equals the loosest
        if np.array_equal(before, bounds):
            break
    return bounds


def _loosen(
    values_NR: np.ndarray, kept: np.ndarray, precision: float, bounds_R: np.ndarray, candidates: dict[int, np.ndarray]
) -> np.ndarray:
    """Each bound in turn as loose as the precision allows."""
    if _rank(values_NR, kept, precision, bounds_R)[0] < 1:
        return bounds_R
    bounds = bounds_R.copy()
    for column, places in candidates.items():
        here = _passes_others(values_NR, bounds, column)
        good = _from_each(values_NR[here, column], kept[here].astype(float), places)
        count = _from_each(values_NR[here, column], np.ones(int(here.sum())), places)
        allowed = (good >= precision * count) & (places <= bounds[column]) & (count > 0)
        if allowed.any():
            bounds[column] = places[int(np.flatnonzero(allowed)[0])]
    return bounds


def _passes_others(values_NR: np.ndarray, bounds_R: np.ndarray, column: int) -> np.ndarray:
    others = bounds_R.copy()
    others[column] = -np.inf
    return passes(values_NR, others)


def _from_each(values: np.ndarray, worth: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Sum of the worth of the clips that pass at each rising place; the first place, -inf, passes the unknown, too."""
    reached = np.where(np.isnan(values), 0, np.searchsorted(places, values, side="right") - 1)
    per_place = np.bincount(reached, worth, len(places))
    return np.cumsum(per_place[::-1])[::-1]


def _candidates(values: np.ndarray) -> np.ndarray:
    known = values[~np.isnan(values)]
    if not len(known):
        return np.array([-np.inf])
    places = np.unique(np.quantile(known, np.linspace(0, 1, NUM_CANDIDATES + 1)[:-1], method="inverted_cdf"))
    return np.concatenate([[-np.inf], places[np.isfinite(places)]])


def _best(values_NR: np.ndarray, kept: np.ndarray, precision: float, found: list[np.ndarray]) -> np.ndarray:
    return max(found, key=lambda bounds: _rank(values_NR, kept, precision, bounds))


def _rank(values_NR: np.ndarray, kept: np.ndarray, precision: float, bounds_R: np.ndarray) -> tuple[int, float, float]:
    """First those that reach the precision, by recall; then the others, by precision; last what proposes too few."""
    proposed = passes(values_NR, bounds_R)
    count, good = int(proposed.sum()), int((proposed & kept).sum())
    if count < min(FEWEST_PROPOSED, max(int(kept.sum()), 1)):
        return (-1, float(count), 0.0)
    share, tightness = good / count, -float(np.isfinite(bounds_R).sum())
    return (1, float(good), tightness) if share >= precision else (0, share, float(good))
