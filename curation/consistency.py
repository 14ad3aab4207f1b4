"""Consistency: how alike a video's frames are to its first and to the one before, in some network's eyes; 1 is equal.

    unit vectors v_1 ... v_n of frames -->  1 / (n - 1) sum over t = 2 ... n of (cos(v_1, v_t) + cos(v_t-1, v_t)) / 2

The formula of VBench's subject consistency (vectors of DINO, which knows things apart) and background consistency
(vectors of CLIP, which knows scenes apart); Huang et al. 2023, arXiv 2311.17982, section 3.1; cosines below 0 count as
0, as in its code. A picture that stands still has 1: say how much moves (`scorers/dynamics.py`) beside it.
"""

import numpy as np

from curation.drawing import captioned, sheet


def to_first_and_previous(vectors: np.ndarray) -> np.ndarray:
    """Mean of a frame's cosine with the first one and with the one before, for all but the first, float64 [n - 1].

    Args:
        vectors: unit vectors of the frames in their order, [n, D].

    Raises:
        ValueError: there is only one.
    """
    if len(vectors) < 2:
        raise ValueError("1 frame cannot be consistent with others")
    given = vectors.astype(np.float64)
    first = np.clip(given[1:] @ given[0], 0, 1)
    previous = np.clip(np.sum(given[1:] * given[:-1], axis=1), 0, 1)
    return (first + previous) / 2


def drawn(pictures: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """The frames, BGR, each with its part of the sum."""
    parts = to_first_and_previous(vectors)
    texts = ["first", *(f"{part:.3f}" for part in parts)]
    return sheet([captioned(picture, text) for picture, text in zip(pictures, texts, strict=True)])
