"""Concepts, weights and the order of clips; near duplicates themselves are tested in test_near.py."""

import contextlib
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from curation.groups import GroupSettings, best_first, find_concepts, group_clips, weights_of
from tests.curation.test_near import unit


def blobs(sizes: list[int], width: int = 32) -> np.ndarray:
    """Well separated clusters of unit vectors, one after the other."""
    generator = np.random.default_rng(0)
    centres = np.eye(width)[: len(sizes)]
    noise = unit(generator.standard_normal((sum(sizes), width))) * 0.4
    return unit(np.repeat(centres, sizes, axis=0) + noise)


def test_the_best_is_the_largest_then_the_better_then_the_longer_then_the_first() -> None:
    area_px = np.array([100, 400, 400, 400, 400, 400])
    quality = np.array([9, 1, 2, 2, 2, np.nan])
    duration_s = np.array([9.0, 9, 5, 7, 7, 99])
    assert best_first(area_px, quality, duration_s).tolist() == [3, 4, 2, 1, 5, 0]


def test_clusters_are_found_and_numbered_by_size() -> None:
    sizes = [40, 160, 20, 80]
    concept = find_concepts(blobs(sizes), np.arange(300), GroupSettings(num_concepts=30))
    blob_of = np.repeat(range(4), sizes)
    assert all(len(set(blob_of[concept == each])) <= 1 for each in range(30)), "a concept reaches over two clusters"
    assert (np.diff(np.bincount(concept, minlength=30)) <= 0).all() and concept.max() > 3


def test_rare_concepts_are_drawn_more_often() -> None:
    sizes = np.array([400, 100, 4])
    weight = weights_of(np.repeat([0, 1, 2], sizes), GroupSettings())
    assert weight.mean() == pytest.approx(1)
    per_clip = weight[[0, 400, 500]]
    np.testing.assert_allclose(per_clip / per_clip[0], [1, 2, 10])
    np.testing.assert_allclose(per_clip * sizes / (per_clip * sizes).sum(), np.sqrt(sizes) / np.sqrt(sizes).sum())


def test_a_quota_takes_the_best_of_each_concept() -> None:
    concept = np.array([0, 1, 0, 0, 2, 1, 0])
    assert weights_of(concept, GroupSettings(weighting="quota", quota=2)).tolist() == [1, 1, 1, 0, 1, 1, 0]
    assert weights_of(concept, GroupSettings(weighting="quota")).tolist() == [1, 1, 1, 0, 1, 1, 0], "median size 2"


@pytest.mark.parametrize("weighting", ["inverse_sqrt", "quota"])
def test_duplicates_weigh_nothing_and_share_their_twins_concept(weighting: str) -> None:
    vectors = blobs([60, 30])
    vectors = np.concatenate([vectors, vectors[:20], vectors[80:]])
    order = np.arange(len(vectors))[::-1]
    settings = GroupSettings.model_validate({"duplicate_similarity": 0.999, "num_concepts": 2, "weighting": weighting})
    groups = group_clips(vectors, order, settings)
    assert np.flatnonzero(~groups.kept).tolist() == [*range(20), *range(80, 90)], "the later ones rank higher"
    assert (groups.weight[~groups.kept] == 0).all()
    np.testing.assert_array_equal(groups.concept[~groups.kept], groups.concept[groups.duplicate_of[~groups.kept]])
    if weighting == "inverse_sqrt":
        assert groups.weight[groups.kept].mean() == pytest.approx(1) and (groups.weight[groups.kept] > 0).all()


def test_one_clip_and_clips_that_are_all_alike_are_groups() -> None:
    for count in (1, 5):
        groups = group_clips(np.repeat(blobs([1]), count, axis=0), np.arange(count), GroupSettings())
        assert groups.kept.tolist() == [True] + [False] * (count - 1)
        assert groups.weight.tolist() == [1.0] + [0.0] * (count - 1) and set(groups.concept) == {0}


SCRIPT = """
import hashlib
import torch  # faiss and torch each bring an OpenMP of their own
import numpy as np
from curation.groups import GroupSettings, group_clips
from tests.curation.test_near import clustered
first = torch.randn(300, 300) @ torch.randn(300, 300)
vectors = clustered(2000, 80)
groups = group_clips(vectors, np.arange(2000), GroupSettings(exact_below=1, duplicate_similarity=0.95))
assert torch.isfinite(first @ first).all()
parts = (groups.duplicate_of, groups.similarity, groups.concept, groups.weight)
print(hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest())
"""


def test_two_processes_give_the_same_bytes_with_torch_beside_faiss() -> None:
    root = Path(__file__).resolve().parents[2]
    once = subprocess.run([sys.executable, "-c", SCRIPT], cwd=root, capture_output=True, text=True, check=True)
    again = io.StringIO()
    with contextlib.redirect_stdout(again):
        exec(SCRIPT, {})
    assert once.stdout == again.getvalue() and len(once.stdout.strip()) == 64
