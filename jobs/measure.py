"""`dailies measure`: what machines can say of generated videos, VAEs and checkpoints; beside people, never instead.

    samples, studies, training samples --scorers of curation--> a row per video --+
    finished VAE stages --held-out clips and back--> psnr_db, ssim, lpips --------+--> measurements --> report
    metrics.jsonl --> held-out loss at each noise level, per checkpoint ----------+
                      means per checkpoint and system, dynamic degree ------------+

Everything that the workspace holds is measured; running it again measures what is new. Each job ends with the equation
inputs = results + failures(reason) + pending.
"""

import argparse
from typing import TYPE_CHECKING

from pyarrow import fs as pafs

from curation.score import missing_requirements
from curation.tables import Workspace
from jobs.cluster import joined, refuse_missing
from jobs.engine import Job, report, run as run_job
from jobs.measure_films import CHECKPOINTS, film_job, film_rows, film_scores, find_films
from jobs.measure_summary import summarise, training_measurements, write_anew
from jobs.measure_vae import find_vaes, vae_job, vae_measures

if TYPE_CHECKING:
    from jobs.config import Context


def measure(context: "Context") -> int:
    """Measure what is due, then write the means anew; the exit code is that of the worst job.

    Raises:
        UserError: a scorer lacks weights, or weights of LPIPS are not where the recipe says.
    """
    workspace, recipe = context.workspace, context.recipe
    scores, how = film_scores(recipe.measure, recipe.score), vae_measures(recipe.measure, recipe.train.lpips)
    films, run_ids = find_films(workspace), trained_runs(workspace)
    if films:
        refuse_missing("measure", missing_requirements(scores))
    jobs = [film_job(films, workspace, scores)] if films else []
    if vaes := find_vaes(workspace, run_ids):
        jobs.append(vae_job(vaes, workspace, how))
    code = _run(jobs, context)
    means = summarise(films, film_rows(workspace, scores), recipe.measure) if films else []
    num_rows = write_anew(workspace, "means of videos", means)
    num_groups = len({row.subject for row in means})
    num_held_out = sum(
        write_anew(workspace, f"training {run_id}", training_measurements(workspace, run_id)) for run_id in run_ids
    )
    print(
        f"measure: {num_rows} means of {num_groups} checkpoints and systems, {num_held_out} held-out values of "
        f"{len(run_ids)} training runs",
        flush=True,
    )
    return code


def _run(jobs: list[Job], context: "Context") -> int:
    """The worst exit code; a job of which nothing is due only counts."""
    if not jobs:
        print("measure: there are no generated videos and no trained VAEs; run `dailies generate` or `dailies train`")
        return 0
    with joined():
        return max(report(run_job(job, context.workspace, context.recipe.engine)) for job in jobs)


def trained_runs(workspace: Workspace) -> list[str]:
    """Runs with settings and metrics, in order of their id."""
    infos = workspace.fs.get_file_info(pafs.FileSelector(workspace.path(CHECKPOINTS), allow_not_found=True))
    names = sorted(info.base_name for info in infos if info.type == pafs.FileType.Directory)
    files = ("run.json", "metrics.jsonl")
    return [name for name in names if all(workspace.exists(CHECKPOINTS, name, file) for file in files)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # measure has no flags of its own


def run(context: "Context") -> int:
    return measure(context)
