"""`dailies group`: embeddings -> groups. Near duplicates, concepts and weights of all clips, under one grouping digest.

    clips + crops + one score --> order, the best first --+
    embeddings, part by part --> float32 [N, D] ----------+--> group_clips --> one part of `groups`

A grouping is of a set of clips: its digest covers the settings, the embedder's version, the clips that have a vector
and their order. New clips or other settings are a new grouping, written beside the old ones; the same grouping is not
computed twice. Gates ask for the score `duplicate`, 0 or 1, which is written beside it. Arrays only, no object a clip,
and no Ray: it uses the cores of the machine where the verb runs.
"""

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.catalogue import Catalogue, read_catalogue
from curation.crop import crop_version
from curation.embedder import make_embedder
from curation.groups import Groups, best_first, group_clips
from curation.records import UserError, content_id
from curation.score import versions
from curation.scorer import make_scorer
from curation.split import splitter_version
from curation.tables import Workspace

if TYPE_CHECKING:
    from jobs.config import Context, Recipe

DUPLICATE = "duplicate"  # a score like any other for the gates: 1 for a clip that has a better twin
POINTERS = "groupings"  # folder of files that name the last grouping under some settings


@dataclass(frozen=True)
class Grouping:
    """What is about to be grouped; nothing of it is large but the catalogue."""

    digest: str
    embedder: str
    version: str
    catalogue: Catalogue
    clip_ids: pa.Array  # string [N] of the clips that have a vector, rising
    order: np.ndarray  # int64 [N], the best first


@dataclass(frozen=True)
class GroupTally:
    """The accounting of a grouping: every clip is kept, a duplicate, or has no vector."""

    clips: int
    kept: int
    duplicates: int
    without_embedding: int
    is_new: bool

    @property
    def holds(self) -> bool:
        return self.clips == self.kept + self.duplicates + self.without_embedding

    def __str__(self) -> str:
        text = (
            f"group: {self.clips} clips = {self.kept} kept + {self.duplicates} duplicates + "
            f"{self.without_embedding} without embedding"
        )
        return text if self.holds else f"{text}  DOES NOT HOLD"


def group(context: "Context") -> GroupTally:
    """Group the recipe's clips, unless that is done; prints what came out.

    Raises:
        UserError: no clip has a vector, or the recipe does not make such vectors.
    """
    grouping = _grouping(context)
    table = context.workspace.table("groups")
    if not len(grouping.clip_ids):
        raise UserError(
            f"no clip of this recipe has a vector of {grouping.embedder} {grouping.version}; run `dailies score` first"
        )
    is_new = grouping.digest not in table.stems()
    if is_new:
        vectors = _vectors(context, grouping)
        groups = group_clips(vectors, grouping.order, context.recipe.group)
        table.append_rows(grouping.digest, _rows(grouping, groups))
        context.workspace.table("scores").append_rows(f"{DUPLICATE}-{grouping.digest}", _scores(grouping, groups))
    context.workspace.write_bytes(grouping.digest.encode(), POINTERS, _pointer(context.recipe))
    columns = ["duplicate_of", "concept", "weight"]
    stored = _stored(context, grouping.digest, columns)
    rows = {name: stored.column(name).to_numpy() for name in columns}
    num_duplicates = int((rows["duplicate_of"] != "").sum())
    num_clips = len(grouping.catalogue)
    tally = GroupTally(
        num_clips, len(rows["concept"]) - num_duplicates, num_duplicates, num_clips - len(grouping.clip_ids), is_new
    )
    _print(rows, tally)
    return tally


def current_grouping(workspace: Workspace, recipe: "Recipe") -> str | None:
    """Digest of the last grouping under the recipe's settings, which is the version of the score `duplicate`."""
    name = _pointer(recipe)
    return workspace.read_bytes(POINTERS, name).decode() if workspace.exists(POINTERS, name) else None


def _pointer(recipe: "Recipe") -> str:
    version = versions(recipe.score).get(recipe.group.embedder, "")
    return f"{content_id(recipe.group.model_dump_json(), version, splitter_version(recipe.split))}.txt"


