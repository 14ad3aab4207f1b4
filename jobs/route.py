"""`dailies route`: judge clips by the gates and send the review band to Label Studio, with drafts to correct.

    scores --gates--> gate_verdicts --review--> proxies, draft captions --push--> Label Studio, `tasks` rows

Clips that machines keep get a draft caption as well, since a generator learns nothing from a clip without words.
Pushing is keyed by clip id: a second run finds everything there. People never block the line: this verb returns as soon
as the tasks lie on the server, and `dailies collect` pulls answers whenever it runs. Ends with the equation
review clips = pushed + already there + failed, checked against the server, and exits 1 where it does not hold.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow.compute as pc

from annotation.captions import BY_FACTS, draft_caption
from annotation.connection import MEDIA, Connection, connect
from annotation.project import SCREEN
from annotation.routing import select
from annotation.tasks import proxy_path, to_task
from curation.records import Caption, Clip, Decision, content_id
from curation.tables import PushedTask
from jobs.config import Context
from jobs.gates import current_values, judge, print_decisions
from jobs.progress import Progress
from jobs.proxies import write_proxies


@dataclass(frozen=True)
class RouteTally:
    """The accounting of a push."""

    review: int
    pushed: int
    there: int
    failed: int
    on_server: int

    @property
    def holds(self) -> bool:
        return self.review == self.pushed + self.there + self.failed and self.on_server >= self.pushed + self.there

    def __str__(self) -> str:
        text = f"route: {self.review} review clips = {self.pushed} pushed + {self.there} already there"
        text += f" + {self.failed} failed (no proxy); {self.on_server} of them on the server"
        return text if self.holds else f"{text}  DOES NOT HOLD"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Everything is in the recipe; who answers is `--set annotation.reviewers=me`."""


def run(context: Context) -> int:
    judged = judge(context)
    print_decisions(judged)
    verdicts = judged.verdicts()
    kept = verdicts.filter(pc.field("decision") == Decision.KEEP.value).column("clip_id").to_pylist()
    _drafts(context, _clips(context, sorted(set(kept))))
    plan = select(verdicts, context.recipe.annotation.seed)
    routed = dict(zip(*(plan.column(name).to_pylist() for name in ("clip_id", "reason")), strict=True))
    if not routed:
        print(RouteTally(0, 0, 0, 0, 0))
        return 0
    with open_connection(context) as connection:
        tally = push(context, connection, routed)
        print(tally, flush=True)
        if context.recipe.annotation.reviewers != "simulated":
            print(f"route: people answer at {connection.login()}; then run `dailies collect`", flush=True)
    return 0 if tally.holds and not tally.failed else 1


def open_connection(context: Context) -> Connection:
    """Reach Label Studio, showing how long its start takes."""
    with Progress("start Label Studio", total=None, unit="s") as progress:
        return connect(
            context.workspace,
            context.recipe.annotation,
            lambda waited_s: progress.advance(int(waited_s) - progress.done),
        )


def push(context: Context, connection: Connection, routed: Mapping[str, str]) -> RouteTally:
    """Bring the routed clips (clip id -> why) onto the server: proxy, draft, task, row.

    A run that died between pushing and writing rows is made good here: what lies on the server without a row gets one.
    """
    workspace, client, project = context.workspace, connection.client, connection.project
    there = client.present(project, list(routed))
    rows = {clip_id for clip_id, title in workspace.table("tasks").distinct() if title == project.title}
    missing = _clips(context, [clip_id for clip_id in routed if clip_id not in there])
    if missing:
        write_proxies(context, missing)
    ready = [clip for clip in missing if workspace.exists(MEDIA, *proxy_path(clip.clip_id).split("/"))]
    rowless = _clips(context, [clip_id for clip_id in routed if clip_id in there - rows])
    drafts = _drafts(context, [*ready, *rowless])
    with Progress("push", total=len(ready), unit="tasks") as progress:
        tasks = [to_task(SCREEN, clip, drafts[clip.clip_id]) for clip in ready]
        pushed, raced = client.push(project, tasks, progress.advance)
    client.show_drafts(project, BY_FACTS)
    on_server = client.present(project, list(routed))
    due = [(clip_id, why) for clip_id, why in routed.items() if clip_id in on_server - rows]
    new = [PushedTask(clip_id, project.title, drafts[clip_id].version, why) for clip_id, why in due]
    workspace.table("tasks").append(f"tasks-{content_id(project.title, *(task.clip_id for task in new))}", new)
    return RouteTally(len(routed), len(pushed), len(there | raced), len(missing) - len(ready), len(on_server))


def _clips(context: Context, clip_ids: list[str]) -> list[Clip]:
    """The clips of these ids, in their order."""
    by_id = {clip.clip_id: clip for clip in context.workspace.table("clips").having("clip_id", clip_ids)}
    return [by_id[clip_id] for clip_id in clip_ids]


def _drafts(context: Context, clips: list[Clip]) -> dict[str, Caption]:
    """Drafts by clip id; those that have no row yet get one, before anything is pushed."""
    workspace, settings = context.workspace, context.recipe.annotation.drafts
    scores = current_values(context, [clip.clip_id for clip in clips])
    titles = {video.video_id: video.title for video in workspace.table("videos").records()}
    drafts = [draft_caption(clip, titles[clip.video_id], scores.get(clip.clip_id, {}), settings) for clip in clips]
    table = workspace.table("captions")
    known = table.distinct()
    new = [draft for draft in drafts if (draft.clip_id, draft.by, draft.version) not in known]
    table.append(f"drafts-{content_id(*(f'{draft.clip_id} {draft.version}' for draft in new))}", new)
    return {draft.clip_id: draft for draft in drafts}
