"""`dailies report`: the workspace as one HTML file that needs nothing else, not even a network.

    tables --report_snapshot--> rows --report_funnel, report_people, report_training--> counts --+
    sources, samples --report_media--> base64 ---------------------------------------------------+--> report.html.jinja
    scores, losses --report_charts--> SVG -------------------------------------------------------+    --> report.html

The same tables and footage give the same bytes: no clock, no random ids. Every text is escaped by jinja; only the
charts, whose text matplotlib escapes, and the page's one script are inserted as they are.
"""

import argparse
import base64
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from curation.records import Clip, Score, UserError, to_row
from curation.tables import Sample, Workspace
from jobs.progress import Progress

if TYPE_CHECKING:
    from jobs.config import Context, Recipe
    from jobs.lineage import Lineage
    from jobs.report_media import Media, Shown
    from jobs.report_people import People
    from jobs.report_snapshot import Snapshot

NAME = "report.html"
MAX_FILES = 500
# A contact sheet of paused players would be a sheet of grey buttons: controls and motion come with the pointer, a tap
# or the tab key. Without scripts the controls are simply always there. The page allows this script alone, by its hash.
PLAYER = """
for (const video of document.querySelectorAll("video")) {
  const box = video.closest("figure, .example") || video;
  video.controls = false;
  video.tabIndex = 0;
  const start = () => { video.controls = true; video.play().catch(() => {}); };
  const stop = () => { video.pause(); video.controls = false; };
  box.addEventListener("pointerenter", start);
  box.addEventListener("pointerleave", stop);
  video.addEventListener("focus", start);
  video.addEventListener("blur", stop);
}
"""
Advance = Callable[[int], None]


class ReportSettings(BaseModel, frozen=True, extra="forbid"):
    """How much media the report carries; everything else in it is counted over all rows."""

    num_survivors: int = Field(default=12, ge=0, description="playable clips shown that every gate and person kept")
    num_rejects: int = Field(
        default=12, ge=0, description="playable clips shown that were rejected, spread over the reasons"
    )
    num_answers: int = Field(default=6, ge=0, description="clips shown with the annotators' answers side by side")
    num_samples: int = Field(
        default=8, ge=0, description="generated videos shown, those of the newest training run first"
    )
    num_study_pairs: int = Field(
        default=10, ge=0, description="pairs of videos that the page of a study shows side by side"
    )
    clip_duration_s: float = Field(
        default=3.0, gt=0, description="seconds of each clip that are embedded, from its middle, as packing takes them"
    )
    clip_height_px: int = Field(default=176, ge=32, le=720, multiple_of=2, description="height of an embedded clip")
    trace_clip_id: str = Field(
        default="", description="clip whose lineage is shown; empty picks the one with most to tell"
    )


@dataclass(frozen=True)
class ClipCard:
    """A playable clip with what is known of it."""

    clip_id: str
    label: str
    title: str
    media: "Media"
    decision: str
    why: tuple[str, ...]
    scores: tuple[tuple[str, str], ...]
    caption: str


@dataclass(frozen=True)
class SampleCard:
    """A generated video with all that is needed to make it again."""

    sample: Sample
    media: "Media"


@dataclass(frozen=True)
class Chart:
    """An SVG and the sentence under it."""

    svg: str
    text: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # report has no flags of its own


def run(context: "Context") -> int:
    path = write_report(context.workspace, context.recipe)
    print(f"report: {path}", flush=True)
    return 0


def write_report(workspace: Workspace, recipe: "Recipe") -> str:
    """Write the report and return where it lies.

    Raises:
        UserError: report.trace_clip_id names no clip, or annotation.gold no file of known answers.
    """
    page = render_report(workspace, recipe)
    workspace.write_bytes(page.encode(), NAME)
    return workspace.path(NAME) if workspace.is_local else f"{workspace.uri.rstrip('/')}/{NAME}"


