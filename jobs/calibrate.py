"""`dailies calibrate`: learn `suitability` from people's verdicts, and what gates these verdicts ask for.

    human_verdicts, scores, facts, embeddings --fit, judged by video--> enough?  no: says how many more answers
        yes --> calibrations/<digest>.* (model, card) --> scores "suitability" of every clip --> a pointer, for gates
            --> hand-set gates, proposed ones and one threshold on `suitability`, compared on held-out answers

Afterwards gates and routing may ask for `suitability` as for any other score. `--apply` scores clips that came later by
the current model, without fitting. The same answers make the same model, so a second run finds everything there.
Simulated and real answers are never mixed: where there are real ones only those count, and simulated ones count only
where `calibrate.allow_simulated` says so. Arrays only, no Ray. Exit code 1 where the answers support no model.
"""

import argparse
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from annotation.fitting import Fit, committee, fit, importances
from annotation.project import KEPT, REJECTED
from annotation.reliability import (
    Resamples,
    auc,
    calibration_error,
    lacking,
    operating_point,
    proposal,
    proposed_out_of_fold,
    reliability,
    unsupported,
)
from annotation.suitability import SUITABILITY, CalibrateSettings, Features, Model
from curation.catalogue import Catalogue
from curation.gates import GateSettings, resolve
from curation.records import UserError
from jobs.calibration_card import Answers, Card, write_card
from jobs.calibration_rules import StageComparison, compare_stage, suitability_lines, table_lines, toml_lines
from jobs.calibrations import (
    FOLDER,
    current_calibration,
    features_at,
    point_at,
    read_model,
    vectors_at,
    write_committee,
    write_model,
    write_scores,
)
from jobs.gates import current_catalogue, judged_versions

if TYPE_CHECKING:
    from jobs.config import Context


@dataclass(frozen=True)
class Taught:
    """The decided clips of the catalogue."""

    places: np.ndarray  # int64 [N], rising
    kept: np.ndarray  # bool [N]
    videos: np.ndarray  # str [N]
    simulated: bool
    set_aside: int


@dataclass(frozen=True)
class ApplyTally:
    """The accounting of scoring: every clip has a row, gets one, or waits for its other scores."""

    clips: int
    written: int
    there: int
    waiting: int

    @property
    def holds(self) -> bool:
        return self.clips == self.written + self.there + self.waiting

    def __str__(self) -> str:
        text = f"calibrate: {self.clips} clips = {self.written} scored + {self.there} already there"
        text += f" + {self.waiting} waiting for other scores"
        return text if self.holds else f"{text}  DOES NOT HOLD"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--apply", action="store_true", help="score new clips by the current model, fit nothing")
    parser.add_argument("--precision", type=float, help="in place of calibrate.precision")


def run(context: "Context") -> int:
    catalogue = current_catalogue(context.workspace, context.recipe)
    if context.args.apply:
        return _apply(context, catalogue, _current_model(context))
    settings = _settings(context)
    taught = read_answers(context, catalogue)
    _say_whose(taught)
    missing = lacking(taught.kept, taught.videos, settings)
    if missing:
        print(f"calibrate: too few answers to learn from; wanted are at least {'; '.join(missing)}", flush=True)
        return 1
    features = _features(context, catalogue, taught)
    found = fit(features, taught.kept, taught.videos, settings)
    resamples = Resamples(taught.videos, settings.num_bootstraps, settings.seed)
    why_not = unsupported(auc(found.chance, taught.kept, resamples), len(taught.kept), resamples.num_videos)
    if why_not:
        print(f"calibrate: {why_not}", flush=True)
        return 1
    card = _card(context, catalogue, taught, features, found, resamples, settings)
    write_model(context.workspace, found.model)
    members = committee(features, taught.kept, taught.videos, settings)
    write_committee(context.workspace, found.model.digest, members)
    write_card(context.workspace, card)
    _print(card)
    code = _apply(context, catalogue, found.model)
    point_at(context.workspace, context.recipe, found.model.digest)
    print(f"calibrate: the card is {context.workspace.path(FOLDER, f'{card.digest}.md')}", flush=True)
    return code


