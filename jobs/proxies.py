"""Review proxies: a small H.264 file for each clip that a person will look at, written once, on demand."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from curation.records import Clip, content_id
from curation.tables import Workspace
from curation.transcode import write_proxy
from jobs.cluster import joined
from jobs.engine import Item, Job, Outcome, Tally, run as run_job
from jobs.score import current_crops

if TYPE_CHECKING:
    from jobs.config import Context

MAX_HEIGHT_PX = 480
FOLDER = ("media", "clips")


@dataclass(frozen=True)
class ProxyWorker:
    """Writes `media/clips/<clip_id>.mp4`, cropped; the file itself is the result, no row."""

    workspace_uri: str

    def __call__(self, item: Item) -> Outcome:
        workspace = Workspace(self.workspace_uri)
        for clip, crop in item.inputs.values():
            proxy = write_proxy(clip, max_height=MAX_HEIGHT_PX, crop=crop)
            workspace.write_bytes(proxy, *FOLDER, f"{clip.clip_id}.mp4")
        return Outcome()


@dataclass(frozen=True)
class _Written:
    workspace: Workspace
    clip_ids: frozenset[str]

    def __call__(self) -> set[str]:
        present = self.workspace.file_names(*FOLDER)
        return {clip_id for clip_id in self.clip_ids if f"{clip_id}.mp4" in present}


def write_proxies(context: "Context", clips: Iterable[Clip]) -> Tally:
    """Proxies for these clips; those that exist are not written again."""
    crops = current_crops(context)
    wanted = {clip.clip_id: (clip, crops.get(clip.clip_id)) for clip in clips}
    job = Job(
        name="proxies",
        unit="clips",
        digest=content_id("proxy", 2, MAX_HEIGHT_PX),
        tables=(),
        items=[Item(each[0].uri.rsplit("/", 1)[-1], {clip_id: each}) for clip_id, each in sorted(wanted.items())],
        make_worker=partial(ProxyWorker, context.workspace.uri),
        finished=_Written(context.workspace, frozenset(wanted)),
    )
    with joined():
        return run_job(job, context.workspace, context.recipe.engine)
