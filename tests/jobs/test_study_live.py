"""A whole study on the real server: systems of files, and checkpoints of one training run, judged to the end."""

import argparse
import json
from collections import Counter
from pathlib import Path

import pytest

from annotation.project import AnnotationSettings
from annotation.server import ServerSettings
from annotation.study.axes import ALL_AXES, AXES, FAIL, PASS, TIE, A, B, Design
from annotation.study.settings import (
    AdaptiveSettings,
    CheckSettings,
    NormaliseSettings,
    StudySettings,
    SystemSettings,
)
from curation.study_records import ItemKind
from curation.tables import Workspace
from jobs import generate, study
from jobs.config import Context, Recipe
from jobs.engine import EngineSettings
from jobs.study_state import Study, open_study
from tests.conftest import LABEL_STUDIO_VENV
from tests.footage import moving_texture
from tests.jobs import trained
from tests.training.moving_shapes import pack_shapes
from training.curriculum import TrainingRun
from training.stages import StageSettings

pytestmark = [pytest.mark.slow, pytest.mark.live, pytest.mark.usefixtures("local_ray")]
SIMULATED = AnnotationSettings(reviewers="simulated", server=ServerSettings(venv=str(LABEL_STUDIO_VENV)))
SMALL = NormaliseSettings(height=64, min_height=16)


def do(workspace: Workspace, settings: StudySettings, action: str, **arguments) -> Study:
    """Run an action of the verb; returns what stands in the workspace afterwards."""
    args = {"every": 0.0, "simulate": False, "go_on": False, "stop_server": False, "action": action, **arguments}
    recipe = Recipe(study=settings, engine=EngineSettings(memory_gib_per_worker=0.3), annotation=SIMULATED)
    assert study.run(Context(recipe, workspace, argparse.Namespace(**args))) == 0
    return open_study(workspace, settings)


def test_three_systems_of_files_are_asked_in_rounds_and_judged_to_the_end(label_studio_workspace, tmp_path, capsys):
    prompts = tmp_path / "prompts.csv"
    prompts.write_text("prompt_id,prompt,motion\n" + "".join(f"{n},texture {n},{n % 2}\n" for n in range(4)))
    for seed, (name, size, rate) in enumerate((("x", (128, 96), 24), ("y", (160, 120), 25), ("z", (128, 72), 30))):
        for number in range(4):
            place = tmp_path / name / f"{number}.mp4"
            moving_texture(place, seconds=0.6, fps=rate, size=size, seed=10 * seed + number)
    settings = StudySettings(
        name="three-systems",
        prompts=str(prompts),
        systems=tuple(SystemSettings(name=name, videos=str(tmp_path / name)) for name in "xyz"),
        normalise=SMALL,
        checks=CheckSettings(repeat_share=0.2, identical_share=0.2),
        adaptive=AdaptiveSettings(first_share=0.5, round_share=0.25),
    )
    label_studio_workspace.write_bytes(b"1" * 64, "study", settings.name, "secret")  # so the rounds are the same
    created = do(label_studio_workspace, settings, "create")
    assert len(created.videos) == 12 and not created.answers
    assert Counter(item.kind for item in created.items) == {ItemKind.RANDOM: 6, ItemKind.IDENTICAL: 1}
    assert do(label_studio_workspace, settings, "create") == created, "nothing is made or asked twice"
    assert "12 videos = 12 results + 0 failures + 0 pending" in capsys.readouterr().out
    judged = do(label_studio_workspace, settings, "collect", simulate=True)
    said = capsys.readouterr().out
    assert said.rstrip().splitlines()[-1].endswith("; finished")
    assert {row.item_key for row in judged.answers} == {item.item_key for item in judged.items}
    kinds = Counter(item.kind for item in judged.items)
    assert kinds[ItemKind.ADAPTIVE] and kinds[ItemKind.REPEAT]
    assert all(row.simulated and row.judge.startswith("simulated-") for row in judged.answers)
    answers = [json.loads(row.answers) for row in judged.answers]
    assert all(set(given) == set(ALL_AXES) and set(given.values()) <= {A, TIE, B} for given in answers)
    assert do(label_studio_workspace, settings, "collect") == judged
    assert f"= 0 new + {len(judged.answers)} known + 0 invalid" in capsys.readouterr().out


def test_checkpoints_of_one_training_run_are_compared_by_what_they_generate(label_studio_workspace, tmp_path):
    workspace = label_studio_workspace
    stages = ("first", "second", "third")
    run_id = train(workspace, stages)
    for stage in stages:
        generate.run(trained.context(workspace, run=run_id, stage=stage))
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n".join(trained.SETTINGS.prompts))
    settings = StudySettings(
        name="checkpoints",
        design=Design.ABSOLUTE,
        prompts=str(prompts),
        systems=tuple(SystemSettings(name=stage, videos="samples", run=f"{run_id}/{stage}") for stage in stages),
        normalise=SMALL,
        judges=2,
        answers_wanted=2,
    )
    do(workspace, settings, "create")
    judged = do(workspace, settings, "collect", simulate=True)
    assert Counter(row.system for row in judged.videos) == dict.fromkeys(stages, 2)
    assert {row.source_uri for row in judged.videos} == {
        f"{workspace.uri}/{row.uri}"
        for row in workspace.table("samples").records()
        if row.checkpoint.startswith(run_id)
    }
    assert len(judged.answers) == len(judged.items) == 12
    answers = [json.loads(row.answers) for row in judged.answers]
    assert all(set(given) == set(AXES) and set(given.values()) <= {PASS, FAIL} for given in answers)
    do(workspace, settings, "report")
    assert (Path(workspace.root) / "study/checkpoints").is_dir()


def train(workspace: Workspace, names: tuple[str, ...]) -> str:
    """A tiny run of two VAE steps and of two flow steps under each name; returns its id."""
    pack_shapes(workspace, "image", count=6)
    vae, flow = trained.TRAIN.stages
    flows = tuple(StageSettings.model_validate({**flow.model_dump(), "name": name}) for name in names)
    run = TrainingRun(workspace, trained.TRAIN.model_copy(update={"stages": (vae, *flows)}))
    for stage in run.settings.stages:
        run.train(stage, lambda step, loss: None)
    return run.run_id
