"""The shipped recipe fits its own sets, and the verb walks from nothing to pictures and a score."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from curation.records import UserError
from curation.tables import Workspace
from curation.transcode import write_frames
from jobs import train_tiny
from jobs.config import Context, Recipe, load_recipe
from jobs.toy_clips import REAL, SHAPES

RECIPE = Path(train_tiny.__file__).parent / "recipes" / "tiny.toml"
KEPT = ("vae_high", "vae_tiled", "sft", "distill")  # a critic, tiles, flow and a student; the others differ in numbers


def _short(recipe: Recipe) -> Recipe:
    """A stage of each kind of the shipped recipe, cut to two steps of two clips, and as few clips as there may be."""
    cut: dict[str, Any] = {"steps": 2, "batch": 2, "warmup_steps": 0, "checkpoint_every": 1, "adversarial_from": 0}
    stages = tuple(stage.model_copy(update=cut) for stage in recipe.train.stages if stage.name in KEPT)
    assert len(stages) == len(KEPT)
    read = {source.partition("_")[2] for stage in stages for source in stage.shards}
    sets = {name: size.model_copy(update={"scenes": 48}) for name, size in recipe.toy.sets.items() if name in read}
    toy = recipe.toy.model_copy(update={"scenes": 48, "footage_cuts": 3, "prompts": 5, "sample_steps": 2, "sets": sets})
    settings = recipe.train.model_copy(update={"stages": stages, "threads": 1, "held_out_clips": 2})
    return recipe.model_copy(update={"train": settings, "toy": toy})


def test_the_recipe_reads_sets_that_it_packs_and_names_every_kind_of_stage() -> None:
    recipe = load_recipe(RECIPE)
    packed = {f"{kind}_{name}" for kind in (SHAPES, REAL) for name in recipe.toy.sets}
    read = {source for stage in recipe.train.stages for source in stage.shards}
    assert read <= packed
    assert any(source.startswith(REAL) for source in read)
    assert recipe.toy.sample_set in recipe.toy.sets
    order = [stage.objective for stage in recipe.train.stages]
    assert order == sorted(order, key=["vae", "flow", "distill"].index)


@pytest.fixture
def footage(tmp_path: Path) -> str:
    folder = tmp_path / "footage"
    folder.mkdir()
    noise = np.random.default_rng(0).normal(120, 50, (96, 128, 3))
    frames = [np.roll(noise, shift, axis=1).clip(0, 255).astype(np.uint8) for shift in range(120)]
    (folder / "noise.mp4").write_bytes(write_frames(frames, 24.0))
    return str(folder)


def test_the_verb_trains_every_stage_samples_and_scores(
    tmp_path: Path, footage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, workspace = _short(load_recipe(RECIPE)), Workspace(str(tmp_path / "workspace"))
    context = Context(recipe, workspace, Namespace(footage=footage))
    assert train_tiny.run(context) == 0
    said = capsys.readouterr().out
    for stage in recipe.train.stages:
        assert f"\n{stage.name} " in said
    for name in recipe.toy.resume:
        assert f"\n{name} taken up at step 1 of 2: the same 1 losses, the same weights" in said
    facts = json.loads(workspace.read_bytes("tiny", "score.json"))
    assert len(facts["resumed"]) == len(recipe.toy.resume) == 2
    assert facts["rates"]["drawn clips"]["all"] | {"interval": None, "chance": None} == {
        "hits": 5, "tries": 5, "interval": None, "chance": None,
    }  # fmt: skip
    assert set(facts["rates"]["samples"]) == {"colour", "shape", "direction", "all"}
    for name in ("samples.png", "curves.png"):
        picture = cv2.imdecode(np.frombuffer(workspace.read_bytes("tiny", name), np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None and picture.std() > 1
    assert train_tiny.run(context) == 0
    assert capsys.readouterr().out.count("finished before") == len(recipe.train.stages)


def test_a_set_to_sample_that_is_none_of_the_sets_is_named(tmp_path: Path) -> None:
    recipe = load_recipe(RECIPE, ["toy.sample_set=huge"])
    with pytest.raises(UserError, match=r"'huge' is none of toy\.sets: image, "):
        train_tiny.run(Context(recipe, Workspace(str(tmp_path)), Namespace(footage=None)))