def _grouping(context: "Context") -> Grouping:
    settings, score = context.recipe.group, context.recipe.score
    options = score.options.get(settings.embedder, {})
    embedder = make_embedder(settings.embedder, options)
    if lacking := embedder.missing():
        raise UserError(f"cannot group: {settings.embedder} lacks {lacking}")
    quality = next((name for name in settings.prefer if name in score.scorers), "")
    scorer = make_scorer(quality, score.options.get(quality, {})) if quality else None
    if scorer and (lacking := scorer.missing()):
        raise UserError(f"cannot group: {quality}, which says which of two twins is kept, lacks {lacking}")
    answered = versions(score)
    if settings.embedder not in answered:
        raise UserError(
            f"cannot group: group.embedder is {settings.embedder!r}, but score.embedders has only "
            f"{', '.join(score.embedders) or 'none'}"
        )
    version = answered[settings.embedder]
    splitter = splitter_version(context.recipe.split)
    asked = {quality: answered[quality]} if quality else {}
    catalogue = read_catalogue(context.workspace, splitter, asked, crop_version(score.crop))
    has_vector = np.zeros(len(catalogue), bool)
    wanted = {"embedder": settings.embedder, "version": version}
    for part in context.workspace.table("embeddings").parts(["clip_id"], only=wanted):
        has_vector[catalogue.places(part.column("clip_id"))] = True
    places = np.flatnonzero(has_vector)
    clip_ids = catalogue.clip_ids.take(pa.array(places))
    order = _order(catalogue, places, quality)
    everything = pc.call_function(
        "binary_join", [pa.ListArray.from_arrays(pa.array([0, len(clip_ids)], pa.int32()), clip_ids), pa.scalar(",")]
    )
    digest = content_id(settings.model_dump_json(), version, everything[0].as_py(), order.astype("<i8").tobytes().hex())
    return Grouping(digest, settings.embedder, version, catalogue, clip_ids, order)


def _order(catalogue: Catalogue, places: np.ndarray, quality: str) -> np.ndarray:
    """Places among those with a vector, the best clip first."""
    known = {name: column.values[places] for name, column in catalogue.columns.items()}
    short_side_px, aspect = known["short_side_px"], known["aspect"]
    area_px = np.round(short_side_px**2 * np.maximum(aspect, 1 / aspect))
    return best_first(area_px, known[quality] if quality else np.zeros(len(places)), known["duration_s"])


def _vectors(context: "Context", grouping: Grouping) -> np.ndarray:
    """float32 [N, D] in the order of the clip ids; a few parts of the table in memory beside it."""
    vectors = np.empty((0, 0), np.float32)
    within, wanted = Catalogue(grouping.clip_ids, {}), {"embedder": grouping.embedder, "version": grouping.version}
    for rows in context.workspace.table("embeddings").parts(["clip_id", "vector"], only=wanted):
        places = within.find(rows.column("clip_id"))
        if not (places >= 0).any():
            continue
        flat = rows.column("vector").combine_chunks().flatten().to_numpy().reshape(rows.num_rows, -1)
        if not vectors.size:
            vectors = np.empty((len(grouping.clip_ids), flat.shape[1]), np.float32)
        vectors[places[places >= 0]] = flat[places >= 0]
    return vectors


def _rows(grouping: Grouping, groups: Groups) -> pa.Table:
    """The grouping as rows of `groups`, by clip id."""
    kept = groups.kept
    twins = grouping.clip_ids.take(pa.array(groups.duplicate_of, mask=kept)).fill_null("")
    return pa.table(
        {
            "clip_id": grouping.clip_ids,
            "grouping": pa.repeat(grouping.digest, len(kept)),
            "duplicate_of": twins,
            "similarity": groups.similarity.astype(np.float64),
            "concept": groups.concept,
            "weight": groups.weight,
        }
    )


def _scores(grouping: Grouping, groups: Groups) -> pa.Table:
    """Rows of `scores` that say 1 of a near duplicate and 0 of a clip without a better twin, for the gates."""
    size = len(groups.kept)
    return pa.table(
        {
            "clip_id": grouping.clip_ids,
            "scorer": pa.repeat(DUPLICATE, size),
            "version": pa.repeat(grouping.digest, size),
            "value": (~groups.kept).astype(np.float64),
            "error": pa.nulls(size, pa.string()),
            "label": pa.repeat("", size),
        }
    )


def _stored(context: "Context", digest: str, columns: list[str]) -> pa.Table:
    """Columns of a grouping that was written."""
    return pa.concat_tables(context.workspace.table("groups").parts(columns, only={"grouping": digest}))


def _print(rows: dict[str, np.ndarray], tally: GroupTally) -> None:
    is_kept = rows["duplicate_of"] == ""
    twins = len(set(rows["duplicate_of"][~is_kept]))
    print(f"group: {tally.duplicates} near duplicates of {twins} clips that are kept", flush=True)
    sizes = np.bincount(rows["concept"][is_kept])
    sizes = sizes[sizes > 0]
    print(f"group: {len(sizes)} concepts of {sizes.min()} to {sizes.max()} clips, median {np.median(sizes):g}")
    low, middle, high = np.quantile(rows["weight"][is_kept], (0.05, 0.5, 0.95))
    print(f"group: weights {low:.2f} (5%), {middle:.2f} (median), {high:.2f} (95%)")
    print(f"{tally}{'' if tally.is_new else '; nothing new'}", flush=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # everything is a setting of the recipe's [group]


def run(context: "Context") -> int:
    return 0 if group(context).holds else 1
