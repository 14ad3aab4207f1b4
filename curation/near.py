"""Near duplicates among many unit vectors: greedy from the best to the worst, no chains.

    heads: 64 principal directions + length of the rest: an upper bound of every cosine at a fraction of the cost;
           what it lets through is computed exactly
    lists: all in one below `exact_below` clips, else about 2 sqrt(N) k-means cells; a clip is compared with the kept
           clips of the `probes` cells nearest to it

    batch in rank order --> near a kept clip?  dropped
                        --> near each other?   the better ones stay, by rounds over the pairs; too many pairs: halve
                        --> the rest is kept

Since x.y <= head(x).head(y) + |rest(x)| |rest(y)| (Cauchy-Schwarz), the heads lose no pair; only the cells can. Memory
holds the vectors, 65 numbers a clip and a few tiles, however many clips are alike. Tiles go to one thread a core, each
with one thread of BLAS.

1,000,000 vectors of 256 numbers, clustered like footage (`tests/bench/catalogue.py`), one in 20 a copy at the cosine
0.97: of the copies 0.966 are found by 8 probes, 0.983 by 12, 0.990 by 16, 0.993 by 20, the default, in 83 CPU s on a
busy machine, 26 of them for the cells; of 100,000 vectors 0.999 by 20. Half as many cells find as many by twice the
comparisons. Not measured on a large real pool.
"""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
from pydantic import BaseModel, Field
from threadpoolctl import threadpool_limits

HEAD_SIZE = 64
FIRST_BATCH, LARGEST_BATCH = 1 << 13, 1 << 16  # clips; with one cell all batches are of the first size
TILE_ROWS, TILE_COLUMNS = 256, 2048  # 2 MB of comparisons, so that they stay in the cache
TILES_AHEAD = 8  # per thread
MOST_PAIRS = 1 << 22  # inside a batch, before it is halved
ROUNDING = 1e-4  # of float32, on the bound
DENSE = 32  # tiles of which more than 1 / 32 passes the bound are computed whole
ROWS_AT_ONCE = 1 << 15
PRINCIPAL_ROWS = 1 << 14  # that the principal directions are taken of
POINTS_PER_CELL, TRAINING_ROUNDS = 32, 5

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]  # clip, clip, cosine


class NearSettings(BaseModel, frozen=True, extra="forbid"):
    duplicate_similarity: float = Field(
        default=0.875,
        gt=0,
        le=1,
        description="cosine from which on a clip is a near duplicate; perceptual_hash: 0.875 is 16 of 256 bits",
    )
    exact_below: int = Field(default=100_000, ge=1, description="up to so many clips all are compared with all")
    probes: int = Field(default=20, ge=1, description="cells searched above that; more find more and take longer")
    seed: int = Field(default=0, description="of k-means and of the samples it is trained on")


def find_duplicates(vectors: np.ndarray, order: np.ndarray, settings: NearSettings) -> tuple[np.ndarray, np.ndarray]:
    """What each clip is a near duplicate of.

    Args:
        vectors: float32 [N, D], unit length.
        order: indices of all clips from the best to the worst.

    Returns:
        Index of the best kept clip that is near enough, -1 for a clip that is kept, int64 [N]; the cosine with it, 0
        for a clip that is kept, float32 [N].
    """
    search = _Search(vectors, order, settings)
    start, size = 0, FIRST_BATCH
    with threadpool_limits(1, user_api="blas"):
        while start < len(order):
            search.settle(order[start : start + size])
            start += size
            size = min(2 * size, LARGEST_BATCH) if search.num_cells > 1 else size
    return search.duplicate_of, search.similarity


