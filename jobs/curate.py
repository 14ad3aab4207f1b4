"""`dailies curate`: split and score in one decode: raw footage -> videos, clips, crops, scores, embeddings.

    listed files --one fused job--> clips with their scores --`score` for what is left--> every clip scored

An input of the fused job is a listed file, as for `split`, and the two share results and failures: what `split` has
done is not done again, only scored. Both end with their equation.
"""

import argparse
from functools import partial
from typing import TYPE_CHECKING

from curation.curate import curate_video
from curation.score import ScoreSettings, load_judges, missing_requirements
from curation.split import SplitSettings, missing_requirements as split_missing
from jobs import score
from jobs.cluster import joined, refuse_missing
from jobs.engine import Item, Outcome, Tally, report, run as run_job
from jobs.footage import list_footage
from jobs.split import rows_of, split_job

if TYPE_CHECKING:
    from jobs.config import Context


class CurateWorker:
    """Splits the one listed file of an item and scores its clips in the same decode."""

    def __init__(self, settings: SplitSettings, scoring: ScoreSettings) -> None:
        self.settings, self.judges = settings, load_judges(scoring)

    def __call__(self, item: Item) -> Outcome:
        (file,) = item.inputs.values()
        curated = curate_video(file.uri, self.settings, self.judges)
        rows = rows_of(file, curated.video, curated.clips, self.settings)
        return Outcome(rows | score.rows_of(curated.answers))


def curate(context: "Context") -> tuple[Tally, Tally]:
    """Do what is due of both; the tallies of `split` and of `score`."""
    recipe, workspace = context.recipe, context.workspace
    refuse_missing("curate", [*split_missing(recipe.split), *missing_requirements(recipe.score)])
    files = list_footage(recipe.footage)
    with joined():
        make_worker = partial(CurateWorker, recipe.split, recipe.score)
        job = split_job(files, workspace, recipe.split, make_worker, ("crops", "embeddings", "scores"))
        return run_job(job, workspace, recipe.engine), score.score(context)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # curate has no flags of its own


def run(context: "Context") -> int:
    return max([report(tally) for tally in curate(context)])
