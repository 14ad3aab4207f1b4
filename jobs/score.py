"""`dailies score`: clips -> scores. An input is a clip; its result is one row per wanted scorer, value or error.

Work goes out by video, so that one sequential decode serves all of its clips and all scorers. Adding a scorer makes
only that scorer due. A clip whose frames do not decode is a failure; a scorer that fails on readable frames is a
`Score` with an error, which the gates send to a person.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from curation.records import Clip, Score, content_id
from curation.score import ScoreSettings, load_scorers, missing_requirements, score_clips, scorer_versions
from curation.tables import Workspace
from jobs.cluster import joined, refuse_missing
from jobs.engine import Item, Job, Outcome, Tally, report, run as run_job

if TYPE_CHECKING:
    from jobs.config import Context


class ScoreWorker:
    """Holds the loaded scorers; an item is one video's clips and the scorers that they lack."""

    def __init__(self, settings: ScoreSettings) -> None:
        self.scorers = load_scorers(settings)

    def __call__(self, item: Item) -> Outcome:
        uri, names = item.shared
        wanted = {name: self.scorers[name] for name in names}
        clips = sorted(item.inputs.values(), key=lambda clip: (clip.start_pts, clip.clip_id))
        scores: list[Score] = []
        failures: list[tuple[str, str, str]] = []
        for clip, answer in score_clips(uri, clips, wanted):
            if isinstance(answer, Exception):
                failures.append((clip.clip_id, getattr(answer, "reason", type(answer).__name__), str(answer)))
            else:
                scores += answer
        return Outcome({"scores": scores}, failures)


def present_scorers(workspace: Workspace, versions: Mapping[str, str]) -> dict[str, set[str]]:
    """Clip id -> names of the scorers whose current version has answered."""
    present: dict[str, set[str]] = defaultdict(set)
    for clip_id, scorer, version in workspace.table("scores").distinct():
        if versions.get(scorer) == version:
            present[clip_id].add(scorer)
    return present


@dataclass(frozen=True)
class _Finished:
    workspace: Workspace
    versions: Mapping[str, str]

    def __call__(self) -> set[str]:
        present = present_scorers(self.workspace, self.versions)
        return {clip_id for clip_id, names in present.items() if names == self.versions.keys()}


def score_job(clips: Iterable[Clip], workspace: Workspace, settings: ScoreSettings) -> Job:
    """The job that scores these clips with every scorer of the settings."""
    versions = scorer_versions(settings)
    present = present_scorers(workspace, versions)
    by_video: dict[tuple[str, tuple[str, ...]], dict[str, Clip]] = defaultdict(dict)
    for clip in clips:
        lacking = versions.keys() - present.get(clip.clip_id, set())
        by_video[clip.uri, tuple(sorted(lacking or versions))][clip.clip_id] = clip
    return Job(
        name="score",
        unit="clips",
        digest=content_id(*sorted(versions.items())),
        tables=("scores",),
        items=[Item(uri.rsplit("/", 1)[-1], group, (uri, names)) for (uri, names), group in sorted(by_video.items())],
        make_worker=partial(ScoreWorker, settings),
        finished=_Finished(workspace, versions),
    )


def current_clips(context: "Context") -> list[Clip]:
    """The clips of the recipe's own splitter; clips of earlier splitters stay in the table but are no longer work."""
    from curation.split import splitter_version

    splitter = splitter_version(context.recipe.split)
    return [clip for clip in context.workspace.table("clips").records() if clip.splitter == splitter]


def score(context: "Context") -> Tally:
    """Score what is due; see `run`."""
    settings = context.recipe.score
    refuse_missing("score", missing_requirements(settings))
    with joined():
        job = score_job(current_clips(context), context.workspace, settings)
        return run_job(job, context.workspace, context.recipe.engine)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # score has no flags of its own yet


def run(context: "Context") -> int:
    return report(score(context))
