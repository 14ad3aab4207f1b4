"""Fitted models of `suitability` in a workspace: which one is current, and its scores for clips that have none yet.

    calibrations/<digest>.model.json   the model as numbers;   <digest>.json, .md, .png: its card (calibration_card.py)
    calibrations/<digest>.committee.json   small models of resampled answers: where they differ, `route` asks first
    calibrations/<inputs>.txt          the digest of the last model fitted under these scorers, vectors, splitter, crop
        --> rows of `scores`: scorer "suitability", version <digest>

A model's inputs are part of the pointer's name, so a recipe with another scorer version finds no model rather than one
that was taught on other numbers; and one fitted on simulated answers is found only by recipes that allow those.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from annotation.information import learnable_bits
from annotation.suitability import SUITABILITY, Classes, Features, Model
from curation.catalogue import FACTS, Catalogue, State
from curation.crop import crop_version
from curation.records import UserError, content_id
from curation.score import ScoreSettings, scorer_versions, versions
from curation.split import splitter_version
from curation.tables import Workspace

if TYPE_CHECKING:
    from jobs.config import Recipe

FOLDER = "calibrations"
CLIPS_PER_CHUNK = 50_000


def current_calibration(workspace: Workspace, recipe: "Recipe") -> str | None:
    """Digest of the last model under the recipe's scorers, which is the version of the score `suitability`."""
    name = _pointer(recipe)
    return workspace.read_bytes(FOLDER, name).decode() if workspace.exists(FOLDER, name) else None


def point_at(workspace: Workspace, recipe: "Recipe", digest: str) -> None:
    """Make a model the current one."""
    workspace.write_bytes(digest.encode(), FOLDER, _pointer(recipe))


def read_model(workspace: Workspace, digest: str) -> Model:
    return Model.from_json(workspace.read_bytes(FOLDER, f"{digest}.model.json"))


def write_model(workspace: Workspace, model: Model) -> None:
    workspace.write_bytes(model.to_json().encode(), FOLDER, f"{model.digest}.model.json")


def write_committee(workspace: Workspace, digest: str, members: Sequence[Model]) -> None:
    """Keep the small models beside the one they differ about, for `information_at`."""
    text = f"[{','.join(member.to_json() for member in members)}]"
    workspace.write_bytes(text.encode(), FOLDER, f"{digest}.committee.json")


def information_at(
    workspace: Workspace, recipe: "Recipe", catalogue: Catalogue, places: np.ndarray
) -> np.ndarray | None:
    """What an answer about each of these clips would teach, 0 to 1 [N], by the current model's committee.

    None where people have taught nothing yet.
    """
    name = f"{current_calibration(workspace, recipe)}.committee.json"
    if not workspace.exists(FOLDER, name):
        return None
    members = [Model.from_json(json.dumps(each)) for each in json.loads(workspace.read_bytes(FOLDER, name))]
    bits = np.zeros(len(places))
    for start in range(0, len(places), CLIPS_PER_CHUNK):
        part = slice(start, start + CLIPS_PER_CHUNK)
        vectors = vectors_at(workspace, recipe, catalogue, places[part])
        features = features_at(catalogue, recipe.score, places[part], vectors)
        bits[part] = learnable_bits(np.stack([member.chance(features) for member in members]))
    return bits


def embedder_of(recipe: "Recipe") -> tuple[str, str] | None:
    """Name and version of the embedder whose vectors are features; None for none.

    Raises:
        UserError: calibrate.embedder names one that the recipe does not run.
    """
    asked, known = recipe.calibrate.embedder, recipe.score.embedders
    name = recipe.group.embedder if asked is None else asked
    if asked and name not in known:
        raise UserError(
            f"calibrate.embedder is {asked!r}, but score.embedders has only {', '.join(known) or 'none'}; "
            'add it there, or set it to "" for none'
        )
    return (name, versions(recipe.score)[name]) if name in known else None


def features_at(catalogue: Catalogue, score: ScoreSettings, places: np.ndarray, vectors: np.ndarray | None) -> Features:
    """Scores and facts of the clips at these places; a class that a scorer names counts as well as its confidence."""
    names = (*dict.fromkeys(score.scorers), *FACTS)
    columns = [catalogue.columns[name] for name in names]
    values = np.column_stack([column.values[places] for column in columns])
    classes = {
        name: Classes(column.labels[places], column.classes)
        for name, column in zip(names, columns, strict=True)
        if column.labels is not None
    }
    return Features(names, values, classes, vectors)


