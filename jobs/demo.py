"""`dailies demo`: every verb in order on one workspace, with its own rendered footage or yours.

    footage -> curate -> group -> route -> Label Studio -> collect -> pack -> train -> generate -> report

Each step does only what is due, so an interrupted demo goes on where it stopped when it is run again. With
`--reviewers me` it stops after `route`, tells where to log in, and goes on when it is run with `--after-review`: to the
full pass, and when that is answered as well, to the end.
"""

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from curation.records import UserError
from jobs import collect, curate, generate, group, pack, report, route, train
from jobs.cluster import joined
from jobs.demo_footage import num_frames, render
from jobs.progress import Progress

if TYPE_CHECKING:
    from jobs.config import Context

FOOTAGE, SEED = "footage", 0


@dataclass(frozen=True)
class Step:
    """One verb of the demo, and what it is in plain words."""

    name: str
    says: str
    run: Callable[["Context"], int]


ROUTE = Step("route", "judge, and send what needs a person to Label Studio", route.run)
BEFORE_REVIEW = (
    Step("curate", "cut the footage into clips and score them, in one decode", curate.run),
    Step("group", "find near duplicates and concepts", group.run),
    ROUTE,
)
REVIEW = Step("review", "two simulated annotators answer through the server's API", collect.answer_as_simulated)
COLLECT = Step("collect", "pull, check and resolve the answers", collect.run)
AFTER_REVIEW = (
    COLLECT,
    Step("pack", "write the chosen clips into shards", pack.run),
    Step("train", "walk the training stages", train.run),
    Step("generate", "make videos from noise and a prompt", generate.run),
    Step("report", "show what became of everything", report.run),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--footage", metavar="DIR_OR_URI", help="your own videos instead of the rendered ones")
    parser.add_argument("--reviewers", choices=("simulated", "me"), help="who answers in Label Studio")
    parser.add_argument("--after-review", action="store_true", help="go on with what has been answered so far")
    for verb in (curate, group, route, collect, pack, train, generate, report):
        verb.add_arguments(parser)


def steps_of(reviewers: str, after_review: bool) -> tuple[Step, ...]:
    """The steps of one sitting: people's answers divide the demo in two, simulated annotators do not."""
    if after_review:
        return AFTER_REVIEW
    return (*BEFORE_REVIEW, REVIEW, *AFTER_REVIEW) if reviewers == "simulated" else BEFORE_REVIEW


def run(context: "Context") -> int:
    context = _with_choices(context)
    steps = steps_of(context.recipe.annotation.reviewers, context.args.after_review)
    started_s = time.monotonic()
    with joined(), ThreadPoolExecutor(max_workers=1) as aside:
        server = aside.submit(_warm_up, context) if ROUTE in steps else None
        for number, step in enumerate(steps, 1):
            print(f"\n[{number}/{len(steps)}] {step.name}: {step.says}", flush=True)
            step_started_s = time.monotonic()
            if step is ROUTE and server is not None:
                server.result()
            code = step.run(context)
            if code:
                print(f"{step.name} ended with exit code {code}; run the demo again to go on from here", flush=True)
                return code
            print(f"{step.name} took {time.monotonic() - step_started_s:.0f} s", flush=True)
            if step is COLLECT and (waiting := collect.untouched_full_pass(context)):
                print(
                    f"\n{waiting} clips were kept in the fast pass and wait for ratings and captions in the full pass"
                )
                print(f"{collect.how_to_log_in(context)}\nThen go on with the same command.", flush=True)
                return 0
    print(f"\ndemo took {time.monotonic() - started_s:.0f} s", flush=True)
    if steps == BEFORE_REVIEW:
        print(collect.how_to_log_in(context))
        print("Answer the first of these, then go on: the same command with AFTER_REVIEW=1", flush=True)
    return 0


def _warm_up(context: "Context") -> None:
    """Start Label Studio; beside the first steps, since its first start takes half a minute of making tables."""
    with route.open_connection(context):
        pass


def _with_choices(context: "Context") -> "Context":
    """The context with the demo's flags worked into its recipe, and with footage to work on."""
    recipe, args = context.recipe, context.args
    if args.reviewers:
        recipe = recipe.model_copy(
            update={"annotation": recipe.annotation.model_copy(update={"reviewers": args.reviewers})}
        )
    path = args.footage or recipe.footage.path
    if not path:
        folder = context.workspace.local_path(FOOTAGE)
        _render(folder, recipe.footage.rendered_films)
        path = str(folder)
    recipe = recipe.model_copy(update={"footage": recipe.footage.model_copy(update={"path": path})})
    return replace(context, recipe=recipe)


def _render(folder: Path, num_films: int | None) -> None:
    try:
        with Progress("render footage", num_frames(SEED, num_films), "frames") as progress:
            render(folder, SEED, progress.advance, num_films)
    except OSError as error:
        raise UserError(f"cannot render the demo's footage into {folder}: {error}") from error
