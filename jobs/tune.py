"""`dailies tune`: a contact sheet of the clips around one gate's threshold, so that a person can see where to put it.

    Catalogue --nearest clips below | threshold | nearest above--> middle frames, decoded now --> tune/STAGE-SCORER.html

Beside the pictures, in order of their values, the page has the histogram of the pool, the share on either side, and
what the threshold would cost: how many clips the stage keeps with it, and how many it rejects that no other rule does.
Each clip says what the stage's other gates make of it. The page needs no network and no script; nothing is decided.
"""

import argparse
import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pyarrow as pa

from curation.catalogue import FACTS, Catalogue
from curation.gates import OUTCOMES, GateRule, GateSettings, Kind, Outcome, Rules, StageGates, bounds_text, kinds_of
from curation.judgement import DECISIONS, StageJudgement, judge_stages
from curation.records import Clip, Crop, Decision, Span, UserError
from curation.scorer import About, ClipFrames, scorer_class
from curation.source import UnreadableVideo
from curation.tables import Workspace
from curation.video import FrameSpec, scan
from jobs.gates import current_catalogue, current_rules
from jobs.progress import Progress

if TYPE_CHECKING:
    from jobs.config import Context

FOLDER = "tune"
PICTURE = FrameSpec(fps=None, short_side_px=160, planes="bgr")
JPEG_QUALITY = 80
SIDES = {Outcome.PASS: "passes", Outcome.NARROW: "narrow", Outcome.FAIL: "fails", Outcome.UNKNOWN: "narrow"}


@dataclass(frozen=True)
class Question:
    """The bound that is looked at: a stage's gates with the rule as it would be, and without it."""

    stage: str
    gates: StageGates  # resolved, the rule with the threshold in place
    rule: GateRule
    bound: str  # "min" or "max"
    threshold: float
    others: StageGates


@dataclass(frozen=True)
class Near:
    """The clips of the pool in order of their values, and which of them lie nearest the threshold."""

    below: np.ndarray  # places in the catalogue, values rising
    above: np.ndarray
    num_below: int
    num_above: int


@dataclass(frozen=True)
class Card:
    """One clip of the sheet. `picture` is a data URI, or empty with the reason in `missing`."""

    clip_id: str
    label: str
    value: str
    side: str
    decision: str
    why: str
    picture: str
    missing: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stage", required=True, help="a stage of the recipe's gates")
    parser.add_argument("--scorer", required=True, help="a scorer of the recipe, or a fact such as duration_s")
    parser.add_argument("--threshold", type=float, help="where to look; default: the gate's own bound")
    parser.add_argument("--bound", choices=("min", "max"), help="which bound; default: the one that the gate has")
    parser.add_argument("--count", type=int, default=24, help="clips to show, half of them on either side")


def run(context: "Context") -> int:
    args, workspace = context.args, context.workspace
    if args.count < 2:
        raise UserError(f"--count {args.count} shows no clip on either side; give at least 2")
    catalogue = current_catalogue(workspace, context.recipe)
    rules = current_rules(workspace, context.recipe, catalogue)
    asked = ask(rules, catalogue, args.stage, args.scorer, args.threshold, args.bound)
    page = sheet(workspace, catalogue, asked, args.count)
    name = f"{args.stage}-{args.scorer}.html"
    workspace.write_bytes(page.encode(), FOLDER, name)
    where = workspace.path(FOLDER, name) if workspace.is_local else f"{workspace.uri.rstrip('/')}/{FOLDER}/{name}"
    print(f"tune: {where}", flush=True)
    return 0


