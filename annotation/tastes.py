"""People made of numbers: annotators with a known taste on a pool of clips with known quality, without any server.

    Pool: scores [N, 12], vectors [N, 32], films, concepts --Judge's liking [N]--> noise, bias --> keep or reject

`simulated.py` answers tasks on a live server; this answers a question about learning: how many answers does a machine
need? So the truth must be known. A pool is made as footage is: films have a look, concepts have a content, clips differ
within both; twelve scores are skewed, noisy, correlated readings of six hidden qualities, and a vector is the concept
and the qualities in 32 dimensions, so that neither tells everything. What people like is not linear in the scores:
motion has a best amount, a sharp picture counts for more where it is well composed, jitter and overlaid text spoil
what else is good, and some concepts please more than others. Good is what the mean of the annotators likes, without
their noise.

Each annotator has weights of their own around the common ones, a bias (strict or lenient) and noise; one answer in
`slips` is a slip of the hand. Everything is seeded. Legend: N clips, H qualities.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

QUALITIES = ("motion", "detail", "composition", "steadiness", "light", "clutter")
SCORES = (
    "motion", "subject_motion", "codec_motion", "sharpness", "blur", "bits_per_pixel",
    "aesthetic", "technical_quality", "jitter", "exposure", "saturation", "text_overlay",
)  # fmt: skip
NUM_CONCEPTS, CLIPS_PER_FILM, DIMENSIONS = 30, 20, 32
SCORE_NOISE, VECTOR_NOISE = 0.35, 0.25
SHARES = {"film": 0.3, "concept": 0.2, "clip": 0.5}  # of a quality's variance
LOADINGS = np.array(  # scores of qualities: what each of SCORES reads of each of QUALITIES
    [
        [1.0, 0.0, 0.0, -0.2, 0.0, 0.1], [0.8, 0.0, 0.3, 0.0, 0.0, 0.0], [0.7, 0.3, 0.0, -0.4, 0.0, 0.2],
        [-0.1, 1.0, 0.0, 0.1, 0.2, 0.0], [0.3, -0.9, 0.0, -0.2, 0.0, 0.0], [0.4, 0.7, 0.0, 0.0, 0.2, 0.3],
        [0.0, 0.3, 1.0, 0.1, 0.4, -0.2], [-0.1, 0.7, 0.3, 0.3, 0.3, -0.1], [0.3, 0.0, 0.0, -1.0, 0.0, 0.0],
        [0.0, 0.1, 0.1, 0.0, 1.0, 0.0], [0.0, 0.0, 0.3, 0.0, 0.6, 0.1], [0.0, 0.1, -0.1, 0.0, 0.0, 1.0],
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Pool:
    """Clips as the machine sees them, and what it does not see: their qualities."""

    scores: np.ndarray  # float64 [N, 12], in SCORES' order, NaN where a scorer failed
    vectors: np.ndarray  # float64 [N, 32], unit length
    films: np.ndarray  # int64 [N]
    concepts: np.ndarray  # int64 [N]
    qualities: np.ndarray  # float64 [N, H], standard normal

    def __len__(self) -> int:
        return len(self.films)


@dataclass(frozen=True)
class Judge:
    """One annotator: what they look for, how strict and how steady they are."""

    name: str
    weights: np.ndarray  # float64 [6], of the parts of `_parts`
    bias: float  # added to the liking; positive is lenient
    noise: float  # deviation, in units of the liking's own
    slips: float  # share of answers that are the opposite of what was meant


def make_pool(num_clips: int, seed: int) -> Pool:
    """Clips in films of 20 and in 30 concepts."""
    generator = np.random.default_rng(seed)
    films = np.arange(num_clips) // CLIPS_PER_FILM
    favourite = generator.integers(0, NUM_CONCEPTS, films.max() + 1)
    strays = generator.random(num_clips) < 0.4
    concepts = np.where(strays, generator.integers(0, NUM_CONCEPTS, num_clips), favourite[films])
    of_film = generator.standard_normal((films.max() + 1, len(QUALITIES)))[films]
    of_concept = generator.standard_normal((NUM_CONCEPTS, len(QUALITIES)))[concepts]
    own = generator.standard_normal((num_clips, len(QUALITIES)))
    parts = zip(SHARES.values(), (of_film, of_concept, own), strict=True)
    qualities = np.sum([np.sqrt(share) * part for share, part in parts], axis=0)
    read = qualities @ LOADINGS.T / np.linalg.norm(LOADINGS, axis=1)
    read += SCORE_NOISE * generator.standard_normal(read.shape)
    scores = np.where(
        np.arange(len(SCORES)) % 3 == 0,
        np.exp(read),
        np.where(np.arange(len(SCORES)) % 3 == 1, read, 1 / (1 + np.exp(-2 * read))),
    )
    scores[generator.random(scores.shape) < 0.01] = np.nan
    content = generator.standard_normal((NUM_CONCEPTS, DIMENSIONS))[concepts]
    turn = generator.standard_normal((len(QUALITIES), DIMENSIONS)) * 0.5
    vectors = content + qualities @ turn + VECTOR_NOISE * generator.standard_normal((num_clips, DIMENSIONS))
    return Pool(scores, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), films, concepts, qualities)


def make_judges(count: int, seed: int) -> tuple[Judge, ...]:
    """Annotators around one common taste, strict and lenient by turns."""
    generator = np.random.default_rng(seed)
    common = np.array([1.0, 0.7, 0.8, 0.6, 0.4, 0.5])
    return tuple(
        Judge(
            name=f"judge-{number}",
            weights=common * np.exp(0.25 * generator.standard_normal(len(common))),
            bias=0.25 * (-1) ** number * generator.random(),
            noise=0.25 + 0.2 * generator.random(),
            slips=0.02,
        )
        for number in range(count)
    )


def liking(pool: Pool, judge: Judge, seed: int) -> np.ndarray:
    """What a judge feels before noise and bias, float64 [N], mean 0 and deviation 1 over the pool."""
    felt = _parts(pool, seed) @ judge.weights
    return (felt - felt.mean()) / felt.std()


def truth(pool: Pool, judges: Sequence[Judge], good_share: float, seed: int) -> tuple[np.ndarray, float]:
    """Which clips are good (bool [N]), and the mean liking from which a clip is."""
    mean = np.mean([liking(pool, judge, seed) for judge in judges], axis=0)
    bar = float(np.quantile(mean, 1 - good_share))
    return mean >= bar, bar


def answers(pool: Pool, judge: Judge, bar: float, seed: int) -> np.ndarray:
    """What a judge says of every clip: bool [N], keep or not. The same clip asked twice gets the same answer."""
    generator = np.random.default_rng([seed, *judge.name.encode()])
    felt = liking(pool, judge, seed) + judge.bias + judge.noise * generator.standard_normal(len(pool))
    return (felt >= bar) ^ (generator.random(len(pool)) < judge.slips)


def crowd_answers(pool: Pool, judges: Sequence[Judge], bar: float, seed: int) -> np.ndarray:
    """One answer for every clip, bool [N], each by a judge drawn at random."""
    by = np.random.default_rng([seed, 1]).integers(0, len(judges), len(pool))
    return np.array([answers(pool, judge, bar, seed) for judge in judges])[by, np.arange(len(pool))]


def _parts(pool: Pool, seed: int) -> np.ndarray:
    """What tastes are made of, float64 [N, 6]: none of it is linear in the scores."""
    motion, detail, composition, steadiness, light, clutter = pool.qualities.T
    pleasing = np.random.default_rng([seed, 2]).standard_normal(NUM_CONCEPTS)
    return np.column_stack(
        [
            -((motion - 0.3) ** 2),
            detail + 0.5 * detail * composition,
            composition,
            -np.exp(-steadiness - 0.5),
            -np.abs(light - 0.2),
            pleasing[pool.concepts] - np.maximum(clutter, 0),
        ]
    )
