"""`dailies route`: judge clips by the gates and send the review band to Label Studio, with drafts to correct.

    scores --gates--> gate_verdicts --review--> proxies, draft captions --push--> Label Studio, `tasks` rows

Pushing is keyed by clip id: a second run finds everything there. People never block the line: this verb returns as soon
as the tasks lie on the server, and `dailies collect` pulls answers whenever it runs. Ends with the equation
review clips = pushed + already there + failed, checked against the server, and exits 1 where it does not hold.
"""

import argparse
from dataclasses import dataclass

from annotation.captions import draft_caption
from annotation.connection import MEDIA, Connection, connect
from annotation.project import SCREEN, AnnotationSettings
from annotation.routing import Routed, select
from annotation.tasks import proxy_path, to_task
from curation.records import Caption, Clip, UserError, content_id
from curation.tables import PushedTask
from jobs.config import Context
from jobs.gates import current_scores, judge, print_decisions
from jobs.progress import Progress
from jobs.proxies import write_proxies

HELP = "judge clips by the gates and send the review band to Label Studio"


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
    parser.add_argument("--reviewers", choices=("simulated", "me", "team"), help="overrides annotation.reviewers")


def run(context: Context) -> int:
    settings = effective_settings(context)
    verdicts = judge(context)
    print_decisions(verdicts)
    routed = select(verdicts, settings.seed)
    if not routed:
        print(RouteTally(0, 0, 0, 0, 0))
        return 0
    with open_connection(context, settings) as connection:
        tally = push(context, settings, connection, routed)
        print(tally, flush=True)
        if settings.reviewers != "simulated":
            print(f"route: answer at {connection.login()}\nroute: then run `dailies collect`", flush=True)
    return 0 if tally.holds and not tally.failed else 1


def effective_settings(context: Context) -> AnnotationSettings:
    """The recipe's annotation settings under this verb's --reviewers, where it was given."""
    settings, reviewers = context.recipe.annotation, getattr(context.args, "reviewers", None)
    if not reviewers:
        return settings
    try:
        return AnnotationSettings.model_validate(settings.model_dump() | {"reviewers": reviewers})
    except ValueError as error:
        raise UserError(f"--reviewers {reviewers} does not fit the recipe: {error}") from error


def open_connection(context: Context, settings: AnnotationSettings) -> Connection:
    """Reach Label Studio, showing how long its start takes."""
    with Progress("start Label Studio", total=None, unit="s") as progress:
        return connect(context.workspace, settings, lambda waited_s: progress.advance(int(waited_s) - progress.done))


def push(context: Context, settings: AnnotationSettings, connection: Connection, routed: list[Routed]) -> RouteTally:
    """Bring the routed clips onto the server: proxy, draft, task, row."""
    workspace, client, project = context.workspace, connection.client, connection.project
    there = client.present(project, [item.clip_id for item in routed])
    missing = [item.clip_id for item in routed if item.clip_id not in there]
    clips = _clips(context, missing)
    if clips:
        print(write_proxies(context, clips), flush=True)
    ready = [clip for clip in clips if workspace.exists(MEDIA, *proxy_path(clip.clip_id).split("/"))]
    drafts = _drafts(context, settings, ready)
    _append_drafts(context, drafts)
    tasks = [to_task(SCREEN, clip, draft) for clip, draft in zip(ready, drafts, strict=True)]
    with Progress("push", total=len(tasks), unit="tasks") as progress:
        pushed, raced = client.push(project, tasks, progress.advance)
    if drafts:
        client.show_drafts(project, drafts[0].by)
    on_server = client.present(project, [item.clip_id for item in routed])
    _append_tasks(context, project.title, [item for item in routed if item.clip_id in on_server])
    return RouteTally(
        review=len(routed),
        pushed=len(pushed),
        there=len(there | raced),
        failed=len(missing) - len(ready),
        on_server=len(on_server),
    )


def _clips(context: Context, clip_ids: list[str]) -> list[Clip]:
    """The clips of these ids, in their order."""
    by_id = {clip.clip_id: clip for clip in context.workspace.table("clips").records()}
    return [by_id[clip_id] for clip_id in clip_ids]


def _drafts(context: Context, settings: AnnotationSettings, clips: list[Clip]) -> list[Caption]:
    titles = {video.video_id: video.title for video in context.workspace.table("videos").records()}
    drafts = []
    scores = current_values(context)
    for clip in clips:
        drafts.append(draft_caption(clip, titles[clip.video_id], scores.get(clip.clip_id, {}), settings.drafts))
    return drafts


def current_values(context: Context) -> dict[str, dict[str, float]]:
    """Clip id -> scorer -> value, for the scores that have one."""
    return {
        clip_id: {scorer: score.value for scorer, score in scores.items() if score.value is not None}
        for clip_id, scores in current_scores(context).items()
    }


def _append_drafts(context: Context, drafts: list[Caption]) -> None:
    table = context.workspace.table("captions")
    known = table.distinct()
    new = [draft for draft in drafts if (draft.clip_id, draft.by, draft.version) not in known]
    table.append(f"drafts-{content_id(*(f'{draft.clip_id} {draft.version}' for draft in new))}", new)


def _append_tasks(context: Context, title: str, routed: list[Routed]) -> None:
    """Rows for tasks that have none, so a run that died between push and row is made good by the next."""
    workspace = context.workspace
    versions = {
        caption.clip_id: caption.version
        for caption in workspace.table("captions").records()
        if caption.by.startswith("draft:")
    }
    known = workspace.table("tasks").distinct()
    new = [
        PushedTask(item.clip_id, title, versions.get(item.clip_id, ""), item.reason)
        for item in routed
        if (item.clip_id, title) not in known
    ]
    workspace.table("tasks").append(f"tasks-{content_id(*(f'{task.clip_id} {task.project}' for task in new))}", new)
