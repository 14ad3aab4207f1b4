"""`dailies collect`: pull people's answers, check every one against the screen, keep them, and resolve them.

    Label Studio --pull--> valid: `annotations` (appended, never edited) --resolve--> `human_verdicts`, `captions`
                           invalid: `failures`, with the reason and what was given
                           gone from the server: `withdrawals`
    kept in the fast pass --> pushed to the full pass

Pulling is by polling. A full pull (a snapshot, 2 ms an answer) also sees which answers were deleted; an incremental one
asks only for tasks touched since the newest answer we have, less a minute for answers that were being written then.
Full is the rule up to `RECONCILE_UP_TO` tasks, above that `--full` asks for it. The resolved tables are a pure function
of all annotations, written as one part that replaces the last one. Ends with tasks = answered + waiting + skipped for
each pass, and exits 1 where the server has another number of tasks.

`--every 600 --webhook` also polls when Label Studio says that somebody answered; where it may not say so, polling goes
on alone. The embedded one may if it was started with `annotation.server.webhooks = true`.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from annotation.agreement import percent_agreement
from annotation.assignment import PlanTally, compare
from annotation.ballots import Standing, answer_rows, standings, withdrawn_keys
from annotation.connection import Connection, Desk, stop_server
from annotation.gold import known_verdicts, load_gold
from annotation.passes import Passed, resolve_passes
from annotation.project import FAST, AnnotationSettings
from annotation.results import InvalidAnswer, RawAnswer, annotation_key, to_annotation, to_failure
from annotation.simulated import TASTES, answer
from annotation.webhook import address_of, hung, registered
from curation.records import Annotation, Failure, UserError, content_id
from curation.tables import Withdrawal, Workspace
from jobs.config import Context
from jobs.gates import current_values
from jobs.progress import Progress
from jobs.route import Routed, RouteTally, open_connection, push

OVERLAP_OF_PULLS = timedelta(minutes=1)
RESOLVED = "resolved"
RECONCILE_UP_TO = 2000  # tasks of a project; 4 s


@dataclass(frozen=True)
class Pulled:
    """What one pull brought."""

    new: list[Annotation]
    invalid: list[Failure]
    known: int
    withdrawn: list[Withdrawal] = field(default_factory=list)

    def __str__(self) -> str:
        reasons = Counter(failure.reason for failure in self.invalid)
        named = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
        invalid = f"{len(self.invalid)} invalid{f' ({named})' if named else ''}"
        total = len(self.new) + len(self.invalid) + self.known
        gone = sum(row.gone for row in self.withdrawn)
        back = len(self.withdrawn) - gone
        changed = f"; {gone} of those we had are gone from the server" if gone else ""
        changed += f"; {back} that were gone are back" if back else ""
        return f"collect: {total} answers pulled = {len(self.new)} new + {self.known} known + {invalid}{changed}"


@dataclass(frozen=True)
class CollectTally:
    """The accounting of the tasks."""

    tasks: int
    on_server: int
    standings: Counter[Standing] = field(default_factory=Counter)
    screen: str = ""

    @property
    def holds(self) -> bool:
        return self.tasks == self.on_server == self.standings.total()

    def __str__(self) -> str:
        parts = " + ".join(f"{self.standings[standing]} {standing.value}" for standing in Standing)
        text = f"collect{f', {self.screen} pass' if self.screen else ''}: {self.tasks} tasks = {parts}"
        missing = (
            f"  DOES NOT HOLD: the server has {self.on_server} tasks; `dailies route` pushes what is missing there"
        )
        return text if self.holds else text + missing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--simulate", action="store_true", help="let the simulated annotators answer what waits, first")
    parser.add_argument("--every", type=float, default=0, metavar="SECONDS", help="go on collecting until Ctrl-C")
    parser.add_argument(
        "--webhook",
        nargs="?",
        const="",
        metavar="[HOST:]PORT",
        help="with --every: have Label Studio call here when somebody answers, and poll then as well",
    )
    parser.add_argument("--full", action="store_true", help="pull everything and look for answers that were deleted")
    parser.add_argument("--stop-server", action="store_true", help="end the embedded Label Studio afterwards")


def run(context: Context) -> int:
    settings, every_s = context.recipe.annotation, getattr(context.args, "every", 0)
    webhook = getattr(context.args, "webhook", None)
    if webhook is not None and not every_s:
        raise UserError("--webhook wakes a run that goes on: give --every SECONDS as well, e.g. --every 600")
    if not context.workspace.table("tasks").stems():
        print("collect: 0 tasks; `dailies route` has sent nothing to people", flush=True)
        return 0
    if getattr(context.args, "simulate", False):
        answer_as_simulated(context)

    def poll() -> int:
        with open_connection(context) as connection:
            tallies, promoted = collect(context, connection)
        for tally in tallies:
            print(tally, flush=True)
        return 0 if all(tally.holds for tally in tallies) and (promoted is None or not promoted.failed) else 1

    if webhook is None:
        code = repeat(poll, every_s)
    else:
        with woken(context, *address_of(webhook)) as wait:
            code = repeat(poll, every_s, wait)
    if settings.reviewers == "simulated" or getattr(context.args, "stop_server", False):
        stop_server(context.workspace)  # nobody is at the screen; the next verb that needs it starts it in 3 s
    return code


def repeat(poll: Callable[[], int], every_s: float, wait: Callable[[float], None] = time.sleep) -> int:
    """Poll once, or with `every_s` until somebody interrupts. Returns the last exit code."""
    code = poll()
    try:
        while every_s:
            print(f"collect: again in {every_s:g} s; Ctrl-C ends it, nothing is lost", flush=True)
            wait(every_s)
            code = poll()
    except KeyboardInterrupt:
        print("collect: ended", flush=True)
    return code


@contextmanager
def woken(context: Context, host: str, port: int) -> Iterator[Callable[[float], None]]:
    """A way to wait that ends early when somebody answers, as far as Label Studio calls this address."""
    with hung(host, port) as bell, open_connection(context) as connection:
        projects = [desk.project for desk in connection.desks]
        with registered(connection.client, projects, bell, lambda text: print(f"collect: {text}", flush=True)):
            yield bell.wait


def collect(context: Context, connection: Connection) -> tuple[list[CollectTally], RouteTally | None]:
    """Pull from every pass, resolve, and send on what the fast pass kept. Returns the accounting of both."""
    workspace, settings = context.workspace, context.recipe.annotation
    full = getattr(context.args, "full", False)
    for desk in connection.desks:
        print(keep_answers(workspace, connection, desk, full), flush=True)
    annotations = answer_rows(workspace.table("annotations"))
    withdrawn = withdrawn_keys(workspace.table("withdrawals"))
    passed = resolve_answers(workspace, settings, annotations, withdrawn)
    promoted = promote(context, connection, passed.promoted) if passed.promoted else None
    ours = annotations.filter(pc.field("project") == connection.project.title)
    agreement = percent_agreement(ours, "verdict")
    if agreement.share is not None:
        print(f"collect: {agreement.share:.0%} of {agreement.num_pairs} pairs of verdicts agree", flush=True)
    most = settings.routing.max_per_annotator
    if (plan := against_plan(workspace, connection.project.title, annotations, withdrawn, most)) is not None:
        print(f"collect, as planned: {plan}", flush=True)
    tallies = [_tally(workspace, connection, desk, annotations, withdrawn) for desk in connection.desks]
    return tallies, promoted


def answer_as_simulated(context: Context) -> int:
    """Let the two simulated annotators answer every task that waits, with their own tokens. Returns exit code 0.

    What they keep in the fast pass is collected and sent to the full pass, and they answer that as well.

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
    scores, wanted = current_values(context), settings.answers_per_clip
    with open_connection(context) as connection:
        for desk in connection.desks:
            done, num_tasks = 0, connection.client.num_tasks(desk.project)
            with Progress(f"simulated, {desk.screen.name} pass", total=num_tasks * wanted, unit="answers") as progress:
                for taste in TASTES[:wanted]:
                    with connection.as_member(taste.email) as client:
                        done += answer(
                            client, desk.screen, desk.project, taste, scores, wanted, settings.seed, progress.advance
                        )
            print(f"simulated annotators: {done} answers given to {num_tasks} tasks", flush=True)
            if desk.screen is FAST:
                collect(context, connection)
    return 0


