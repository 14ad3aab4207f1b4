"""Groups: which clips are near duplicates of a better one, what concepts the others form, how often to draw each.

    unit vectors [N, D], best first --> near duplicates --> kept --k-means--> concepts --> weights, mean 1 over the kept

Duplicates. Going from the best clip to the worst, a clip is dropped if its cosine with one that was kept is at least
`duplicate_similarity`, and it is then a duplicate of the best such one. So there are no chains: nothing is dropped for
the sake of a clip that is itself dropped. Best is (`best_first`): the larger picture, then the higher quality score
where there is one, then the longer clip, then the smaller id. The search is `curation/near.py`.

Concepts. Spherical k-means (faiss) over what was kept; a duplicate gets its representative's concept. HunyuanVideo uses
about 10,000 concepts for its pool; here the default is the square root of half the clips, at most 10,000.

Weights. "inverse_sqrt" draws a clip in proportion to 1 / sqrt(size of its concept) (Polyak et al. 2024, Movie Gen);
"quota" takes the `quota` best clips of each concept once and the others never. Duplicates have weight 0.

Everything is seeded: the same vectors in the same order give the same bytes. What it costs: `curation/near.py`.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field

from curation.near import NearSettings, find_duplicates

POINTS_PER_CONCEPT = 64  # that k-means is trained on
TRAINING_ROUNDS = 10
ROWS_AT_ONCE = 1 << 16


class GroupSettings(NearSettings, frozen=True, extra="forbid"):
    embedder: str = Field(default="perceptual_hash", description="whose vectors: a file in curation/embedders/")
    prefer: tuple[str, ...] = Field(
        default=("bits_per_pixel", "aesthetic"),
        description="scorers; of equally large pictures the one with the higher value of the first that runs is kept",
    )
    num_concepts: int = Field(default=0, ge=0, description="clusters; 0: the square root of half the kept clips")
    most_concepts: int = Field(default=10_000, ge=1, description="bound on the automatic number of clusters")
    weighting: Literal["inverse_sqrt", "quota"] = Field(
        default="inverse_sqrt", description="how concepts are balanced; see curation/groups.py"
    )
    quota: int = Field(default=0, ge=0, description="clips taken of each concept; 0: the median size of a concept")


@dataclass(frozen=True)
class Groups:
    """Legend: N clips, in the order in which they were given."""

    duplicate_of: np.ndarray  # int64 [N], index of the kept clip, -1 for a clip that is kept
    similarity: np.ndarray  # float32 [N], cosine with it, 0 for a clip that is kept
    concept: np.ndarray  # int64 [N]
    weight: np.ndarray  # float64 [N]

    @property
    def kept(self) -> np.ndarray:
        return self.duplicate_of < 0


def best_first(area_px: np.ndarray, quality: np.ndarray, duration_s: np.ndarray) -> np.ndarray:
    """Indices of clips from the best to the worst; of equal ones the first given comes first, so give them by id.

    NaN in `quality` means that nobody knows; such clips come after those with a value.
    """
    return np.lexsort((-duration_s, -np.nan_to_num(quality, nan=-np.inf), -area_px))


def group_clips(vectors: np.ndarray, order: np.ndarray, settings: GroupSettings) -> Groups:
    """Near duplicates, concepts and weights.

    Args:
        vectors: float32 [N, D], unit length, N at least 1.
        order: indices of all clips from the best to the worst.
    """
    duplicate_of, similarity = find_duplicates(vectors, order, settings)
    kept = np.flatnonzero(duplicate_of < 0)
    concept = find_concepts(vectors, kept, settings)
    concept = np.where(duplicate_of < 0, concept, concept[duplicate_of])
    weight = np.zeros(len(vectors))
    kept_in_order = order[duplicate_of[order] < 0]
    weight[kept_in_order] = weights_of(concept[kept_in_order], settings)
    return Groups(duplicate_of, similarity, concept, weight)


def find_concepts(vectors: np.ndarray, kept: np.ndarray, settings: GroupSettings) -> np.ndarray:
    """Number of the nearest of the clusters that the kept clips form, for every clip; int64 [N], 0 is the largest."""
    import faiss

    wanted = settings.num_concepts or min(settings.most_concepts, max(1, round((len(kept) / 2) ** 0.5)))
    num_concepts = min(wanted, len(kept))
    most = num_concepts * POINTS_PER_CONCEPT
    drawn = kept
    if len(kept) > most:
        drawn = np.sort(np.random.default_rng(settings.seed).choice(kept, most, replace=False))
    means: Any = faiss.Kmeans(
        vectors.shape[1],
        num_concepts,
        niter=TRAINING_ROUNDS,
        seed=settings.seed,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=POINTS_PER_CONCEPT + 1,
    )
    means.train(vectors[drawn])
    concept = np.empty(len(vectors), np.int64)
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        concept[part] = faiss.knn(vectors[part], means.centroids, 1, metric=faiss.METRIC_INNER_PRODUCT)[1][:, 0]
    sizes = np.bincount(concept[kept], minlength=num_concepts)
    place = np.empty(num_concepts, np.int64)
    place[np.argsort(-sizes, kind="stable")] = np.arange(num_concepts)
    return place[concept]


def weights_of(concept: np.ndarray, settings: GroupSettings) -> np.ndarray:
    """How often to draw each kept clip, float64 [N]; `concept` is that of the kept clips, the best first."""
    sizes = np.bincount(concept)
    if settings.weighting == "inverse_sqrt":
        weight = 1 / np.sqrt(sizes[concept])
        return weight / weight.mean()
    quota = settings.quota or int(np.median(sizes[sizes > 0]))
    by_concept = np.argsort(concept, kind="stable")
    starts = np.cumsum(sizes) - sizes
    place_in_concept = np.empty(len(concept), np.int64)
    place_in_concept[by_concept] = np.arange(len(concept)) - starts[concept[by_concept]]
    return (place_in_concept < quota).astype(np.float64)
