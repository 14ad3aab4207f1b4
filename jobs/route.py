"""`dailies route`: judge clips by the gates and send those that people should see to Label Studio, with drafts.

    scores --gates--> gate_verdicts --plan--> proxies --pre-flight--> drafts --push--> Label Studio, `tasks` rows

Clips that machines keep get a draft caption as well, since a generator learns nothing from a clip without words.
Pushing is keyed by clip id: a second run finds everything there. People never block the line: this verb returns as soon
as the tasks lie on the server, and `dailies collect` pulls answers whenever it runs. Ends with the equation
clips = pushed + already there + failed, checked against the server, and exits 1 where it does not hold. A clip whose
media would not play on the page is a failure with its reason, never a task.
"""

import argparse
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from annotation.captions import draft_caption
from annotation.client import Client
from annotation.connection import MEDIA, Connection, Desk, connect
from annotation.drafting import best_draft
from annotation.gold import load_gold
from annotation.media import media_addresses, media_advice
from annotation.preflight import check_addresses
from annotation.routing import Plan, Pool, Routed, plan
from annotation.tasks import PROXY_FOLDER, to_task
from curation.catalogue import Catalogue
from curation.records import Caption, Clip, Decision, Failure, content_id
from curation.tables import PushedTask
from jobs.calibrations import information_at
from jobs.config import Context
from jobs.draft import camera_movements, current_drafts
from jobs.gates import Judged, current_catalogue, current_values, judge, print_decisions
from jobs.group import current_grouping
from jobs.progress import Progress
from jobs.proxies import write_proxies

DOES_NOT_PLAY = "does not play"
NUM_SHOWN = 5


@dataclass(frozen=True)
class RouteTally:
    """The accounting of a push."""

    clips: int
    pushed: int
    there: int
    failed: int
    on_server: int

    @property
    def holds(self) -> bool:
        return self.clips == self.pushed + self.there + self.failed and self.on_server >= self.pushed + self.there

    def __str__(self) -> str:
        text = f"route: {self.clips} clips = {self.pushed} pushed + {self.there} already there"
        text += f" + {self.failed} failed (no proxy, or it does not play); {self.on_server} of them on the server"
        return text if self.holds else f"{text}  DOES NOT HOLD"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Everything is in the recipe; who answers is `--set annotation.reviewers=me`."""


def run(context: Context) -> int:
    judged = judge(context)
    print_decisions(judged)
    verdicts = judged.verdicts()
    kept = verdicts.filter(pc.field("decision") == Decision.KEEP.value).column("clip_id").to_pylist()
    _drafts(context, _clips(context, sorted(set(kept))), judged.catalogue)
    title = context.recipe.annotation.title_of(context.recipe.annotation.screens[0])
    sent = {row.clip_id: _routed(row) for row in context.workspace.table("tasks").records() if row.project == title}
    made = plan_of(context, judged, sent)
    print(f"route: {made}", flush=True)
    routed = {clip_id: sent[clip_id] for clip_id in made.there.to_pylist()} | made.tasks()
    if not routed:
        print(RouteTally(0, 0, 0, 0, 0))
        return 0
    with open_connection(context) as connection:
        tally = push(context, connection, routed)
        print(tally, flush=True)
        if context.recipe.annotation.reviewers != "simulated":
            print(f"route: people answer at {connection.login()}; then run `dailies collect`", flush=True)
    return 0 if tally.holds and made.holds and not tally.failed else 1


def plan_of(context: Context, judged: Judged, sent: Mapping[str, Routed]) -> Plan:
    """Which clips go to people now, given those that were sent before.

    What an answer would teach is how far the committee behind `suitability` differs, where people have taught that
    score. Concepts, which take turns, see to it that a batch is not all of one kind.
    """
    settings, catalogue = context.recipe.annotation, judged.catalogue
    by = next((name for name in settings.routing.strata_scores if name in catalogue.columns), "")
    verdicts = judged.verdicts()
    pool = Pool(
        clip_ids=catalogue.clip_ids,
        verdicts=verdicts,
        concept=_concepts(context, catalogue),
        score=catalogue.columns[by].values if by else None,
        information=_information(context, catalogue, verdicts),
    )
    gold = {item.clip_id for item in load_gold(settings.gold)} if settings.gold else set()
    loads = Counter(email for task in sent.values() for email in task.annotators)
    return plan(pool, settings.routing, settings.seed, settings.answers_per_clip, gold, set(sent), loads)


def open_connection(context: Context) -> Connection:
    """Reach Label Studio, showing how long its start takes."""
    with Progress("start Label Studio", total=None, unit="s") as progress:
        return connect(
            context.workspace,
            context.recipe.annotation,
            lambda waited_s: progress.advance(int(waited_s) - progress.done),
        )


def push(
    context: Context, connection: Connection, routed: Mapping[str, Routed], desk: Desk | None = None
) -> RouteTally:
    """Bring the routed clips onto the server, in their order: proxy, pre-flight, draft, task, row.

    They go to the desk that is given, else to the first.

    A run that died is made good here: what lies on the server without a row gets one, and what waits there for another
    number of answers than it should is put right.
    """
    workspace, client, desk = context.workspace, connection.client, desk or connection.desks[0]
    screen, project = desk.screen, desk.project
    there = client.settle(project, {clip_id: task.answers_wanted for clip_id, task in routed.items()})
    rows = {clip_id for clip_id, title in workspace.table("tasks").distinct() if title == project.title}
    missing = _clips(context, [clip_id for clip_id in routed if clip_id not in there])
    if missing:
        write_proxies(context, missing)
    addresses = playable(context, client, project.title, missing)
    ready = [clip for clip in missing if clip.clip_id in addresses]
    rowless = _clips(context, [clip_id for clip_id in routed if clip_id in there - rows])
    drafts = _drafts(context, [*ready, *rowless])
    with Progress("push", total=len(ready), unit="tasks") as progress:
        tasks = [
            to_task(screen, clip, drafts[clip.clip_id], addresses[clip.clip_id], routed[clip.clip_id].answers_wanted)
            for clip in ready
        ]
        pushed, raced = client.push(project, tasks, progress.advance)
    if any(task.draft for task in tasks):
        client.show_drafts(project)
    on_server = client.present(project, list(routed))
    due = [(clip_id, task) for clip_id, task in routed.items() if clip_id in on_server - rows]
    new = [_row(clip_id, project.title, drafts[clip_id].version, task) for clip_id, task in due]
    workspace.table("tasks").append(f"tasks-{content_id(project.title, *(task.clip_id for task in new))}", new)
    return RouteTally(len(routed), len(pushed), len(there | raced), len(missing) - len(ready), len(on_server))


def playable(context: Context, client: Client, title: str, clips: list[Clip]) -> dict[str, str]:
    """Clip id -> address of those that will play on the page; the others become failures of the project, this run's."""
    workspace, settings = context.workspace, context.recipe.annotation.routing
    written = workspace.file_names(MEDIA, PROXY_FOLDER)
    by_id = {clip.clip_id: clip for clip in clips if f"{clip.clip_id}.mp4" in written}
    addresses = media_addresses(workspace, [*by_id], settings)
    advice = media_advice(workspace, client.url, settings)
    said = check_addresses(addresses, client.url, settings.preflight, advice, client.authorization)
    digest, now = content_id("pre-flight", settings.media, title), datetime.now(UTC).isoformat()
    failures = [
        Failure("route", digest, clip_id, _label(by_id[clip_id]), DOES_NOT_PLAY, why, now)
        for clip_id, why in said.items()
        if why
    ]
    workspace.table("failures").append(f"route-{digest}", failures)
    for failure in failures[:NUM_SHOWN]:
        print(f"route: {failure.label} does not play: {failure.detail}", flush=True)
    return {clip_id: addresses[clip_id] for clip_id, why in said.items() if not why}