def how_to_log_in(context: Context) -> str:
    """Where people answer and as whom, for the terminal; starts the embedded server if it does not run."""
    with open_connection(context) as connection:
        return "\n".join(f"{desk.screen.name} pass: {connection.login(desk)}" for desk in connection.desks)


def untouched_full_pass(context: Context) -> int:
    """How many clips the fast pass has sent to the full pass, if nobody has answered there yet; else 0."""
    settings = context.recipe.annotation
    waiting = _wanted(context.workspace, settings.title) if settings.fast_pass else {}
    answered = answer_rows(context.workspace.table("annotations")).column("project").to_pylist()
    return 0 if settings.title in answered else len(waiting)


def keep_answers(workspace: Workspace, connection: Connection, desk: Desk, full: bool = False) -> Pulled:
    """Pull what is new, append valid answers to `annotations`, invalid ones to `failures`, what is gone aside."""
    title, table, client = desk.project.title, workspace.table("annotations"), connection.client
    kept = [row for row in table.records() if row.project == title]
    known = {row.annotation_key for row in kept}
    known |= {row.input_id for row in workspace.table("failures").records() if row.job == "collect"}
    num_tasks, since = client.num_tasks(desk.project), _since(kept)
    whole = full or since is None or num_tasks <= RECONCILE_UP_TO
    if whole or since is None:
        raws = client.pull_all(desk.project)
    else:
        raws = list(client.pull(desk.project, since))
    with Progress(f"collect, {desk.screen.name} pass", total=None, unit="answers") as progress:
        pulled = _sort_out(connection.server, desk, raws, known, progress)
    if whole and num_tasks >= len(_wanted(workspace, title)):  # else the server lost tasks, not people their answers
        there = {annotation_key(connection.server, title, raw) for raw in raws}
        pulled.withdrawn.extend(_withdrawals(workspace, {row.annotation_key for row in kept}, there))
    table.append(f"answers-{content_id(*(row.annotation_key for row in pulled.new))}", pulled.new)
    failed = [failure.input_id for failure in pulled.invalid]
    workspace.table("failures").append(f"collect-{content_id(*failed)}", pulled.invalid)
    changed = [f"{row.annotation_key}{row.gone}{row.seen_at}" for row in pulled.withdrawn]
    workspace.table("withdrawals").append(f"withdrawals-{content_id(*changed)}", pulled.withdrawn)
    return pulled


