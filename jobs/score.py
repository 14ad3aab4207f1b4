"""`dailies score`: clips -> scores. An input is a clip; its result is one row per wanted scorer, value or error.

Work goes out by video, so that one sequential decode serves all of its clips and all scorers. Adding a scorer makes
only that scorer due. A clip whose frames do not decode is a failure; a scorer that fails on readable frames is a
`Score` with an error, which the gates send to a person.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from curation.crop import crop_version
from curation.records import Clip, Crop, UserError, content_id
from curation.score import Answers, ScoreSettings, load_judges, missing_requirements, score_clips, versions
from curation.tables import Workspace, having_texts
from jobs.cluster import joined, refuse_missing
from jobs.engine import Item, Job, Outcome, Tally, report, run as run_job
from jobs.show import show

if TYPE_CHECKING:
    from jobs.config import Context, Recipe


@dataclass(frozen=True)
class Lacking:
    """The shared part of an item: a video, and the scorers and embedders that have not answered for its clips."""

    uri: str
    names: tuple[str, ...]


class ScoreWorker:
    """Holds everything that looks at clips; an item is one video's clips."""

    def __init__(self, settings: ScoreSettings) -> None:
        self.judges = load_judges(settings)

    def __call__(self, item: Item) -> Outcome:
        clips = sorted(item.inputs.values(), key=lambda clip: (clip.start_pts, clip.clip_id))
        answers: list[Answers] = []
        failures: list[tuple[str, str, str]] = []
        for clip, answer in score_clips(item.shared.uri, clips, self.judges.only(item.shared.names)):
            if isinstance(answer, Exception):
                failures.append((clip.clip_id, getattr(answer, "reason", type(answer).__name__), str(answer)))
            else:
                answers.append(answer)
        return Outcome(rows_of(answers), failures)


def rows_of(answers: Iterable[Answers]) -> dict[str, list[Any]]:
    """What clips became, by table."""
    rows: dict[str, list[Any]] = {"crops": [], "embeddings": [], "scores": []}
    for answer in answers:
        rows["crops"].append(answer.crop)
        rows["embeddings"] += answer.embeddings
        rows["scores"] += answer.scores
    return rows


def answered(workspace: Workspace, settings: ScoreSettings) -> dict[str, set[str]]:
    """Scorer or embedder -> ids of the clips for which its current version has answered."""
    wanted = versions(settings)
    found: dict[str, set[str]] = {name: set() for name in wanted}
    for table, column in (("scores", "scorer"), ("embeddings", "embedder")):
        for part in workspace.table(table).parts(["clip_id", column, "version"], encoded=[column, "version"]):
            for name, version in wanted.items():
                mine = having_texts(part, {column: name, "version": version})
                found[name].update(mine["clip_id"].to_pylist())
    return found


@dataclass(frozen=True)
class _Finished:
    workspace: Workspace
    settings: ScoreSettings

    def __call__(self) -> set[str]:
        return set.intersection(*answered(self.workspace, self.settings).values())


def score_job(clips: Iterable[Clip], workspace: Workspace, settings: ScoreSettings) -> Job:
    """The job that answers for these clips with every scorer and embedder of the settings."""
    present = answered(workspace, settings)
    by_video: dict[tuple[str, tuple[str, ...]], dict[str, Clip]] = defaultdict(dict)
    for clip in clips:
        lacking = tuple(sorted(name for name, clip_ids in present.items() if clip.clip_id not in clip_ids))
        by_video[clip.uri, lacking or tuple(sorted(present))][clip.clip_id] = clip
    return Job(
        name="score",
        unit="clips",
        digest=content_id(*sorted(versions(settings).items())),
        tables=("crops", "embeddings", "scores"),
        items=[
            Item(uri.rsplit("/", 1)[-1], group, Lacking(uri, names)) for (uri, names), group in sorted(by_video.items())
        ],
        make_worker=partial(ScoreWorker, settings),
        finished=_Finished(workspace, settings),
    )


def current_clips(context: "Context") -> list[Clip]:
    """The clips of the recipe's own splitter; clips of earlier splitters stay in the table but are no longer work."""
    from curation.split import splitter_version

    splitter = splitter_version(context.recipe.split)
    return [clip for clip in context.workspace.table("clips").records() if clip.splitter == splitter]


def current_crops(context: "Context") -> dict[str, Crop]:
    """Clip id -> its crop under the recipe's settings, for the clips of which something is cut off."""
    return {clip_id: crop for clip_id, crop in all_crops(context.workspace, context.recipe).items() if crop.reason}


def all_crops(workspace: Workspace, recipe: "Recipe") -> dict[str, Crop]:
    """Clip id -> its crop under the recipe's settings, whole pictures too."""
    version = crop_version(recipe.score.crop)
    return {crop.clip_id: crop for crop in workspace.table("crops").records() if crop.version == version}


def score(context: "Context") -> Tally:
    """Score what is due; see `run`."""
    settings = context.recipe.score
    refuse_missing("score", missing_requirements(settings))
    with joined():
        job = score_job(current_clips(context), context.workspace, settings)
        return run_job(job, context.workspace, context.recipe.engine)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scorer", metavar="NAME", help="run only this scorer, on one clip, and print what it says")
    parser.add_argument("--clip", metavar="ID", help="the clip for --scorer; the beginning of an id is enough")
    parser.add_argument("--show", action="store_true", help="with --scorer: also write what it saw as a picture")


def run(context: "Context") -> int:
    args = context.args
    if not (args.scorer or args.clip or args.show):
        return report(score(context))
    if not (args.scorer and args.clip):
        raise UserError("--scorer NAME and --clip ID go together, and --show needs both; without them all is scored")
    show(context, args.scorer, args.clip, args.show)
    return 0