def ask(
    rules: Rules, catalogue: Catalogue, stage: str, scorer: str, threshold: float | None, bound: str | None
) -> Question:
    """Find the rule in question, or make one.

    Raises:
        UserError: no such stage or scorer, or no threshold given where the stage has no gate on the scorer.
    """
    stages = rules.resolved.stages
    if stage not in stages:
        raise UserError(f"no gates for stage {stage!r}; stages with gates: {', '.join(stages) or 'none'}")
    if scorer not in catalogue.columns:
        raise UserError(f"no scorer {scorer!r} in this recipe; it has {', '.join(sorted(catalogue.columns))}")
    gates = stages[stage]
    own = next((rule for rule in gates.rules if rule.scorer == scorer), None)
    bound = bound or _usual_bound(own, scorer)
    if threshold is None:
        threshold = getattr(own, bound, None)
    if threshold is None:
        judged = ", ".join(f"{rule.scorer} {bounds_text(rule)}" for rule in gates.rules) or "none"
        raise UserError(f"stage {stage} has no {bound} on {scorer}; give --threshold. Its gates: {judged}")
    rule = _with_bound(own or GateRule.model_validate({"scorer": scorer, bound: threshold}), bound, threshold)
    others = tuple(each for each in gates.rules if each is not own)
    mine = tuple(rule if each is own else each for each in gates.rules) if own else (*others, rule)
    with_it, without = (gates.model_copy(update={"rules": each}) for each in (mine, others))
    return Question(stage, with_it, rule, bound, threshold, without)


