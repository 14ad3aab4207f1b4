"""The search for near duplicates, against brute force that follows the rule word by word."""

import numpy as np
import pytest

from curation import near
from curation.near import NearSettings, find_duplicates


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def clustered(count: int, width: int, seed: int = 0, spread: float = 0.6) -> np.ndarray:
    """Unit vectors in tight and loose clusters, so that chains of near neighbours occur."""
    generator = np.random.default_rng(seed)
    centres = unit(generator.standard_normal((max(1, count // 12), width)))
    noise = unit(generator.standard_normal((count, width))) * generator.uniform(0, spread, (count, 1))
    return unit(centres[generator.integers(0, len(centres), count)] + noise)


def planted(count: int, copies: int, width: int, cosine: float, seed: int = 0) -> np.ndarray:
    """Random unit vectors whose last `copies` lie at exactly that cosine from the first `copies`."""
    generator = np.random.default_rng(seed)
    vectors = unit(generator.standard_normal((count, width)))
    aside = generator.standard_normal((copies, width))
    aside -= (aside * vectors[:copies]).sum(1, keepdims=True) * vectors[:copies]
    vectors[count - copies :] = cosine * vectors[:copies] + np.sqrt(1 - cosine**2) * unit(aside)
    return vectors


def by_brute_force(vectors: np.ndarray, order: np.ndarray, least: float) -> np.ndarray:
    kept: list[int] = []
    duplicate_of = np.full(len(vectors), -1)
    for clip in order:
        cosines = vectors[kept] @ vectors[clip] if kept else np.zeros(0)
        if len(kept) and cosines.max() >= least:
            duplicate_of[clip] = kept[int((cosines >= least).argmax())]
        else:
            kept.append(int(clip))
    return duplicate_of


@pytest.mark.parametrize("width", [24, 96])
@pytest.mark.parametrize("most_pairs", [near.MOST_PAIRS, 50])
def test_it_is_the_greedy_rule(width: int, most_pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With few and many dimensions, in one go and with batches that have to be halved."""
    monkeypatch.setattr(near, "MOST_PAIRS", most_pairs)
    monkeypatch.setattr(near, "FIRST_BATCH", 300)
    vectors = clustered(1000, width)
    order = np.random.default_rng(1).permutation(1000)
    duplicate_of, similarity = find_duplicates(vectors, order, NearSettings(duplicate_similarity=0.9))
    np.testing.assert_array_equal(duplicate_of, by_brute_force(vectors, order, 0.9))
    dropped = duplicate_of >= 0
    assert 100 < dropped.sum() < 900
    assert (duplicate_of[duplicate_of[dropped]] == -1).all(), "a duplicate of something that is itself dropped"
    expected = (vectors[dropped] * vectors[duplicate_of[dropped]]).sum(1)
    np.testing.assert_allclose(similarity[dropped], expected, atol=1e-6)
    assert (similarity[dropped] >= 0.9).all() and (similarity[~dropped] == 0).all()


def test_a_chain_is_not_one_group() -> None:
    """a - b - c, each near the next: b is dropped for a, c stays, since only b, which is gone, is near it."""
    angles = np.radians([0, 20, 40])
    vectors = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    duplicate_of, _ = find_duplicates(vectors, np.arange(3), NearSettings(duplicate_similarity=0.9))
    assert duplicate_of.tolist() == [-1, 0, -1]


def test_many_copies_of_one_clip_are_all_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million pairs where ten thousand are held at a time."""
    monkeypatch.setattr(near, "MOST_PAIRS", 10_000)
    vectors = np.repeat(planted(3, 1, 96, 0.5), 1000, axis=0)
    duplicate_of, similarity = find_duplicates(vectors, np.arange(3000), NearSettings(duplicate_similarity=0.99))
    np.testing.assert_array_equal(np.flatnonzero(duplicate_of < 0), [0, 1000, 2000])
    np.testing.assert_array_equal(duplicate_of[duplicate_of >= 0], np.repeat([0, 1000, 2000], 999))
    assert similarity.max() <= 1 + 1e-5


def test_cells_find_what_was_planted() -> None:
    """At the cosine 0.97 at least 99 in 100 are found, and nothing that was not planted."""
    vectors = planted(10_000, 1_000, 128, 0.97)
    settings = NearSettings(duplicate_similarity=0.95, exact_below=1)
    duplicate_of, _ = find_duplicates(vectors, np.arange(10_000), settings)
    assert (duplicate_of[:9_000] < 0).all()
    assert (duplicate_of[9_000:] == np.arange(1_000)).mean() >= 0.99
    again, _ = find_duplicates(vectors, np.arange(10_000), settings)
    assert again.tobytes() == duplicate_of.tobytes()