def vectors_at(workspace: Workspace, recipe: "Recipe", catalogue: Catalogue, places: np.ndarray) -> np.ndarray | None:
    """float32 [N, D] of the clips at these places, NaN rows where there is none; None where no clip has one."""
    row_of = np.full(len(catalogue), -1)
    row_of[places] = np.arange(len(places))
    vectors = None
    for at, given in _vector_parts(workspace, recipe, catalogue):
        wanted = row_of[at] >= 0
        if wanted.any():
            if vectors is None:
                vectors = np.full((len(places), given.shape[1]), np.nan, np.float32)
            vectors[row_of[at[wanted]]] = given[wanted]
    return vectors


def write_scores(workspace: Workspace, recipe: "Recipe", catalogue: Catalogue, model: Model) -> tuple[int, int, int]:
    """Rows for clips without one under this model: (written, there already, waiting for any score at all)."""
    digest = model.digest
    due = np.ones(len(catalogue), bool)
    for part in workspace.table("scores").parts(["clip_id"], only={"scorer": SUITABILITY, "version": digest}):
        due[catalogue.places(part.column("clip_id"))] = False
    there = int((~due).sum())
    scored = np.zeros(len(catalogue), bool)
    for name in dict.fromkeys(recipe.score.scorers):
        scored |= catalogue.columns[name].states != State.MISSING
    waiting = int((due & ~scored).sum())
    due &= scored
    chances = np.zeros(len(catalogue))
    for places, vectors in _chunks(workspace, recipe, catalogue, due.copy()):
        chances[places] = model.chance(features_at(catalogue, recipe.score, places, vectors))
    places = np.flatnonzero(due)
    if len(places):
        rows = _rows(catalogue, places, chances, digest)
        ids = "".join(rows.column("clip_id").to_pylist())
        stem = f"{SUITABILITY}-{digest}-{hashlib.sha256(ids.encode()).hexdigest()[:12]}"
        workspace.table("scores").append_rows(stem, rows)
    return len(places), there, waiting


def _pointer(recipe: "Recipe") -> str:
    score, calibrate = recipe.score, recipe.calibrate
    inputs = (sorted(scorer_versions(score).items()), embedder_of(recipe), splitter_version(recipe.split))
    return f"{content_id(*inputs, crop_version(score.crop), calibrate.allow_simulated)}.txt"


def _chunks(
    workspace: Workspace, recipe: "Recipe", catalogue: Catalogue, due: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Places of due clips with their vectors, part by part, then of those without; `due` is used up."""
    for at, given in _vector_parts(workspace, recipe, catalogue):
        at, first = np.unique(at, return_index=True)
        wanted = due[at]
        if wanted.any():
            due[at[wanted]] = False
            yield at[wanted], given[first][wanted]
    left = np.flatnonzero(due)
    for start in range(0, len(left), CLIPS_PER_CHUNK):
        yield left[start : start + CLIPS_PER_CHUNK], None


def _vector_parts(
    workspace: Workspace, recipe: "Recipe", catalogue: Catalogue
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Places in the catalogue and vectors, a part of the table at a time."""
    embedder = embedder_of(recipe)
    if embedder is None:
        return
    wanted = {"embedder": embedder[0], "version": embedder[1]}
    for part in workspace.table("embeddings").parts(["clip_id", "vector"], only=wanted):
        places = catalogue.find(part.column("clip_id"))
        if (places >= 0).any():
            flat = part.column("vector").combine_chunks().flatten().to_numpy().reshape(part.num_rows, -1)
            yield places[places >= 0], flat[places >= 0]


def _rows(catalogue: Catalogue, places: np.ndarray, chances: np.ndarray, digest: str) -> pa.Table:
    size = len(places)
    return pa.table(
        {
            "clip_id": catalogue.clip_ids.take(pa.array(places)),
            "scorer": pa.repeat(SUITABILITY, size),
            "version": pa.repeat(digest, size),
            "value": chances[places],
            "error": pa.nulls(size, pa.string()),
            "label": pa.repeat("", size),
        }
    )