def _information(context: Context, catalogue: Catalogue, verdicts: pa.Table) -> np.ndarray | None:
    """What an answer would teach, of the clips in the review band; NaN for the others. None: nothing is taught yet."""
    if not verdicts.num_rows:
        return None
    review = verdicts.filter(pc.field("decision") == Decision.REVIEW.value).column("clip_id").cast(pa.string())
    places = np.unique(catalogue.places(review))
    bits = information_at(context.workspace, context.recipe, catalogue, places)
    if bits is None:
        return None
    information = np.full(len(catalogue), np.nan)
    information[places] = bits
    return information


def _concepts(context: Context, catalogue: Catalogue) -> np.ndarray | None:
    """Concept of each clip by the last grouping, -1 for those that are newer; None if there was no grouping."""
    grouping = current_grouping(context.workspace, context.recipe)
    if grouping is None:
        return None
    concept = np.full(len(catalogue), -1)
    for part in context.workspace.table("groups").parts(["clip_id", "concept"], only={"grouping": grouping}):
        places = catalogue.find(part.column("clip_id"))
        concept[places[places >= 0]] = part.column("concept").to_numpy()[places >= 0]
    return concept


def _routed(row: PushedTask) -> Routed:
    annotators = tuple(email for email in row.annotators.split(", ") if email)
    return Routed(row.reason, row.stratum, row.priority, row.answers_wanted, annotators)


def _row(clip_id: str, project: str, draft_version: str, task: Routed) -> PushedTask:
    people = ", ".join(task.annotators)
    return PushedTask(
        clip_id, project, draft_version, task.reason, task.stratum, task.priority, task.answers_wanted, people
    )


def _label(clip: Clip) -> str:
    return f"{clip.uri.rsplit('/', 1)[-1]}, {clip.start_s:.2f}-{clip.end_s:.2f} s"


def _clips(context: Context, clip_ids: list[str]) -> list[Clip]:
    """The clips of these ids, in their order."""
    by_id = {clip.clip_id: clip for clip in context.workspace.table("clips").having("clip_id", clip_ids)}
    return [by_id[clip_id] for clip_id in clip_ids]


def _drafts(context: Context, clips: list[Clip], catalogue: Catalogue | None = None) -> dict[str, Caption]:
    """Drafts by clip id; those that have no row yet get one, before anything is pushed."""
    if not clips:
        return {}
    workspace, settings = context.workspace, context.recipe.annotation.drafts
    if catalogue is None:
        catalogue = current_catalogue(workspace, context.recipe)
    scores = current_values(context, [clip.clip_id for clip in clips], catalogue)
    titles = {video.video_id: video.title for video in workspace.table("videos").records()}
    cameras = camera_movements(catalogue, [clip.clip_id for clip in clips])
    drafts = [
        draft_caption(clip, titles[clip.video_id], scores.get(clip.clip_id, {}), settings, cameras.get(clip.clip_id))
        for clip in clips
    ]
    table = workspace.table("captions")
    known = table.distinct()
    new = [draft for draft in drafts if (draft.clip_id, draft.by, draft.version) not in known]
    table.append(f"drafts-{content_id(*(f'{draft.clip_id} {draft.version}' for draft in new))}", new)
    captions, drafter = current_drafts(context, [clip.clip_id for clip in clips])
    return {draft.clip_id: best_draft(draft, captions[draft.clip_id], drafter) for draft in drafts}
