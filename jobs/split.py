"""`dailies split`: raw footage -> videos and clips. An input is a listed file; its result is a row in `sources`."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from curation.records import Clip, Source, Video, content_id
from curation.split import SplitSettings, missing_requirements, split_video, splitter_version
from curation.tables import Workspace
from jobs.cluster import joined, refuse_missing
from jobs.engine import Item, Job, Outcome, Tally, Worker, report, run as run_job
from jobs.footage import FootageFile, list_footage

if TYPE_CHECKING:
    from jobs.config import Context


@dataclass(frozen=True)
class SplitWorker:
    """Splits the one listed file of an item."""

    settings: SplitSettings

    def __call__(self, item: Item) -> Outcome:
        (file,) = item.inputs.values()
        video, clips = split_video(file.uri, self.settings)
        return Outcome(rows_of(file, video, clips, self.settings))


def rows_of(file: FootageFile, video: Video, clips: list[Clip], settings: SplitSettings) -> dict[str, list[Any]]:
    """What a file became, by table."""
    splitter = splitter_version(settings)
    source = Source(file.input_id, file.uri, file.size_bytes, file.modified_ns, video.video_id, splitter, len(clips))
    return {"clips": clips, "videos": [video], "sources": [source]}


def _finished(workspace: Workspace, splitter: str) -> set[str]:
    keys = workspace.table("sources").distinct("input_id", "splitter")
    return {input_id for input_id, version in keys if version == splitter}


def split_job(
    files: list[FootageFile],
    workspace: Workspace,
    settings: SplitSettings,
    make_worker: Callable[[], Worker] | None = None,
    shared_tables: tuple[str, ...] = (),
) -> Job:
    """The job that splits these files under these settings, by default with a worker that does only that."""
    splitter = splitter_version(settings)
    finished: Callable[[], set[str]] = partial(_finished, workspace, splitter)
    return Job(
        name="split",
        unit="videos",
        digest=content_id(splitter),
        tables=("clips", "videos", "sources"),
        shared_tables=shared_tables,
        items=[Item(file.uri.rsplit("/", 1)[-1], {file.input_id: file}) for file in files],
        make_worker=make_worker or partial(SplitWorker, settings),
        finished=finished,
    )


def split(context: "Context") -> Tally:
    """Split what is due; see `run`."""
    refuse_missing("split", missing_requirements(context.recipe.split))
    files = list_footage(context.recipe.footage)
    with joined():
        job = split_job(files, context.workspace, context.recipe.split)
        return run_job(job, context.workspace, context.recipe.engine)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # split has no flags of its own


def run(context: "Context") -> int:
    return report(split(context))