def render_report(workspace: Workspace, recipe: "Recipe") -> str:
    """The page as text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from annotation.ballots import withdrawn_keys
    from annotation.gold import load_gold
    from jobs.report_funnel import equations, failure_groups, file_counts, stage_funnels
    from jobs.report_measures import measures
    from jobs.report_people import people
    from jobs.report_snapshot import take_snapshot
    from jobs.report_studies import studies
    from jobs.report_training import training

    settings, snapshot = recipe.report, take_snapshot(workspace, recipe)
    trained = training(workspace, recipe, snapshot.reads)
    gold = load_gold(recipe.annotation.gold) if recipe.annotation.gold else ()
    said = people(
        snapshot, settings.num_answers, gold, withdrawn_keys(workspace.table("withdrawals")), recipe.annotation.seed
    )
    told = _told(workspace, snapshot, settings.trace_clip_id)
    funnels = stage_funnels(snapshot, recipe, trained.run_id)
    values: dict[str, Any] = {
        "workspace": workspace.uri,
        "snapshot": snapshot,
        "notes": snapshot.notes,
        "equations": equations(snapshot, recipe),
        "funnels": funnels,
        "failures": failure_groups(snapshot.failures),
        "num_failures": len(snapshot.failures),
        "histograms": _histograms(snapshot),
        "people": said,
        "crowd": _crowd(said),
        "training": trained,
        "curves": _curves(trained.stages),
        "studies": studies(workspace),
        "measures": measures(workspace.table("measurements").records()),
        "lineage": told,
        "lineage_captions": _captions(told),
        "files": file_counts(snapshot)[:MAX_FILES],
        "player": PLAYER,
        "player_hash": base64.b64encode(hashlib.sha256(PLAYER.encode()).digest()).decode(),
        "num_packed": len({clip_id for members in snapshot.members.values() for clip_id in members}),
    }
    answered = [example.clip_id for example in said.examples]
    values |= _media(workspace, snapshot, settings, answered, told, trained.run_id)
    values["headline"] = headline(values)
    environment = Environment(loader=PackageLoader("jobs", "."), autoescape=True, undefined=StrictUndefined)
    environment.filters |= {"answers": _answers, "count": _count}
    return environment.get_template("report.html.jinja").render(values)


def headline(values: dict[str, Any]) -> str:
    """One sentence with the numbers that matter."""
    snapshot, said, trained = values["snapshot"], values["people"], values["training"]
    if not (snapshot.sources or snapshot.clips or snapshot.failures or values["studies"]):
        return "This workspace is empty: nothing has been split yet."
    failed = sum(failure.job == "split" for failure in snapshot.failures)
    parts = [f"{_count(len(snapshot.sources) + failed, 'file')} became {_count(len(snapshot.clips), 'clip')}"]
    if failed:
        parts[0] += f" ({_count(failed, 'file')} could not be split)"
    if snapshot.human:
        kept = sum(row.decision == "keep" for row in snapshot.human.values())
        who = "simulated annotators" if said.simulated == said.total else "people"
        who = "people and simulated annotators" if 0 < said.simulated < said.total else who
        parts.append(f"{who} kept {kept} of the {len(snapshot.human)} they judged")
    if values["num_packed"]:
        parts.append(f"{values['num_packed']} different clips were packed for training")
    if trained.stages:
        steps = sum(stage.steps_done for stage in trained.stages)
        parts.append(f"{_count(len(trained.stages), 'training stage')} ran {_count(steps, 'step')}")
        *_, last = trained.stages
        if last.held_out:
            loss = last.held_out[0]
            parts[-1] += f" (held-out loss of the last: {loss.before:.3f} before, {loss.after:.3f} after)"
    if snapshot.samples:
        parts.append(
            f"{_count(len(snapshot.samples), 'video')} {'was' if len(snapshot.samples) == 1 else 'were'} generated"
        )
    if studies := values["studies"]:
        answers, number = sum(study.answers for study in studies), len(studies)
        parts.append(
            f"judges gave {_count(answers, 'answer')} in {number} blind {'study' if number == 1 else 'studies'}"
        )
    return "; ".join(parts) + "."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _told(workspace: Workspace, snapshot: "Snapshot", wanted: str) -> "Lineage | None":
    """The lineage of the wanted clip, or of the one that the most tables know."""
    from jobs.lineage import lineage

    if wanted:
        return lineage(workspace, wanted)
    if not snapshot.clips:
        return None
    read = {row.clip_id for row in snapshot.reads}

    def much(clip_id: str) -> tuple[int, str]:
        packed = sum(clip_id in members for members in snapshot.members.values())
        return 4 * (clip_id in snapshot.human) + packed + 2 * (clip_id in read), clip_id

    return lineage(workspace, max(snapshot.clips, key=much))


def _media(
    workspace: Workspace,
    snapshot: "Snapshot",
    settings: ReportSettings,
    answered: list[str],
    told: "Lineage | None",
    run_id: str | None,
) -> dict[str, Any]:
    """Everything that plays: each clip is encoded once, however often it is shown."""
    from jobs.report_media import clip_media, rejects, sample_media, survivors

    kept = survivors(snapshot, settings.num_survivors)
    rejected = rejects(snapshot, settings.num_rejects, {shown.clip_id for shown in kept})
    newest_first = sorted(
        snapshot.samples, key=lambda row: (row.checkpoint.split("/")[0] != run_id, row.prompt, row.sample_id)
    )
    samples = newest_first[: settings.num_samples]
    lineage_ids = [told.clip.clip_id] if told and told.clip.clip_id in snapshot.clips else []
    wanted = list(dict.fromkeys([*(shown.clip_id for shown in [*kept, *rejected]), *answered, *lineage_ids]))
    media = {}
    with Progress("report", total=len(wanted) + len(samples), unit="videos") as progress:
        for clip_id in wanted:
            clip = snapshot.clips[clip_id]
            crop = snapshot.crops.get(clip_id)
            media[clip_id] = clip_media(clip, settings.clip_height_px, settings.clip_duration_s, crop)
            progress.advance()
        cards = []
        for sample in samples:
            cards.append(SampleCard(sample, sample_media(workspace, sample)))
            progress.advance()
    return {
        "survivors": [_card(snapshot, shown, media) for shown in kept],
        "rejects": [_card(snapshot, shown, media) for shown in rejected],
        "media": media,
        "samples": cards,
    }


def _card(snapshot: "Snapshot", shown: "Shown", media: dict[str, "Media"]) -> ClipCard:
    from jobs.trace import caption_text

    clip: Clip = snapshot.clips[shown.clip_id]
    video, caption = snapshot.videos.get(clip.video_id), snapshot.captions.get(shown.clip_id)
    return ClipCard(
        clip_id=shown.clip_id,
        label=snapshot.label(clip),
        title=video.title if video else "",
        media=media[shown.clip_id],
        decision=shown.decision,
        why=shown.why,
        scores=tuple((name, _value(score)) for name, score in snapshot.scores_of(shown.clip_id).items()),
        caption=caption_text(to_row(caption)) if caption else "",
    )


def _value(score: Score) -> str:
    return f"{score.value:.3g}" if score.value is not None else f"failed ({score.error})"


def _histograms(snapshot: "Snapshot") -> list[Chart]:
    from curation.scorer import scorer_class
    from jobs.report_charts import finite, histogram

    charts = []
    for scorer, scores in snapshot.scores.items():
        values = finite([score.value for score in scores.values()])
        rules = {
            stage: rule
            for stage, gates in snapshot.gates.stages.items()
            for rule in gates.rules
            if rule.scorer == scorer
        }
        missing = len(snapshot.clips) - len(values)
        text = f"{_count(len(values), 'clip')}{f', {missing} without a value' if missing else ''}"
        if not values:
            charts.append(Chart("", f"{scorer}: no clip has a value"))
            continue
        try:
            known = scorer_class(scorer)
            unit, text = known.unit, f"{text}; {known.direction}"
        except UserError:  # a scorer of an older Dailies
            unit = ""
        charts.append(
            Chart(histogram(scorer, unit, values, rules), f"{text}{'' if rules else '; no gate asks for it'}")
        )
    return charts


def _crowd(said: "People") -> dict[str, str]:
    """The charts of the people's section, empty where there is nobody to compare with."""
    from jobs.report_charts import agreement_chart, crowd_chart

    charts = {"annotators": "", "agreement": ""}
    if any(each.keeps_more or each.drafted for each in said.annotators):
        charts["annotators"] = crowd_chart(said.annotators)
    if any(each.alpha is not None for _, each in said.agreement):
        charts["agreement"] = agreement_chart(said.agreement)
    return charts


def _curves(stages: Iterable[Any]) -> dict[str, str]:
    from jobs.report_charts import loss_curve

    return {stage.curve.stage: loss_curve(stage.curve) for stage in stages}


def _captions(told: "Lineage | None") -> list[tuple[str, str]]:
    from jobs.trace import caption_text

    return [(caption.by, caption_text(to_row(caption))) for caption in told.captions] if told else []


def _answers(annotation: Any) -> dict[str, str]:
    from jobs.trace import answers_of

    return answers_of(annotation)
