"""Grouping a catalogue: every clip is kept, a duplicate or without a vector, and it is done once."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.groups import GroupSettings
from curation.records import Clip, Embedding, UserError
from curation.score import versions
from curation.split import splitter_version
from curation.tables import Workspace
from jobs.config import Context, Recipe
from jobs.group import current_grouping, group, run
from tests.curation.test_near import planted

NUM_CLIPS, NUM_COPIES = 40, 8


def catalogue(folder: Path, without_vector: int = 0, **settings: Any) -> Context:
    """Clips of which the last 8 are copies (cosine 0.97) of the first 8; the copies of even number are larger."""
    recipe = Recipe(group=GroupSettings.model_validate({"duplicate_similarity": 0.95, "num_concepts": 4, **settings}))
    workspace = Workspace(str(folder / "ws"))
    vectors = planted(NUM_CLIPS, NUM_COPIES, 64, 0.97)
    clips = [clip(index, splitter_version(recipe.split)) for index in range(NUM_CLIPS)]
    version = versions(recipe.score)["perceptual_hash"]
    rows = [
        Embedding(each.clip_id, "perceptual_hash", version, tuple(vector.tolist()))
        for each, vector in zip(clips, vectors, strict=True)
    ]
    workspace.table("clips").append("film", clips)
    last = NUM_CLIPS - without_vector
    workspace.table("embeddings").append("first", rows[5:last])
    workspace.table("embeddings").append("second", rows[:5])
    other = [Embedding(each.clip_id, "perceptual_hash", "0/old", (1.0, 0.0)) for each in clips]
    workspace.table("embeddings").append("third", other)
    return Context(recipe, workspace, argparse.Namespace())


def clip(index: int, splitter: str) -> Clip:
    copied = index - (NUM_CLIPS - NUM_COPIES)
    height = 1080 if copied >= 0 and copied % 2 == 0 else 720
    span = (0, 100, 1, 25, 0.0, 4.0, 100)
    return Clip(f"{index:020x}", "video", "film.mp4", *span, height * 16 // 9, height, 25.0, splitter)


def rows_now(context: Context) -> list[dict[str, Any]]:
    """Rows of the last grouping under the context's settings."""
    digest = current_grouping(context.workspace, context.recipe)
    return [row for row in context.workspace.table("groups").read().to_pylist() if row["grouping"] == digest]


def test_every_clip_is_in_one_place_and_the_larger_twin_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context = catalogue(tmp_path, without_vector=1)
    assert run(context) == 0
    printed = capsys.readouterr().out
    assert "group: 7 near duplicates of 7 clips that are kept\ngroup: 4 concepts of " in printed
    assert printed.endswith("group: 40 clips = 32 kept + 7 duplicates + 1 without embedding\n")
    by_id = {row["clip_id"]: row for row in rows_now(context)}
    assert sorted(by_id) == [f"{index:020x}" for index in range(39)]
    for copied in range(7):
        twins = [by_id[f"{index:020x}"] for index in (copied, 32 + copied)]
        kept, dropped = twins if copied % 2 else twins[::-1]
        assert dropped["duplicate_of"] == kept["clip_id"] and kept["duplicate_of"] == ""
        assert dropped["similarity"] == pytest.approx(0.97, abs=1e-5) and dropped["weight"] == 0
        assert dropped["concept"] == kept["concept"]
    weights = [row["weight"] for row in by_id.values() if not row["duplicate_of"]]
    assert np.mean(weights) == pytest.approx(1) and min(weights) > 0


def test_a_second_grouping_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    context = catalogue(tmp_path)
    first = group(context)
    folder = context.workspace.local_path("groups")
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.glob("*.parquet")}
    capsys.readouterr()
    second = group(context)
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.glob("*.parquet")} == before
    assert len(before) == 1 and first.is_new and not second.is_new
    assert capsys.readouterr().out.endswith("+ 0 without embedding; nothing new\n")


def test_other_settings_and_new_clips_are_another_grouping(tmp_path: Path) -> None:
    context = catalogue(tmp_path)
    group(context)
    strict = catalogue(tmp_path, duplicate_similarity=0.98)
    assert rows_now(strict) == []
    assert group(strict).duplicates == 0
    assert sum(row["duplicate_of"] != "" for row in rows_now(context)) == 8
    newcomer = clip(NUM_CLIPS - NUM_COPIES - 1, splitter_version(context.recipe.split))
    context.workspace.table("clips").append("more", [Clip(**{**vars(newcomer), "clip_id": "f" * 20})])
    assert group(context).without_embedding == 1, "a clip without a vector changes no group"
    version = versions(context.recipe.score)["perceptual_hash"]
    vector = tuple(np.eye(64, dtype=np.float32)[0].tolist())
    context.workspace.table("embeddings").append("more", [Embedding("f" * 20, "perceptual_hash", version, vector)])
    tally = group(context)
    assert tally.is_new and tally.kept == 33


def test_a_pool_without_vectors_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has a vector of perceptual_hash 1/2fps.*; run `dailies score`"):
        group(Context(Recipe(), Workspace(str(tmp_path)), argparse.Namespace()))
    with pytest.raises(UserError, match="cannot group: clip lacks the CLIP weights"):
        group(Context(Recipe(group=GroupSettings(embedder="clip")), Workspace(str(tmp_path)), argparse.Namespace()))
