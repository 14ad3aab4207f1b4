"""A workspace with a tiny run trained on the spot, and the context of `generate` over it."""

import argparse
from pathlib import Path

import torch

from annotation.project import AnnotationSettings
from annotation.vision_models import DrafterSettings
from curation.tables import Workspace
from jobs.config import Context, Recipe
from jobs.engine import EngineSettings
from jobs.generate import GenerateSettings
from tests.training.moving_shapes import pack_shapes
from training.curriculum import TrainingRun
from training.stages import StageSettings, TrainSettings

TRAIN = TrainSettings(
    threads=1,
    stages=(
        StageSettings(name="vae", objective="vae", shards={"image": 1}, steps=2, batch=2, crop_px=16),
        StageSettings(name="image_256", shards={"image": 1}, steps=2, batch=2, learning_rate=1e-2, warmup_steps=0),
    ),
)
SETTINGS = GenerateSettings(prompts=("a red disc", "a blue square"), num_frames=5, steps=2)
FLAGS = ("prompts", "image", "out", "run", "stage", "weights", "rewrite")


def train_tiny(folder: Path) -> Workspace:
    torch.set_num_threads(1)
    workspace = Workspace(str(folder))
    pack_shapes(workspace, "image", count=6)
    run = TrainingRun(workspace, TRAIN)
    for stage in TRAIN.stages:
        run.train(stage, lambda step, loss: None)
    return workspace


def context(
    workspace: Workspace,
    settings: GenerateSettings = SETTINGS,
    drafter: DrafterSettings | None = None,
    engine: EngineSettings | None = None,
    **flags,
) -> Context:
    """What the verb gets; `flags` are those of the command line."""
    args = argparse.Namespace(**{"prompt": [], "sequence_parallel": 0, **dict.fromkeys(FLAGS), **flags})
    annotation = AnnotationSettings(drafter=drafter or DrafterSettings())
    recipe = Recipe(train=TRAIN, generate=settings, annotation=annotation, engine=engine or EngineSettings())
    return Context(recipe, workspace, args)
