"""`dailies collect`: pull people's answers, check every one against the screen, keep them, and resolve them.

    Label Studio --pull--> valid: `annotations` (appended, never edited) --resolve--> `human_verdicts`, `captions`
                           invalid: `failures`, with the reason and what was given

Pulling is by polling and incremental: only tasks touched since the newest answer we have, less a minute for answers
that were being written meanwhile. The resolved tables are a pure function of all annotations, written as one part that
replaces the last one. Ends with tasks = answered + waiting + skipped, and exits 1 where the server has another number
of tasks.
"""

import argparse
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from annotation.agreement import percent_agreement
from annotation.ballots import Standing, ballots, standing
from annotation.connection import Connection, stop_server
from annotation.project import SCREEN, AnnotationSettings
from annotation.resolve import resolve
from annotation.results import InvalidAnswer, RawAnswer, annotation_key, to_annotation, to_failure
from annotation.simulated import TASTES, answer
from curation.records import Annotation, Failure, UserError, content_id
from curation.tables import Workspace
from jobs.config import Context
from jobs.gates import current_values
from jobs.progress import Progress
from jobs.route import open_connection

OVERLAP_OF_PULLS = timedelta(minutes=1)
RESOLVED = "resolved"


@dataclass(frozen=True)
class Pulled:
    """What one pull brought."""

    new: list[Annotation]
    invalid: list[Failure]
    known: int

    def __str__(self) -> str:
        reasons = Counter(failure.reason for failure in self.invalid)
        named = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
        invalid = f"{len(self.invalid)} invalid{f' ({named})' if named else ''}"
        total = len(self.new) + len(self.invalid) + self.known
        return f"collect: {total} answers pulled = {len(self.new)} new + {self.known} known + {invalid}"


@dataclass(frozen=True)
class CollectTally:
    """The accounting of the tasks."""

    tasks: int
    on_server: int
    standings: Counter[Standing] = field(default_factory=Counter)

    @property
    def holds(self) -> bool:
        return self.tasks == self.on_server == self.standings.total()

    def __str__(self) -> str:
        parts = " + ".join(f"{self.standings[standing]} {standing.value}" for standing in Standing)
        text = f"collect: {self.tasks} tasks = {parts}"
        missing = (
            f"  DOES NOT HOLD: the server has {self.on_server} tasks; `dailies route` pushes what is missing there"
        )
        return text if self.holds else text + missing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--simulate", action="store_true", help="let the simulated annotators answer what waits, first")
    parser.add_argument("--stop-server", action="store_true", help="end the embedded Label Studio afterwards")


def run(context: Context) -> int:
    settings = context.recipe.annotation
    if not context.workspace.table("tasks").stems():
        print("collect: 0 tasks; `dailies route` has sent nothing to people", flush=True)
        return 0
    if getattr(context.args, "simulate", False):
        answer_as_simulated(context)
    with open_connection(context) as connection:
        print(keep_answers(context.workspace, connection), flush=True)
        tally = resolve_answers(context.workspace, connection, settings)
    print(tally, flush=True)
    if settings.reviewers == "simulated" or getattr(context.args, "stop_server", False):
        stop_server(context.workspace)  # nobody is at the screen; the next verb that needs it starts it in 3 s
    return 0 if tally.holds else 1


def answer_as_simulated(context: Context) -> int:
    """Let the two simulated annotators answer every task that waits, with their own tokens. Returns exit code 0.

    Raises:
        UserError: the recipe says that people answer, or the server is not the embedded one.
    """
    settings = context.recipe.annotation
    if settings.reviewers != "simulated":
        raise UserError(
            f"annotation.reviewers is {settings.reviewers!r}: simulated answers would mix with people's; "
            "set it to simulated"
        )
    if not context.workspace.table("tasks").stems():
        return 0
    scores, done, wanted = current_values(context), 0, settings.answers_per_clip
    with open_connection(context) as connection:
        project = connection.project
        num_tasks = connection.client.num_tasks(project)
        with Progress("simulated annotators", total=num_tasks * wanted, unit="answers") as progress:
            for taste in TASTES[:wanted]:
                with connection.as_member(taste.email) as client:
                    done += answer(client, project, taste, scores, wanted, settings.seed, progress.advance)
    print(f"simulated annotators: {done} answers given to {num_tasks} tasks", flush=True)
    return 0


def how_to_log_in(context: Context) -> str:
    """Where people answer and as whom, for the terminal; starts the embedded server if it does not run."""
    with open_connection(context) as connection:
        return f"Label Studio: {connection.login()}"


def keep_answers(workspace: Workspace, connection: Connection) -> Pulled:
    """Pull what is new, append valid answers to `annotations` and invalid ones to `failures`."""
    title, table = connection.project.title, workspace.table("annotations")
    kept = [row for row in table.records() if row.project == title]
    known = {row.annotation_key for row in kept}
    known |= {row.input_id for row in workspace.table("failures").records() if row.job == "collect"}
    with Progress("collect", total=None, unit="answers") as progress:
        pulled = _sort_out(connection, connection.client.pull(connection.project, _since(kept)), known, progress)
    table.append(f"answers-{content_id(*(row.annotation_key for row in pulled.new))}", pulled.new)
    failed = [failure.input_id for failure in pulled.invalid]
    workspace.table("failures").append(f"collect-{content_id(*failed)}", pulled.invalid)
    return pulled


def resolve_answers(workspace: Workspace, connection: Connection, settings: AnnotationSettings) -> CollectTally:
    """Write verdicts and captions of all decided clips, and count where each of the project's tasks stands.

    A clip's answers count whichever project they were given in; a task waits for the answers of its own project.
    """
    title, wanted = connection.project.title, settings.answers_per_clip
    annotations = workspace.table("annotations").records()
    verdicts, captions = resolve(annotations, wanted)
    workspace.table("human_verdicts").append(RESOLVED, verdicts)
    workspace.table("captions").append(RESOLVED, captions)
    ours = [row for row in annotations if row.project == title]
    agreement = percent_agreement(ours, "verdict")
    if agreement.share is not None:
        print(f"collect: {agreement.share:.0%} of {agreement.num_pairs} pairs of verdicts agree", flush=True)
    votes = ballots(ours)
    clip_ids = {task.clip_id for task in workspace.table("tasks").records() if task.project == title}
    standings = Counter(standing(votes.get(clip_id, []), wanted) for clip_id in clip_ids)
    return CollectTally(len(clip_ids), connection.client.num_tasks(connection.project), standings)


def _sort_out(connection: Connection, raws: Iterable[RawAnswer], known: set[str], progress: Progress) -> Pulled:
    server, title = connection.server, connection.project.title
    new, invalid, num_known = [], [], 0
    for raw in raws:
        progress.advance()
        if annotation_key(server, title, raw) in known:
            num_known += 1
            continue
        try:
            new.append(to_annotation(SCREEN, server, title, raw))
        except InvalidAnswer as error:
            invalid.append(to_failure(SCREEN, server, title, raw, error))
    return Pulled(new, invalid, num_known)


def _since(kept: list[Annotation]) -> datetime | None:
    if not kept:
        return None
    return max(datetime.fromisoformat(row.updated_at) for row in kept) - OVERLAP_OF_PULLS
