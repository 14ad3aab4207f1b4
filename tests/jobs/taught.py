"""A workspace of clips with scores, vectors and verdicts of a planted taste, written as the jobs write theirs."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from annotation.project import KEPT, REJECTED
from annotation.suitability import CalibrateSettings
from curation.gates import GateRule, GateSettings, StageGates
from curation.records import Annotation, Clip, Embedding, Score
from curation.score import ScoreSettings, versions
from curation.split import splitter_version
from curation.tables import HumanVerdict, PushedTask, Workspace
from jobs.config import Context, Recipe

SCORERS = ("sharpness", "motion", "camera_movement", "exposure", "blur")
NUM_CLIPS, NUM_VIDEOS = 300, 30
CALIBRATE = CalibrateSettings(num_bootstraps=100, vector_axes=4, precision=0.8)
GATES = {
    "video": StageGates(
        rules=(
            GateRule(scorer="sharpness", min=2.0, review_min=1.5),
            GateRule(scorer="motion", max=1.5),
            GateRule(scorer="camera_movement", not_labels=("static shot",), min=0.5),
            GateRule(scorer="duration_s", min=2.0),
        )
    )
}


def recipe_of(**calibrate: Any) -> Recipe:
    return Recipe(
        score=ScoreSettings(scorers=SCORERS),
        gates=GateSettings(stages=GATES),
        calibrate=CALIBRATE.model_copy(update=calibrate),
    )


def taught_context(folder: Path, num_answers: int = 240, steepness: float = 4.0, **given: Any) -> Context:
    """300 clips of 30 videos, the first `num_answers` of them (in an order of their own) decided by two people.

    They like sharpness and dislike much motion and static shots; `exposure` is constant, `blur` was never scored.
    """
    recipe = given.pop("recipe", None) or recipe_of()
    workspace = Workspace(str(folder / "ws"))
    generator = np.random.default_rng(5)
    sharpness, motion = np.exp(generator.standard_normal((2, NUM_CLIPS)))
    static = generator.random(NUM_CLIPS) < 0.3
    add_clips(workspace, recipe, "film", range(NUM_CLIPS), sharpness, motion, static)
    felt = np.log(sharpness) - np.log(motion) - 1.5 * static + 0.2
    kept = generator.random(NUM_CLIPS) < 1 / (1 + np.exp(-steepness * felt))
    answered = generator.permutation(NUM_CLIPS)[:num_answers]
    add_verdicts(workspace, answered.tolist(), kept[answered].tolist(), **given)
    arguments = argparse.Namespace(apply=False, precision=None)
    return Context(recipe, workspace, arguments)


def add_clips(
    workspace: Workspace,
    recipe: Recipe,
    stem: str,
    numbers: range,
    sharpness: np.ndarray,
    motion: np.ndarray,
    static: np.ndarray,
) -> None:
    version, generator = versions(recipe.score), np.random.default_rng(numbers.start)
    clips, scores, vectors = [], [], []
    for row, number in enumerate(numbers):
        clip = clip_of(number, splitter_version(recipe.split))
        movement = "static shot" if static[row] else "pan left"
        said = {"sharpness": sharpness[row], "motion": motion[row], "exposure": 0.5, "camera_movement": 0.8}
        clips.append(clip)
        for scorer, value in said.items():
            failed = scorer == "sharpness" and number % 50 == 7
            label = movement if scorer == "camera_movement" else ""
            answer = (None, "no frames") if failed else (float(value), None)
            scores.append(Score(clip.clip_id, scorer, version[scorer], *answer, label=label))
        if number % 20:
            vector = generator.standard_normal(8)
            vector = tuple((vector / np.linalg.norm(vector)).tolist())
            vectors.append(Embedding(clip.clip_id, "perceptual_hash", version["perceptual_hash"], vector))
    workspace.table("clips").append(stem, clips)
    workspace.table("scores").append(stem, scores)
    workspace.table("embeddings").append(stem, vectors)


def add_verdicts(
    workspace: Workspace, numbers: list[int], kept: list[bool], simulated: bool = False, stem: str = "resolved"
) -> None:
    verdicts, annotations, tasks = [], [], []
    for number, keep in zip(numbers, kept, strict=True):
        clip_id, decision = f"{number:020x}", KEPT if keep else REJECTED
        people = [f"{'simulated-' if simulated else ''}{name}@localhost" for name in ("ann", "bob")]
        verdicts.append(HumanVerdict(clip_id, decision, "", 2, simulated, ", ".join(people), "majority"))
        tasks.append(PushedTask(clip_id, f"Dailies {stem}", "1", "audit" if number % 3 else "video: sharpness < 2"))
        for person in people:
            answers, key = json.dumps({"verdict": decision}), f"{stem} {clip_id} {person}"
            day = f"2026-11-{1 + number % 28:02}T10:00:00+00:00"
            annotations.append(
                Annotation(key, clip_id, person, simulated, False, answers, "{}", 3.0, day, stem, number)
            )
    workspace.table("human_verdicts").append(stem, verdicts)
    workspace.table("annotations").append(stem, annotations)
    workspace.table("tasks").append(stem, tasks)


def clip_of(number: int, splitter: str) -> Clip:
    span = (0, 100, 1, 25, 0.0, 4.0, 100)
    video = f"video-{number % NUM_VIDEOS:02}"
    return Clip(f"{number:020x}", video, f"{video}.mp4", *span, 1280, 720, 25.0, splitter)
