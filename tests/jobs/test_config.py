"""Recipes: what is wrong is named with its place and what would be right."""

import logging
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest
from label_studio_sdk.core.api_error import ApiError

from annotation.accounts import ADMIN, signed_in
from annotation.connection import HOME, connect
from annotation.project import API_KEY_VARIABLE, AnnotationSettings
from annotation.results import to_result
from annotation.server import POSTGRES_PASSWORD_VARIABLE, ServerSettings
from annotation.tasks import to_task
from annotation.vision_models import KEY_VARIABLE
from curation.records import Caption, UserError
from curation.tables import TABLES, PushedTask, Workspace
from jobs import collect, trace
from jobs.config import Recipe, load_recipe, save_recipe
from jobs.report import write_report
from tests.annotation.answers import kept
from tests.conftest import LABEL_STUDIO_VENV
from tests.jobs.catalogue import clips_in, context_of

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


@pytest.mark.parametrize(
    "override",
    [
        "annotation.url=https://me:hunter2@labels.example",
        "annotation.url=https://labels.example/?token=hunter2",
        "annotation.server.database=postgresql://me:hunter2@host/name",
        "annotation.drafter.url=http://me:hunter2@host",
        "annotation.token=hunter2",
    ],
)
def test_a_recipe_takes_no_secret(tmp_path, override):
    with pytest.raises(UserError, match=r"password|unknown setting"):
        recipe_of(tmp_path, "", override)


@pytest.mark.slow
@pytest.mark.live
def test_secrets_reach_no_recipe_table_report_or_log(label_studio_workspace, tmp_path, monkeypatch, capsys, caplog):
    caplog.set_level(logging.INFO)
    server = ServerSettings(venv=str(LABEL_STUDIO_VENV))
    with connect(label_studio_workspace, AnnotationSettings(title="Elsewhere", server=server)) as embedded:
        url, shown = embedded.client.url, [repr(embedded), str(embedded.login())]
    admin = signed_in(label_studio_workspace.local_path(HOME), url, ADMIN)
    secrets = {name: f"hunter2-{name}" for name in (POSTGRES_PASSWORD_VARIABLE, KEY_VARIABLE, "AWS_SECRET_ACCESS_KEY")}
    secrets |= {API_KEY_VARIABLE: admin.token}
    for name, secret in secrets.items():
        monkeypatch.setenv(name, secret)
    settings = AnnotationSettings.model_validate(
        {"title": "Secrets", "url": url, "reviewers": "me", "fast_pass": False, "routing": {"media": "serve"}}
    )
    context = context_of(tmp_path, [7.0] * 4)
    context = replace(context, recipe=context.recipe.model_copy(update={"annotation": settings}))
    workspace, clip = context.workspace, clips_in(context)[0]
    save_recipe(context.recipe, workspace)
    with connect(workspace, settings) as connection:
        task = to_task(settings.screens[0], clip, Caption(clip.clip_id, "draft:facts", "1", "A street."))
        connection.client.push(connection.project, [task])
        workspace.table("tasks").append("sent", [PushedTask(clip.clip_id, "Secrets", "1", "review")])
        (there,) = connection.client.open_tasks(connection.project)
        connection.client.answer(there, to_result(settings.screens[0], kept()))
        shown += [repr(connection), str(connection.login())]
        with pytest.raises(ApiError) as refused:
            connection.client.answer(replace(there, task_id=0), [])
    context = replace(context, args=Namespace(clip_id=clip.clip_id, json=False))
    assert collect.run(context) == trace.run(context) == 0
    write_report(workspace, context.recipe)

    tables = [str(workspace.table(name).read().to_pylist()) for name in TABLES]
    files = [path.read_text(errors="replace") for path in Path(workspace.root).rglob("*") if path.is_file()]
    printed = capsys.readouterr()
    everything = "\n".join([*shown, str(refused.value), *tables, *files, printed.out, printed.err, caplog.text])
    assert "sessionid" not in everything, "the cookie of a session is as good as a token"
    assert "me@localhost" in str(tables) and "A dog runs" in everything, "the answer is there, and is in the report"
    assert [name for name, secret in (secrets | {"password": admin.password}).items() if secret in everything] == []
