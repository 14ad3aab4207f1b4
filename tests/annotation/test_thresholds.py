"""The search finds bounds that are there, holds the precision on new clips, and touches nothing that is fixed."""

import numpy as np
import pytest

from annotation.thresholds import passes, search

LOOSE = -np.inf


def box(num_clips: int, seed: int, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Clips are kept where the first score is at least 0.3 and the second at least -0.5; the third says nothing."""
    generator = np.random.default_rng(seed)
    values = generator.standard_normal((num_clips, 3))
    kept = (values[:, 0] >= 0.3) & (values[:, 1] >= -0.5)
    return values, kept ^ (generator.random(num_clips) < noise)


def test_a_planted_box_is_found():
    values, kept = box(2000, 0)
    found = search(values, kept, 0.95, np.array([1.0, 1.0, 1.0]), [True] * 3)
    assert found[:2] == pytest.approx([0.3, -0.5], abs=0.12) and found[2] == LOOSE
    held_out, truth = box(2000, 1)
    proposed = passes(held_out, found)
    assert truth[proposed].mean() > 0.92 and proposed[truth].mean() > 0.95


def test_a_higher_precision_keeps_fewer_of_the_good():
    values, kept = box(2000, 0, noise=0.1)
    recalls, shares = [], []
    for precision in (0.5, 0.7, 0.85):
        proposed = passes(values, search(values, kept, precision, np.full(3, -5.0), [True] * 3))
        recalls.append(proposed[kept].mean())
        shares.append(kept[proposed].mean())
    assert recalls == sorted(recalls, reverse=True) and (np.array(shares) >= (0.5, 0.7, 0.85)).all()


def test_it_is_never_worse_than_the_hand_set_bounds_that_reach_the_precision():
    values, kept = box(500, 2, noise=0.05)
    by_hand = np.array([0.25, -0.55, LOOSE])
    wanted = float(kept[passes(values, by_hand)].mean())
    proposed = passes(values, search(values, kept, wanted, by_hand, [True] * 3))
    assert kept[proposed].mean() >= wanted and proposed[kept].sum() >= passes(values, by_hand)[kept].sum()


def test_fixed_bounds_stay():
    values, kept = box(1000, 0)
    found = search(values, kept, 0.95, np.array([2.0, 0.0, 0.1]), [True, True, False])
    assert found[2] == 0.1 and found[0] == pytest.approx(0.3, abs=0.15)


def test_a_precision_that_nothing_reaches_gets_the_best_there_is():
    """Coins of 0.3: no bounds reach 0.99, and a few lucky clips are no answer."""
    generator = np.random.default_rng(0)
    values, kept = generator.standard_normal((400, 2)), generator.random(400) < 0.3
    proposed = passes(values, search(values, kept, 0.99, np.array([0.0, 0.0]), [True, True]))
    assert proposed.sum() >= 10 and 0.3 < kept[proposed].mean() < 0.99


def test_a_missing_value_passes_only_where_there_is_no_bound():
    values = np.array([[np.nan, 1.0], [1.0, 1.0], [0.0, 1.0]])
    assert passes(values, np.array([0.5, LOOSE])).tolist() == [False, True, False]
    assert passes(values, np.array([LOOSE, LOOSE])).all()


def test_a_column_that_is_never_there_is_left_without_a_bound():
    values, kept = box(500, 0)
    values[:, 2] = np.nan
    assert search(values, kept, 0.9, np.array([0.0, 0.0, 1.0]), [True] * 3)[2] == LOOSE