def read_answers(context: "Context", catalogue: Catalogue) -> Taught:
    """Resolved verdicts of clips in the catalogue: real ones if there are any, else simulated ones where allowed.

    Raises:
        UserError: all are simulated and calibrate.allow_simulated is false.
    """
    rows = context.workspace.table("human_verdicts").read(["clip_id", "decision", "simulated", "rule"])
    place = catalogue.find(rows.column("clip_id"))
    decisions = rows.column("decision").to_numpy(zero_copy_only=False)
    usable = (place >= 0) & np.isin(decisions, [KEPT, REJECTED])
    simulated = rows.column("simulated").to_numpy(zero_copy_only=False).astype(bool)
    real = usable & ~simulated
    if not real.any() and (usable & simulated).any() and not context.recipe.calibrate.allow_simulated:
        raise UserError(
            f"all {int(usable.sum())} verdicts are simulated, which teach nothing about people; collect people's "
            "answers, or set calibrate.allow_simulated = true for a model that says SIMULATED"
        )
    used = real if real.any() else usable
    places, last = np.unique(place[used][::-1], return_index=True)  # of several rules the last by name
    kept = (decisions[used][::-1] == KEPT)[last]
    videos = _video_ids(context, catalogue, places)
    set_aside = int((usable & simulated).sum()) if real.any() else 0
    return Taught(places, kept, videos, bool(usable.any() and not real.any()), set_aside)


def _settings(context: "Context") -> CalibrateSettings:
    settings, given = context.recipe.calibrate, context.args.precision
    if given is None:
        return settings
    if not 0 < given < 1:
        raise UserError(f"--precision wants a share between 0 and 1, such as 0.9, got {given:g}")
    return settings.model_copy(update={"precision": given})


def _current_model(context: "Context") -> Model:
    digest = current_calibration(context.workspace, context.recipe)
    if digest is None:
        raise UserError(
            f"no {SUITABILITY} was learnt with this recipe's scorers; run `dailies calibrate` without --apply first"
        )
    return read_model(context.workspace, digest)


def _apply(context: "Context", catalogue: Catalogue, model: Model) -> int:
    written = write_scores(context.workspace, context.recipe, catalogue, model)
    tally = ApplyTally(len(catalogue), *written)
    print(tally, flush=True)
    return 0 if tally.holds else 1


def _features(context: "Context", catalogue: Catalogue, taught: Taught) -> Features:
    vectors = vectors_at(context.workspace, context.recipe, catalogue, taught.places)
    return features_at(catalogue, context.recipe.score, taught.places, vectors)


def _video_ids(context: "Context", catalogue: Catalogue, places: np.ndarray) -> np.ndarray:
    row_of = np.full(len(catalogue), -1)
    row_of[places] = np.arange(len(places))
    videos = np.full(len(places), "", object)
    for part in context.workspace.table("clips").parts(["clip_id", "video_id"]):
        at = catalogue.find(part.column("clip_id"))
        rows = np.flatnonzero(at >= 0)
        rows = rows[row_of[at[rows]] >= 0]
        videos[row_of[at[rows]]] = part.column("video_id").to_numpy(zero_copy_only=False)[rows]
    return videos.astype(str)


def _card(
    context: "Context",
    catalogue: Catalogue,
    taught: Taught,
    features: Features,
    found: Fit,
    resamples: Resamples,
    settings: CalibrateSettings,
) -> Card:
    kept, chance = taught.kept, found.chance
    proposed = proposed_out_of_fold(chance, kept, found.fold, settings.precision)
    point = operating_point(chance, kept, settings.precision)
    model = found.model
    vectors = ("embedding",) if model.encoder.axes else ()
    return Card(
        digest=model.digest,
        kind=model.kind,
        scaling=model.scaling.kind,
        answers=_answers(context, catalogue, taught),
        features=(*model.encoder.knots, *model.encoder.classes, *vectors),
        log_losses=found.log_losses,
        scaling_losses=found.scaling_losses,
        auc=auc(chance, kept, resamples),
        calibration_error=calibration_error(chance, kept, resamples),
        unscaled_error=calibration_error(found.unscaled, kept, resamples),
        bins=reliability(chance, kept, resamples),
        wanted_precision=settings.precision,
        operating_point=point,
        at_operating_point=proposal("operating point", proposed, kept, resamples),
        importances=importances(model, features, kept, settings.seed),
        stages=_compare(context, catalogue, taught, found, resamples, settings, point),
        settings=settings.model_dump(mode="json"),
    )


