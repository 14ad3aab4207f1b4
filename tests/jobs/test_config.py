"""Recipes: what is wrong is named with its place and what would be right."""

from pathlib import Path

import pytest

from curation.records import UserError
from curation.tables import Workspace
from jobs.config import Recipe, load_recipe, save_recipe

RECIPES = sorted((Path(__file__).resolve().parents[2] / "jobs/recipes").glob("*.toml"))


def recipe_of(tmp_path: Path, text: str, *overrides: str) -> Recipe:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return load_recipe(path, overrides)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_every_shipped_recipe_loads_and_opens_with_what_it_costs(path):
    load_recipe(path)
    assert path.read_text().startswith("# ")


def test_an_override_is_typed_like_toml_and_text_otherwise(tmp_path):
    recipe = recipe_of(
        tmp_path, "", "engine.workers=3", "footage.path=/some where", 'gates.stages.v.rules=[{scorer="motion", min=1}]'
    )
    assert (recipe.engine.workers, recipe.footage.path) == (3, "/some where")
    assert recipe.gates.stages["v"].rules[0].min == 1.0


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("[engine]\nworker = 2", (), r"engine\.worker: unknown setting; known here: .*workers"),
        ("[engines]", (), r"engines: unknown setting; known here: annotation, calibrate, engine, "),
        ("[engine]\nworkers = -1", (), r"engine\.workers: Input should be greater than or equal to 0, got -1"),
        (
            "[[gates.stages.video.rules]]\nscorer = 'motion'\nmin = 1\nmax_ = 2",
            (),
            r"gates\.stages\.video\.rules\.0\.max_: unknown setting; known here: labels, max, max_percentile, min, ",
        ),
        ("[engine", (), "not valid TOML"),
        ("", ("engine.workers",), "wants path.to.key=value, got 'engine.workers'"),
        ("[engine]\nworkers = 1", ("engine.workers.x=1",), "engine.workers is a value, not a table"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, overrides, message):
    with pytest.raises(UserError, match=message):
        recipe_of(tmp_path, text, *overrides)


def test_a_missing_recipe_names_those_that_come_with_dailies(tmp_path):
    with pytest.raises(UserError, match=r"no recipe at .*nope\.toml; .*demo\.toml"):
        load_recipe(tmp_path / "nope.toml")


def test_the_resolved_recipe_is_kept_under_its_digest(tmp_path):
    recipe, workspace = recipe_of(tmp_path, "", "engine.workers=3"), Workspace(str(tmp_path / "ws"))
    save_recipe(recipe, workspace)
    assert Recipe.model_validate_json(workspace.read_bytes("recipes", f"{recipe.digest}.json")) == recipe
    assert recipe.digest != recipe_of(tmp_path, "").digest