def near(catalogue: Catalogue, asked: Question, count: int) -> Near:
    """The nearest clips on either side; where one side is short, the other fills up.

    Raises:
        UserError: no clip has a value.
    """
    values = catalogue.columns[asked.rule.scorer].values
    order = np.argsort(values, kind="stable")[: np.count_nonzero(~np.isnan(values))]  # NaN sorts last
    if not len(order):
        raise UserError(f"no clip has a value of {asked.rule.scorer} yet; run `dailies score` first")
    split = int(np.searchsorted(values[order], asked.threshold, "left" if asked.bound == "min" else "right"))
    below, above = split, len(order) - split
    num_below = min(below, max(count // 2, count - above))
    num_above = min(above, count - num_below)
    return Near(order[split - num_below : split], order[split : split + num_above], below, above)


def sheet(workspace: Workspace, catalogue: Catalogue, asked: Question, count: int) -> str:
    """The page, as HTML."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from jobs.report_charts import finite, histogram

    found = near(catalogue, asked, count)
    scorer, column = asked.rule.scorer, catalogue.columns[asked.rule.scorer]
    mine, others = _judge(catalogue, asked.stage, asked.gates), _judge(catalogue, asked.stage, asked.others)
    unit = "" if scorer in FACTS else scorer_class(scorer).unit
    with Progress("pictures", total=len(found.below) + len(found.above), unit="clips") as progress:
        sides = (found.below, found.above)
        below, above = (_cards(workspace, catalogue, asked, others, side, progress) for side in sides)
    num_values = found.num_below + found.num_above
    values = {
        "stage": asked.stage,
        "scorer": scorer,
        "bound": asked.bound,
        "threshold": f"{asked.threshold:.4g}",
        "about": f"{workspace.uri}: {len(catalogue)} clips, {num_values} of them with a value",
        "chart": histogram(scorer, unit, finite(column.values.tolist()), {asked.stage: asked.rule}),
        "figures": _figures(asked, mine, others, found),
        "below": below,
        "above": above,
        "below_text": f"{found.num_below} clips, {100 * found.num_below / num_values:.1f} %",
        "above_text": f"{found.num_above} clips, {100 * found.num_above / num_values:.1f} %",
    }
    environment = Environment(loader=PackageLoader("jobs", "."), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("tune.html.jinja").render(values)


def _figures(asked: Question, mine: StageJudgement, others: StageJudgement, found: Near) -> list[tuple[str, str]]:
    losses = next(row for rule, row in zip(mine.gates.rules, mine.losses(), strict=True) if rule == asked.rule)
    total = found.num_below + found.num_above
    under = f"{found.num_below} ({100 * found.num_below / total:.1f} %)"
    with_it, without = mine.counts(), others.counts()
    return [
        (f"clips below {asked.threshold:.4g}" + (" or at it" if asked.bound == "max" else ""), under),
        ("rejected clips that name this rule", str(losses.lost)),
        ("rejected that would not be without it", str(losses.lost_only_by_this)),
        ("narrow here", str(losses.narrow)),
        ("not scored, or failed", str(losses.unknown)),
        *(
            (
                f"{decision.value} in stage, with the rule / without it",
                f"{with_it[decision]} / {without[decision]}",
            )
            for decision in Decision
        ),
    ]


def _cards(
    workspace: Workspace,
    catalogue: Catalogue,
    asked: Question,
    others: StageJudgement,
    places: np.ndarray,
    progress: Progress,
) -> list[Card]:
    clip_ids = catalogue.clip_ids.take(pa.array(places, pa.int64()))
    clips = {clip.clip_id: clip for clip in workspace.table("clips").having("clip_id", clip_ids)}
    rows = workspace.table("crops").having("clip_id", clip_ids)
    crops = {crop.clip_id: crop for crop in rows if crop.version == catalogue.crop}
    column, reasons = catalogue.columns[asked.rule.scorer], others.reasons()
    kinds, cards = kinds_of(asked.rule, column)[places], []
    for place, kind, clip_id in zip(places.tolist(), kinds.tolist(), clip_ids.to_pylist(), strict=True):
        clip, combination = clips[clip_id], int(others.of_clip[place])
        decision = DECISIONS[others.decisions[combination]]
        label = "" if column.labels is None or column.labels[place] < 0 else f" {column.classes[column.labels[place]]}"
        picture, missing = _picture(clip, crops.get(clip_id))
        cards.append(
            Card(
                clip_id=clip_id,
                label=f"{clip.uri.rsplit('/', 1)[-1]} {clip.start_s:.1f} to {clip.end_s:.1f} s",
                value=f"{column.values[place]:.4g}{label}",
                side=SIDES[OUTCOMES[Kind(kind)]],
                decision=decision.value,
                why="" if decision is Decision.KEEP else reasons[combination],
                picture=picture,
                missing=missing,
            )
        )
        progress.advance(1)
    return cards


def _picture(clip: Clip, crop: Crop | None) -> tuple[str, str]:
    """The frame at the middle of a clip, of what its crop keeps, as a data URI; or why there is none."""
    try:
        for seen in scan(clip.uri, [PICTURE], _second_half(clip)):
            about = About(clip.width, clip.height, clip.frame_rate)
            frames = ClipFrames.of([seen.frame], PICTURE, about)
            bgr = (frames.cropped(crop) if crop else frames).bgr
            assert bgr is not None, "the spec asks for colour"
            done, jpeg = cv2.imencode(".jpg", bgr[0], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            assert done, "cv2 encodes any uint8 picture"
            return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode(), ""
    except (UnreadableVideo, OSError) as error:
        return "", f"cannot be shown: {error}"
    return "", "cannot be shown: nothing decodes in its second half"


def _second_half(clip: Clip) -> Span:
    return Span((clip.start_pts + clip.end_pts) // 2, clip.end_pts, clip.time_base_num, clip.time_base_den)


def _judge(catalogue: Catalogue, stage: str, gates: StageGates) -> StageJudgement:
    settings = GateSettings(stages={stage: gates})
    return judge_stages(Rules(asked=settings, resolved=settings, versions={}), catalogue)[0]


def _usual_bound(rule: GateRule | None, scorer: str) -> str:
    if rule is not None:
        return "min" if rule.min is not None or rule.max is None else "max"
    return "max" if scorer not in FACTS and scorer_class(scorer).direction == "lower is better" else "min"


def _with_bound(rule: GateRule, bound: str, threshold: float) -> GateRule:
    """The rule with one bound moved; its review band stays only where it still lies outside."""
    given: dict[str, Any] = rule.model_dump()
    outer = given[f"review_{bound}"]
    if outer is not None and (outer > threshold if bound == "min" else outer < threshold):
        given[f"review_{bound}"] = None
    return GateRule.model_validate({**given, bound: threshold})
