"""`dailies draft`: clips that will need words -> draft captions by a vision-language model, ahead of `route`.

    clips that any stage keeps or reviews --frames, facts--> model --read_words--+--> captions, by = draft:<model>
                                                                                 +--> failures: malformed, refused ...

An input is a clip. Weights are loaded once per worker, clips come in batches of `annotation.drafter.batch`, and frames
are read at the size that the model is shown, of what the crop leaves. A malformed draft is a failure with the words
that were given; it never becomes a caption, so the clip's task starts from the facts. Ends with the equation
clips = results + failures + pending. The drafter's version is noted in `drafters/`, so that `route` can prefer its
drafts on a machine that has no weights.
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from annotation.drafting import (
    PROMPT_VERSION,
    SCHEMA,
    Facts,
    MalformedDraft,
    drafter_version,
    prompt_of,
    read_words,
    to_caption,
)
from annotation.vision_models import DrafterSettings, NoReply, Reply, Request, load_model, missing, model_files
from curation.catalogue import Catalogue
from curation.crop import crop_version
from curation.records import Caption, Clip, Crop, Decision, Span, content_id
from curation.source import UnreadableVideo, fingerprint
from curation.tables import Workspace
from curation.video import read_frames
from jobs.cluster import joined, refuse_missing
from jobs.engine import Item, Job, Outcome, Tally, report, run as run_job
from jobs.gates import judge
from jobs.score import current_clips, current_crops

if TYPE_CHECKING:
    from jobs.config import Context, Recipe

CAMERA_SCORER = "camera_movement"
DRAFTERS = "drafters"
LEAST_FPS = 0.001  # below it, time steps cannot be told apart; only clips of hours come near


@dataclass(frozen=True)
class Shown:
    """A clip with what the model is told and shown of it."""

    clip: Clip
    crop: Crop | None
    facts: Facts


class DraftWorker:
    """Holds the model; an item is one batch of clips."""

    def __init__(self, settings: DrafterSettings, drafter: str) -> None:
        self.settings, self.drafter = settings, drafter
        self.model = load_model(settings, SCHEMA)

    def __call__(self, item: Item) -> Outcome:
        outcome = Outcome({"captions": []})
        requests: dict[str, Request] = {}
        for clip_id, shown in item.inputs.items():
            try:
                requests[clip_id] = request_of(shown, self.settings)
            except UnreadableVideo as error:
                outcome.failures.append((clip_id, error.reason, f"{_where(shown.clip)}: {error}"))
        replies = self.model(list(requests.values()))
        for clip_id, reply in zip(requests, replies, strict=True):
            self._take(item.inputs[clip_id].clip, reply, outcome)
        return outcome

    def _take(self, clip: Clip, reply: Reply | NoReply, outcome: Outcome) -> None:
        """Add a reply to the outcome, as a caption or as a failure."""
        if isinstance(reply, NoReply):
            outcome.failures.append((clip.clip_id, reply.reason, f"{_where(clip)}: {reply.detail}"))
            return
        try:
            words = read_words(reply.text, reply.is_cut)
        except MalformedDraft as error:
            outcome.failures.append((clip.clip_id, error.reason, f"{_where(clip)}: {error}"))
            return
        outcome.rows["captions"].append(to_caption(words, clip.clip_id, self.settings, self.drafter))


@dataclass(frozen=True)
class _Drafted:
    workspace: Workspace
    drafter: str

    def __call__(self) -> set[str]:
        drafted: set[str] = set()
        for part in self.workspace.table("captions").parts(["clip_id", "version"]):
            current = pc.call_function("starts_with", [part["version"]], pc.MatchSubstringOptions(f"{self.drafter}-"))
            drafted.update(part["clip_id"].filter(current).to_pylist())
        return drafted


def request_of(shown: Shown, settings: DrafterSettings) -> Request:
    """What the model is shown and asked of a clip.

    Raises:
        UnreadableVideo: nothing of the clip decodes.
    """
    frames = frames_of(shown.clip, shown.crop, settings)
    seed = int(content_id(settings.seed, shown.clip.clip_id), 16) % 2**31
    return Request(frames, prompt_of(len(frames), shown.clip.duration_s, shown.facts), seed)


def frames_of(clip: Clip, crop: Crop | None, settings: DrafterSettings) -> np.ndarray:
    """Frames uint8 RGB [N, H, W, 3], each from the middle of an equal share of the clip.

    N is what `fps` gives, but at most `max_frames` and the clip's own frames.

    Raises:
        UnreadableVideo: nothing of the clip decodes.
    """
    full_width, full_height = (crop.width, crop.height) if crop else (clip.width, clip.height)
    scale = min(1.0, settings.short_side_px / min(full_width, full_height))
    wanted = round(clip.duration_s * settings.fps) if settings.fps else settings.max_frames
    num_frames = max(1, min(wanted, settings.max_frames, clip.num_frames))
    length_pts = clip.end_pts - clip.start_pts
    late = Span(clip.start_pts + length_pts // (2 * num_frames), clip.end_pts, clip.time_base_num, clip.time_base_den)
    fps = max(Fraction(num_frames) / (length_pts * clip.span.time_base), Fraction(LEAST_FPS))
    pictures = read_frames(
        clip.uri,
        late,
        max(1, round(full_width * scale)),
        max(1, round(full_height * scale)),
        None,
        fps,
        earliest_pts=clip.start_pts,
        crop=crop,
    )
    return np.stack([picture for picture, _ in zip(pictures, range(num_frames), strict=False)])


def draft_job(shown: Iterable[Shown], workspace: Workspace, settings: DrafterSettings, drafter: str) -> Job:
    """The job that drafts the captions of these clips."""
    ordered = sorted(shown, key=lambda each: (each.clip.uri, each.clip.start_pts, each.clip.clip_id))
    batches = [ordered[start : start + settings.batch] for start in range(0, len(ordered), settings.batch)]
    return Job(
        name="draft",
        unit="clips",
        digest=content_id(drafter, settings.retry),
        tables=(),
        shared_tables=("captions",),
        items=[Item(_label(batch), {each.clip.clip_id: each for each in batch}) for batch in batches],
        make_worker=partial(DraftWorker, settings, drafter),
        finished=_Drafted(workspace, drafter),
    )


def camera_movements(catalogue: Catalogue, clip_ids: Sequence[str]) -> dict[str, tuple[str, float]]:
    """Clip id -> the class that the scorer `camera_movement` chose and its confidence, of those where it chose one."""
    column = catalogue.columns.get(CAMERA_SCORER)
    if column is None or column.labels is None:
        return {}
    places = zip(clip_ids, catalogue.find(clip_ids).tolist(), strict=True)
    chosen = {clip_id: place for clip_id, place in places if place >= 0 and column.labels[place] >= 0}
    return {
        clip_id: (column.classes[column.labels[place]], float(column.values[place]))
        for clip_id, place in chosen.items()
    }


def wanted_clips(context: "Context", everything: bool = False) -> Iterator[Shown]:
    """The clips that will need words, with their crop and what is known of them."""
    judged = judge(context)
    verdicts, settings = judged.verdicts(), context.recipe.annotation
    wanted: set[str] = set(judged.catalogue.clip_ids.to_pylist()) if everything else set()
    if verdicts.num_rows and not everything:
        wanted = set(verdicts.filter(pc.field("decision") != Decision.REJECT.value).column("clip_id").to_pylist())
    crops, cameras = current_crops(context), camera_movements(judged.catalogue, sorted(wanted))
    titles = {video.video_id: " ".join(video.title.split()) for video in context.workspace.table("videos").records()}
    for clip in current_clips(context):
        if clip.clip_id in wanted:
            title = titles[clip.video_id] if settings.drafts.use_title else ""
            facts = Facts(title, settings.drafts.sure_movement(cameras.get(clip.clip_id)))
            yield Shown(clip, crops.get(clip.clip_id), facts if settings.drafter.use_facts else Facts())


def current_drafts(context: "Context", clip_ids: Sequence[str]) -> tuple[dict[str, list[Caption]], str]:
    """All captions of these clips by clip id, and the version of the recipe's drafter, empty if it never ran here.

    Both are what `annotation.drafting.best_draft` asks for; no weights are needed.
    """
    captions: dict[str, list[Caption]] = {clip_id: [] for clip_id in clip_ids}
    for row in context.workspace.table("captions").having("clip_id", list(clip_ids)):
        captions[row.clip_id].append(row)
    note = _note(context.recipe)
    if not context.workspace.exists(DRAFTERS, note):
        return captions, ""
    return captions, json.loads(context.workspace.read_bytes(DRAFTERS, note))["drafter"]


def draft(context: "Context", everything: bool = False) -> Tally:
    """Draft what is due; `everything` means rejected clips too."""
    recipe, workspace = context.recipe, context.workspace
    settings = recipe.annotation.drafter
    refuse_missing("draft", [*_too_patient(recipe), *missing(settings)])
    prints = [f"{path.name} {fingerprint(str(path.resolve()))}" for path in model_files(settings)]
    drafter = drafter_version(settings, crop_version(recipe.score.crop), *prints)
    shown = list(wanted_clips(context, everything))
    note = {"drafter": drafter, "model": settings.model, "files": prints, "settings": json.loads(settings.shaping())}
    workspace.write_bytes(json.dumps(note, indent=1).encode(), DRAFTERS, _note(recipe))
    with joined():
        return run_job(draft_job(shown, workspace, settings, drafter), workspace, recipe.engine)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="draft for clips that every stage rejects, too")


def run(context: "Context") -> int:
    return report(draft(context, context.args.all))


def _too_patient(recipe: "Recipe") -> list[str]:
    """That a worker would be ended as hanging before it gave its server up."""
    settings, limit_s = recipe.annotation.drafter, recipe.engine.item_time_limit_s
    if not settings.url or settings.attempts * settings.timeout_s < limit_s:
        return []
    longest = f"attempts = {settings.attempts} x timeout_s = {settings.timeout_s:g} s"
    return [f"patience: annotation.drafter waits {longest}, engine.item_time_limit_s = {limit_s} s must be more"]


def _note(recipe: "Recipe") -> str:
    """Name of the file that says which version the recipe's drafter has."""
    settings = recipe.annotation.drafter
    return f"{content_id(PROMPT_VERSION, settings.model, settings.shaping(), crop_version(recipe.score.crop))}.json"


def _label(batch: Sequence[Shown]) -> str:
    names = list(dict.fromkeys(PurePosixPath(each.clip.uri).name for each in batch))
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")


def _where(clip: Clip) -> str:
    return f"{PurePosixPath(clip.uri).name}, {clip.start_s:.2f}-{clip.end_s:.2f} s"
