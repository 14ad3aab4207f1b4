"""Generated videos that can be measured, and the engine's job that measures them with curation's scorers.

    samples ------------------------------> Film --scan once--> scorers --> measurements, a row per video and scorer
    study_videos, as judges see them -----> Film      +---------> failures: what gives no frame
    checkpoints/<run>/<stage>/samples/ ---> Film

A film is of one group: a checkpoint, or a system of a study. A scorer that cannot answer gives a row without a value
whose note says why. Adding a scorer makes every video due for that one alone.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pyarrow import fs as pafs

from annotation.connection import MEDIA
from annotation.study.tasks import STUDY_FOLDER
from curation.crop import CropSettings
from curation.records import content_id
from curation.score import ScoreSettings, load_judges, versions, watch_whole
from curation.tables import Measurement, Workspace
from jobs.engine import Item, Job, Outcome
from jobs.measure_settings import MeasureSettings

VIDEO = "video"
CHECKPOINTS = "checkpoints"
SAMPLE_PLACE = re.compile(r"(?P<run>[^/]+)/(?P<stage>[^/]+)/samples/step-(?P<step>\d+)/(?P<number>\d+)\.mp4$")


@dataclass(frozen=True)
class Film:
    """A generated video. `protocol` is all that its group's means must share to be compared, as sorted items."""

    subject: str
    uri: str
    prompt: str
    group: str
    group_kind: str
    protocol: tuple[tuple[str, Any], ...]


def find_films(workspace: Workspace) -> list[Film]:
    """All generated videos that the workspace knows, in order of their subject."""
    films = [*_of_samples(workspace), *_of_studies(workspace), *_of_training(workspace)]
    return sorted(films, key=lambda film: film.subject)


def _of_samples(workspace: Workspace) -> Iterator[Film]:
    for row in workspace.table("samples").records():
        told = {"set": "samples", **json.loads(row.settings)}
        yield Film(row.sample_id, workspace.uri_of(row.uri), row.prompt, row.checkpoint, "checkpoint", _items(told))


def _of_studies(workspace: Workspace) -> Iterator[Film]:
    prompts = {(row.study, row.prompt_id): row.prompt for row in workspace.table("study_prompts").records()}
    for row in workspace.table("study_videos").records():
        told = {"set": f"study {row.study}", "size": f"{row.width}x{row.height}", "frame_rate": row.frame_rate}
        uri = workspace.uri_of(f"{MEDIA}/{STUDY_FOLDER}/{row.media_key}.mp4")
        prompt = prompts.get((row.study, row.prompt_id), "")
        yield Film(row.media_key, uri, prompt, row.system, "system", _items(told))


def _of_training(workspace: Workspace) -> Iterator[Film]:
    """The sample videos that training stages wrote, by checkpoint."""
    root = workspace.path(CHECKPOINTS)
    for info in workspace.fs.get_file_info(pafs.FileSelector(root, allow_not_found=True, recursive=True)):
        found = SAMPLE_PLACE.search(info.path.removeprefix(root).lstrip("/"))
        if found is None:
            continue
        path = f"{CHECKPOINTS}/{found[0]}"
        facts = json.loads(workspace.read_bytes(path.removesuffix(".mp4") + ".json"))
        group = f"{found['run']}/{found['stage']}@{int(found['step'])}"
        told = {"set": "training samples", **facts["settings"]}
        yield Film(path, workspace.uri_of(path), facts["caption"], group, "checkpoint", _items(told))


def _items(told: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    plain = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in told.items()}
    return tuple(sorted(plain.items()))


def film_scores(settings: MeasureSettings, given: ScoreSettings) -> ScoreSettings:
    """What looks at generated videos: the scorers of `settings` with the options of curation, and nothing cut off."""
    options = {name: given.options[name] for name in settings.scorers if name in given.options}
    return ScoreSettings(
        scorers=settings.scorers, embedders=(), options=options, crop=CropSettings(borders=False, subtitles=False)
    )


class FilmWorker:
    """Holds the scorers; an item is one video and the scorers that it lacks."""

    def __init__(self, settings: ScoreSettings) -> None:
        self.judges = load_judges(settings)

    def __call__(self, item: Item) -> Outcome:
        """Measure it.

        Raises:
            UnreadableVideo: it gives no frame.
        """
        (film,) = item.inputs.values()
        judges = self.judges.only(item.shared)
        watched = watch_whole(film.uri, judges.specs, film.prompt)
        about = watched.about
        protocol = json.dumps(
            {
                "size": f"{about.width}x{about.height}",
                "frames": about.num_frames,
                "frame_rate": round(about.frame_rate, 3),
                "colour": "luma and BGR of full range, 0 to 255",
            },
            sort_keys=True,
        )
        scores = judges.answer(film.subject, watched.frames, about).scores
        rows = [
            Measurement(film.subject, VIDEO, score.scorer, score.version, protocol, score.value, 1, score.error or "")
            for score in scores
        ]
        return Outcome({"measurements": rows})


def film_rows(workspace: Workspace, settings: ScoreSettings) -> dict[str, dict[str, Measurement]]:
    """Subject -> measure -> what the current version of its scorer said; videos only."""
    wanted, found = versions(settings), defaultdict(dict)
    for row in workspace.table("measurements").records():
        if row.subject_kind == VIDEO and wanted.get(row.measure) == row.version:
            found[row.subject][row.measure] = row
    return found


@dataclass(frozen=True)
class _Finished:
    workspace: Workspace
    settings: ScoreSettings

    def __call__(self) -> set[str]:
        wanted = set(self.settings.scorers)
        return {subject for subject, rows in film_rows(self.workspace, self.settings).items() if wanted <= rows.keys()}


def film_job(films: Iterable[Film], workspace: Workspace, settings: ScoreSettings) -> Job:
    """The job that measures these videos with every scorer of the settings."""
    present = film_rows(workspace, settings)
    return Job(
        name="measure",
        unit="videos",
        digest=content_id(*sorted(versions(settings).items())),
        tables=("measurements",),
        items=[Item(film.subject, {film.subject: film}, _lacking(film, present, settings)) for film in films],
        make_worker=partial(FilmWorker, settings),
        finished=_Finished(workspace, settings),
    )


def _lacking(film: Film, present: Mapping[str, Mapping[str, Any]], settings: ScoreSettings) -> Sequence[str]:
    there = present.get(film.subject, {})
    return tuple(name for name in settings.scorers if name not in there) or settings.scorers