def resolve_answers(
    workspace: Workspace, settings: AnnotationSettings, annotations: pa.Table, withdrawn: set[str]
) -> Passed:
    """Write verdicts and captions of all clips that are through, in place of the last ones."""
    known = known_verdicts(load_gold(settings.gold)) if settings.gold else {}
    fast = settings.title_of(FAST) if settings.fast_pass else ""
    wanted = _wanted(workspace, settings.title) | (_wanted(workspace, fast) if fast else {})
    passed = resolve_passes(annotations, fast, wanted, settings.resolve, withdrawn, known)
    workspace.table("human_verdicts").append_rows(RESOLVED, passed.resolved.verdicts)
    workspace.table("captions").append_rows(RESOLVED, passed.resolved.captions)
    if waiting := passed.resolved.num_waiting_for_adjudicator:
        print(f"collect: {waiting} clips wait for {settings.resolve.adjudicator}", flush=True)
    return passed


def promote(context: Context, connection: Connection, clip_ids: list[str]) -> RouteTally:
    """Send the clips that the fast pass kept to the full pass; those that are there stay."""
    wanted = _wanted(context.workspace, connection.project.title)
    routed = {
        clip_id: Routed("kept in the fast pass", priority=place, answers_wanted=wanted.get(clip_id, 1))
        for place, clip_id in enumerate(clip_ids)
    }
    tally = push(context, connection, routed, connection.desks[-1])
    print(f"collect, full pass: {tally}", flush=True)
    return tally


def against_plan(
    workspace: Workspace, title: str, annotations: pa.Table, withdrawn: set[str], limit: int
) -> PlanTally | None:
    """Who has answered what in a project, beside the plan that sent its tasks; None: nobody was named."""
    rows = [row for row in workspace.table("tasks").records() if row.project == title and row.annotators]
    if not rows:
        return None
    counted = (pc.field("project") == title) & ~pc.field("annotation_key").isin(sorted(withdrawn))
    given: dict[str, set[str]] = {}
    for row in annotations.filter(counted).select(["clip_id", "annotator"]).to_pylist():
        given.setdefault(row["clip_id"], set()).add(row["annotator"])
    return compare({row.clip_id: row.annotators.split(", ") for row in rows}, given, limit)


def _tally(
    workspace: Workspace,
    connection: Connection,
    desk: Desk,
    annotations: pa.Table,
    withdrawn: set[str],
) -> CollectTally:
    """Where each of a pass's tasks stands; a task waits for the answers of its own project."""
    title = desk.project.title
    wanted = _wanted(workspace, title)
    found = standings(annotations.filter(pc.field("project") == title), wanted, withdrawn)
    name = desk.screen.name if len(connection.desks) > 1 else ""
    return CollectTally(len(wanted), connection.client.num_tasks(desk.project), found, name)


def _wanted(workspace: Workspace, title: str) -> dict[str, int]:
    """Clip id -> how many people are to answer its task in this project."""
    return {task.clip_id: task.answers_wanted for task in workspace.table("tasks").records() if task.project == title}


def _withdrawals(workspace: Workspace, ours: set[str], there: set[str]) -> list[Withdrawal]:
    """What changed since it was last looked: answers of ours that are gone, and those that are back."""
    missing, now = ours - there, datetime.now(UTC).isoformat()
    marked = withdrawn_keys(workspace.table("withdrawals")) & ours
    changes = [(key, True) for key in missing - marked] + [(key, False) for key in marked - missing]
    return [Withdrawal(key, now, is_gone) for key, is_gone in sorted(changes)]


def _sort_out(server: str, desk: Desk, raws: Iterable[RawAnswer], known: set[str], progress: Progress) -> Pulled:
    title = desk.project.title
    new, invalid, num_known = [], [], 0
    for raw in raws:
        progress.advance()
        if annotation_key(server, title, raw) in known:
            num_known += 1
            continue
        try:
            new.append(to_annotation(desk.screen, server, title, raw))
        except InvalidAnswer as error:
            invalid.append(to_failure(desk.screen, server, title, raw, error))
    return Pulled(new, invalid, num_known)


def _since(kept: list[Annotation]) -> datetime | None:
    if not kept:
        return None
    return max(datetime.fromisoformat(row.updated_at) for row in kept) - OVERLAP_OF_PULLS