def _compare(
    context: "Context",
    catalogue: Catalogue,
    taught: Taught,
    found: Fit,
    resamples: Resamples,
    settings: CalibrateSettings,
    point: float,
) -> list[StageComparison]:
    """Every stage that has a gate which answers may move; gates on `suitability` and unknown scores are left out."""
    known = catalogue.columns.keys() - {SUITABILITY}
    asked = {
        name: gates.model_copy(update={"rules": tuple(rule for rule in gates.rules if rule.scorer in known)})
        for name, gates in context.recipe.gates.stages.items()
    }
    asked = {
        name: gates
        for name, gates in asked.items()
        if any(rule.scorer not in settings.fixed_rules for rule in gates.rules)
    }
    rules = resolve(GateSettings(stages=asked), judged_versions(context.workspace, context.recipe), catalogue)
    answers = (found.chance, taught.kept, found.fold, point)
    return [
        compare_stage(name, gates, rules.resolved.stages[name], catalogue, taught.places, answers, resamples, settings)
        for name, gates in asked.items()
    ]


def _answers(context: "Context", catalogue: Catalogue, taught: Taught) -> Answers:
    workspace, clip_ids = context.workspace, catalogue.clip_ids.take(pa.array(taught.places))
    columns = ["clip_id", "annotator", "simulated", "skipped", "updated_at"]
    rows = workspace.table("annotations").read(columns)
    mine = pc.field("clip_id").isin(clip_ids) & ~pc.field("skipped") & (pc.field("simulated") == taught.simulated)
    rows = rows.filter(mine)
    pairs = sorted(set(zip(rows.column("clip_id").to_pylist(), rows.column("annotator").to_pylist(), strict=True)))
    times = sorted(rows.column("updated_at").to_pylist())
    uris = {
        video.video_id: video.uri for video in workspace.table("videos").having("video_id", sorted(set(taught.videos)))
    }
    tasks = workspace.table("tasks").read(["clip_id", "reason"]).filter(pc.field("clip_id").isin(clip_ids))
    reasons = dict(zip(*(tasks.column(name).to_pylist() for name in ("clip_id", "reason")), strict=True))
    return Answers(
        simulated=taught.simulated,
        kept=int(taught.kept.sum()),
        rejected=int((~taught.kept).sum()),
        videos=len(np.unique(taught.videos)),
        set_aside=taught.set_aside,
        first_at=times[0] if times else "",
        last_at=times[-1] if times else "",
        by_person=_counted(person for _, person in pairs),
        by_source=_counted(uris.get(video, video) for video in taught.videos.tolist()),
        by_reason=_counted(reasons.get(clip_id, "not known") for clip_id in clip_ids.to_pylist()),
    )


def _counted(names: Iterable[str]) -> dict[str, int]:
    counts = Counter(names)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _say_whose(taught: Taught) -> None:
    counts = (
        f"{int(taught.kept.sum())} kept, {int((~taught.kept).sum())} rejected, {len(np.unique(taught.videos))} videos"
    )
    whose = "SIMULATED answers" if taught.simulated else "people's answers"
    aside = f"; {taught.set_aside} simulated ones set aside" if taught.set_aside else ""
    print(f"calibrate: {len(taught.kept)} clips with {whose} ({counts}){aside}", flush=True)


def _print(card: Card) -> None:
    print(f"calibrate: {card.kind} model {card.digest}, scaling {card.scaling}, AUC {card.auc} out of fold")
    print(f"calibrate: calibration error {card.calibration_error}, before scaling {card.unscaled_error}")
    for each in card.bins:
        print(f"  chance {each.low:.1f} to {each.high:.1f}: {each.clips:>6} clips, kept {each.kept_share}")
    for comparison in card.stages:
        print("\n" + "\n".join(table_lines(comparison, card.wanted_precision)) + "\n")
        print("\n".join([*toml_lines(comparison), "# or, in place of the learnt ones", *suitability_lines(comparison)]))
    point = card.at_operating_point
    print(
        f"\ncalibrate: from suitability {card.operating_point:.4g} on, precision {point.precision}, "
        f"recall {point.recall}, {point.proposed} of {card.answers.kept + card.answers.rejected} answered clips",
        flush=True,
    )
