"""Near duplicates among many unit vectors: greedy from the best to the worst, no chains.

    heads: 64 principal directions + length of the rest: an upper bound of every cosine at a fraction of the cost;
           what it lets through is computed exactly
    cells: all in one below `exact_below` clips, else about 2 sqrt(N) k-means cells; a clip is compared with the kept
           clips of the cells that are hardly farther from it than its own, `probes` on average

    batch in rank order --> near a kept clip?  dropped
                        --> near each other?   the better ones stay, by rounds over the pairs; too many pairs: halve
                        --> the rest is kept

Since x.y <= head(x).head(y) + |rest(x)| |rest(y)| (Cauchy-Schwarz), the heads lose no pair; only the cells can. Memory
holds the vectors, 65 numbers a clip and a few tiles, however many clips are alike. Tiles go to one thread a core, each
with one thread of BLAS.

1,000,000 vectors of 256 numbers, clustered like footage (`tests/bench/catalogue.py`), one in 20 a copy at the cosine
0.97: of the copies 0.981 are found by 10 probes on average, 0.991 by 14, 0.993 by 16, the default, 0.996 by 20; the
same number of probes for every clip finds 0.979 by 12 and 0.993 by 20. Half as many cells find as many by twice the
comparisons. Not measured on a large real pool.
"""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from pydantic import BaseModel, Field
from threadpoolctl import threadpool_limits

HEAD_SIZE = 64
FIRST_BATCH, LARGEST_BATCH = 1 << 13, 1 << 17  # clips; with one cell all batches are of the first size
TILE_ROWS, TILE_COLUMNS = 256, 2048  # 2 MB of comparisons, so that they stay in the cache; fewer columns, more rows
TILES_AHEAD = 8  # per thread
MOST_PAIRS = 1 << 22  # inside a batch, before it is halved
ROUNDING = 1e-4  # of float32, on the bound
DENSE = 32  # tiles of which more than 1 / 32 passes the bound are computed whole
ROWS_AT_ONCE = 1 << 15
PRINCIPAL_ROWS = 1 << 14  # that the principal directions are taken of
POINTS_PER_CELL, TRAINING_ROUNDS = 32, 5
MARGIN_ROWS = 1 << 12  # that the margin is taken of

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]  # clip, clip, cosine


class NearSettings(BaseModel, frozen=True, extra="forbid"):
    duplicate_similarity: float = Field(
        default=0.875,
        gt=0,
        le=1,
        description="cosine from which on a clip is a near duplicate; perceptual_hash: 0.875 is 16 of 256 bits",
    )
    exact_below: int = Field(default=100_000, ge=1, description="up to so many clips all are compared with all")
    probes: int = Field(default=16, ge=1, description="cells searched on average above that; more find more, slower")
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
    with _one_blas_thread():
        while start < len(order):
            search.settle(order[start : start + size])
            start += size
            size = min(2 * size, LARGEST_BATCH) if search.cells.count > 1 else size
    return search.duplicate_of, search.similarity


@dataclass(frozen=True)
class _Cells:
    """Which cell each clip lies in, and which it looks into."""

    home: np.ndarray  # uint16 [N]
    starts: np.ndarray  # int64 [N + 1] into `looks`
    looks: np.ndarray  # uint16, the cells of the first clip, then those of the second, ...
    count: int

    @classmethod
    def one(cls, num_clips: int) -> "_Cells":
        nothing = np.zeros(num_clips, np.uint16)
        return cls(nothing, np.arange(num_clips + 1), nothing, 1)

    def looks_of(self, clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """These clips, each once for every cell that it looks into, and the cells."""
        counts = self.starts[clips + 1] - self.starts[clips]
        ends = np.cumsum(counts)
        at = np.arange(counts.sum()) + np.repeat(self.starts[clips] - (ends - counts), counts)
        return np.repeat(clips, counts), self.looks[at]


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
        edges = np.arange(self.cells.count + 1)
        lookers, looks = self.cells.looks_of(clips)
        homes = self.cells.home[others]
        looks_order, homes_order = np.argsort(looks, kind="stable"), np.argsort(homes, kind="stable")
        looks_starts = np.searchsorted(looks, edges, sorter=looks_order)
        homes_starts = np.searchsorted(homes, edges, sorter=homes_order)
        for cell in range(self.cells.count):
            queries = lookers[looks_order[looks_starts[cell] : looks_starts[cell + 1]]]
            targets = others[homes_order[homes_starts[cell] : homes_starts[cell + 1]]]
            rows = TILE_ROWS * TILE_COLUMNS // min(max(len(targets), TILE_ROWS), TILE_COLUMNS)
            for left in range(0, len(targets), TILE_COLUMNS):
                for top in range(0, len(queries), rows):
                    yield queries[top : top + rows], targets[left : left + TILE_COLUMNS]

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


def _one_blas_thread() -> threadpool_limits:
    """For threads of ours: if each started threads of BLAS, they would wait for each other."""
    return threadpool_limits(1, user_api="blas")


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


def _cells(heads: np.ndarray, settings: NearSettings) -> _Cells:
    """Each clip's cell, the one with the nearest centre, and those whose centres are hardly farther.

    How much farther (in squared distance) is one number for all clips, taken of a sample so that they look into
    `probes` cells on average: a clip between many cells looks into many, one deep inside its cell into few.
    """
    if len(heads) < settings.exact_below:
        return _Cells.one(len(heads))
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
    centres = means.centroids.T.copy()
    away = np.einsum("dc,dc->c", centres, centres) / 2

    def nearness(rows: np.ndarray) -> np.ndarray:  # minus half the squared distance, but for a number of the row's own
        return rows @ centres - away

    def look(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        near = nearness(rows)
        home = near.argmax(axis=1)
        looks_at = near >= near[np.arange(len(rows)), home][:, None] - margin
        cells = (np.flatnonzero(looks_at) % num_cells).astype(np.uint16)
        return home.astype(np.uint16), np.count_nonzero(looks_at, axis=1), cells

    sample = nearness(heads[_drawn(len(heads), MARGIN_ROWS, settings.seed)])
    farther = np.sort((sample.max(axis=1, keepdims=True) - sample).ravel())
    margin = farther[min(settings.probes, num_cells) * len(sample) - 1]
    with _one_blas_thread(), ThreadPoolExecutor(os.cpu_count()) as threads:
        found = threads.map(look, (heads[start : start + TILE_ROWS] for start in range(0, len(heads), TILE_ROWS)))
        home, counts, looks = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return _Cells(home, np.concatenate([[0], np.cumsum(counts)]), looks, num_cells)


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
