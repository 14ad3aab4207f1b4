"""Ranks of systems and how sure they are: where each lies in most of the draws of all figures together.

Legend: B draws, C systems.
"""

import numpy as np


def ranks(values_BC: np.ndarray) -> np.ndarray:
    """1 for the highest of each row, int64 [B, C]; of equal ones the first system comes first."""
    return np.argsort(np.argsort(-values_BC, axis=1, kind="stable"), axis=1, kind="stable") + 1


def rank_range(drawn_BC: np.ndarray, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Best and worst rank of each system in that share of the draws, int64 [C] each; any where draws are NaN."""
    systems = drawn_BC.shape[1]
    if np.isnan(drawn_BC).any():
        return np.ones(systems, dtype=np.int64), np.full(systems, systems)
    tail = (1 - confidence) / 2
    best, worst = np.quantile(ranks(drawn_BC), [tail, 1 - tail], axis=0, method="inverted_cdf")
    return best.astype(np.int64), worst.astype(np.int64)