class _Search:
    """Vectors with their heads and cells, and what has been decided so far."""

    def __init__(self, vectors: np.ndarray, order: np.ndarray, settings: NearSettings) -> None:
        self.vectors, self.least = vectors, np.float32(settings.duplicate_similarity)
        self.duplicate_of = np.full(len(vectors), -1, np.int64)
        self.similarity = np.zeros(len(vectors), np.float32)
        self.rank = np.empty(len(vectors), np.int64)
        self.rank[order] = np.arange(len(order))
        self.heads = _heads(vectors, settings.seed)
        self.cells = _cells(self.heads, settings)
        self.num_cells = int(self.cells.max(initial=0)) + 1
        self.kept = np.empty(0, np.int64)

    def settle(self, batch: np.ndarray) -> None:
        """Decide about clips that come next in rank."""
        self._drop(self._pairs(batch, self.kept))
        rest = batch[self.duplicate_of[batch] < 0]
        pairs = self._better_pairs(rest)
        if pairs is None:
            self.settle(rest[: len(rest) // 2])
            self.settle(rest[len(rest) // 2 :])
            return
        worse, better, cosine = pairs
        stays = _first_independent(self.rank[worse], self.rank[better])
        self._drop([(worse[stays], better[stays], cosine[stays])])
        self.kept = np.concatenate([self.kept, rest[self.duplicate_of[rest] < 0]])

    def _drop(self, found: Iterable[Pairs]) -> None:
        """Make each clip a duplicate of the best of the kept ones that it is near to."""
        clip, kept, cosine = _joined(found)
        best_first = np.lexsort((self.rank[kept], clip))
        clips, firsts = np.unique(clip[best_first], return_index=True)
        chosen = best_first[firsts]
        self.duplicate_of[clips], self.similarity[clips] = kept[chosen], cosine[chosen]

    def _better_pairs(self, clips: np.ndarray) -> Pairs | None:
        """All near pairs (worse, better) inside a batch, or None if there are too many to hold."""
        parts, num_pairs = [], 0
        for left, right, cosine in self._pairs(clips, clips):
            is_worse = self.rank[left] > self.rank[right]
            parts.append((left[is_worse], right[is_worse], cosine[is_worse]))
            num_pairs += int(is_worse.sum())
            if num_pairs > MOST_PAIRS:
                return None
        return _joined(parts)

    def _pairs(self, clips: np.ndarray, others: np.ndarray) -> Iterator[Pairs]:
        """Near pairs of a clip and one of the others in a cell that the clip looks into, always in the same order."""
        num_threads = os.cpu_count() or 1
        tiles = self._tiles(clips, others)
        with ThreadPoolExecutor(num_threads) as threads:
            while wave := list(islice(tiles, TILES_AHEAD * num_threads)):
                yield from threads.map(self._near, wave)

    def _tiles(self, clips: np.ndarray, others: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pieces of clips and of others that are compared with each other."""
        probes = self.cells.shape[1]
        cells = np.arange(self.num_cells + 1)
        looks, homes = self.cells[clips].ravel(), self.cells[others, 0]
        looks_order, homes_order = np.argsort(looks, kind="stable"), np.argsort(homes, kind="stable")
        looks_starts = np.searchsorted(looks, cells, sorter=looks_order)
        homes_starts = np.searchsorted(homes, cells, sorter=homes_order)
        for cell in range(self.num_cells):
            queries = clips[looks_order[looks_starts[cell] : looks_starts[cell + 1]] // probes]
            targets = others[homes_order[homes_starts[cell] : homes_starts[cell + 1]]]
            for left in range(0, len(targets), TILE_COLUMNS):
                for top in range(0, len(queries), TILE_ROWS):
                    yield queries[top : top + TILE_ROWS], targets[left : left + TILE_COLUMNS]

    def _near(self, tile: tuple[np.ndarray, np.ndarray]) -> Pairs:
        """Near pairs of all queries with all targets of a tile."""
        queries, targets = tile
        passed = np.flatnonzero(self.heads[queries] @ self.heads[targets].T >= self.least - ROUNDING)
        return self._exact(queries, targets, passed)

    def _exact(self, queries: np.ndarray, targets: np.ndarray, passed: np.ndarray) -> Pairs:
        """Those of the passed comparisons of a tile whose true cosine is high enough."""
        if len(passed) * DENSE > len(queries) * len(targets):
            cosine = (self.vectors[queries] @ self.vectors[targets].T).ravel()[passed]
        else:
            cosine = np.empty(len(passed), np.float32)
            for start in range(0, len(passed), ROWS_AT_ONCE):
                row, column = np.divmod(passed[start : start + ROWS_AT_ONCE], len(targets))
                left, right = self.vectors[queries[row]], self.vectors[targets[column]]
                cosine[start : start + ROWS_AT_ONCE] = np.einsum("nd,nd->n", left, right)
        is_near = cosine >= self.least
        row, column = np.divmod(passed[is_near], len(targets))
        return queries[row], targets[column], cosine[is_near]


def _joined(parts: Iterable[Pairs]) -> Pairs:
    nothing = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    clip, other, cosine = (np.concatenate(column) for column in zip(nothing, *parts, strict=True))
    return clip, other, cosine


def _heads(vectors: np.ndarray, seed: int) -> np.ndarray:
    """Unit vectors float32 [N, 65] whose cosines are never below the true ones; the vectors themselves if D <= 65."""
    width = vectors.shape[1]
    if width <= HEAD_SIZE + 1:
        return vectors
    drawn = vectors[_drawn(len(vectors), PRINCIPAL_ROWS, seed)]
    _, directions = np.linalg.eigh(drawn.T @ drawn)  # in rising order of what they hold
    heads = np.empty((len(vectors), HEAD_SIZE + 1), np.float32)
    np.matmul(vectors, directions[:, -HEAD_SIZE:], out=heads[:, :-1])
    heads[:, -1] = np.sqrt(np.clip(1 - np.einsum("nd,nd->n", heads[:, :-1], heads[:, :-1]), 0, None))
    return heads


def _drawn(count: int, most: int, seed: int) -> np.ndarray:
    """At most `most` of `count` indices, drawn at random, in order."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def _cells(heads: np.ndarray, settings: NearSettings) -> np.ndarray:
    """Numbers of the cells nearest to each clip, its own first, uint16 [N, probes]."""
    if len(heads) < settings.exact_below:
        return np.zeros((len(heads), 1), np.uint16)
    import faiss

    num_cells = min(1 << 15, 2 << round(np.log2(len(heads) ** 0.5)))
    means: Any = faiss.Kmeans(
        heads.shape[1],
        num_cells,
        niter=TRAINING_ROUNDS,
        seed=settings.seed,
        min_points_per_centroid=1,
        max_points_per_centroid=POINTS_PER_CELL + 1,
    )
    means.train(heads[_drawn(len(heads), num_cells * POINTS_PER_CELL, settings.seed)])
    probes = min(settings.probes, num_cells)
    cells = np.empty((len(heads), probes), np.uint16)
    for start in range(0, len(heads), ROWS_AT_ONCE):
        cells[start : start + ROWS_AT_ONCE] = faiss.knn(heads[start : start + ROWS_AT_ONCE], means.centroids, probes)[1]
    return cells


def _first_independent(worse: np.ndarray, better: np.ndarray) -> np.ndarray:
    """Which pairs (ranks of worse and better) drop their worse one when ranks are decided from the best to the worst.

    A pair drops its worse member if its better member is kept, that is, if no pair drops that one. In each round all
    whose better neighbours are decided get decided themselves.
    """
    ranks, flat = np.unique(np.concatenate([worse, better]), return_inverse=True)
    low, high = flat[: len(worse)], flat[len(worse) :]
    kept, dropped = np.zeros(len(ranks), bool), np.zeros(len(ranks), bool)
    while not (kept | dropped).all():
        waits = np.zeros(len(ranks), bool)
        waits[low[~dropped[high]]] = True  # at least one better neighbour is kept or undecided
        kept |= ~waits & ~dropped
        dropped[low[kept[high]]] = True
    return kept[high]
