"""A model's card: what `suitability` was taught on, how good it is, and what it must not be used for.

    answers, Fit, figures --Card--> <digest>.json for programs, <digest>.md for people, <digest>.png of its reliability

After Mitchell et al. 2019 (arXiv 1810.03993). Nothing in it depends on when or where it was written, so the same
answers give the same card. The first line of a model of simulated answers says so.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from annotation.reliability import Bin, Estimate, Proposal
from curation.tables import Workspace
from jobs.calibration_rules import StageComparison, shown, suitability_lines, toml_lines
from jobs.calibrations import FOLDER

MAX_LISTED = 20
MUST_NOT = (
    "as a measure of anything but whether these people would keep a clip on this page: it says nothing of consent, "
    "rights, safety or nudity",
    "on footage unlike the answered videos, or with scores of other versions (gates find no model there)",
    "to grade the people whose answers taught it, or to compare two models: a chance of one is not that of the other",
    "in place of people where the recipe wants a person to say yes to every clip",
)


@dataclass(frozen=True)
class Answers:
    """What the model was taught on."""

    simulated: bool
    kept: int
    rejected: int
    videos: int
    set_aside: int  # simulated answers that were left out, as there are real ones
    first_at: str
    last_at: str
    by_person: Mapping[str, int]
    by_source: Mapping[str, int]
    by_reason: Mapping[str, int]  # why the clips were sent to people


@dataclass(frozen=True)
class Card:
    """Everything that is said of a model."""

    digest: str
    kind: str
    scaling: str
    answers: Answers
    features: Sequence[str]
    log_losses: Mapping[str, float]
    scaling_losses: Mapping[str, float]
    auc: Estimate
    calibration_error: Estimate
    unscaled_error: Estimate
    bins: Sequence[Bin]
    wanted_precision: float
    operating_point: float
    at_operating_point: Proposal
    importances: Mapping[str, float]
    stages: Sequence[StageComparison]
    settings: Mapping[str, Any]

    def tree(self) -> dict[str, Any]:
        """For programs, as JSON holds it."""
        named = {name: value for name, value in vars(self).items() if name != "stages"}
        plain = {
            name: asdict(value) if hasattr(value, "__dataclass_fields__") else value for name, value in named.items()
        }
        stages = [
            {
                "stage": each.stage,
                "ways": [asdict(way) for way in each.ways],
                "rules": [None if rule is None else rule.model_dump(exclude_defaults=True) for rule in each.proposed],
            }
            for each in self.stages
        ]
        return _without_nan({**plain, "bins": [asdict(each) for each in self.bins], "stages": stages})

    def text(self) -> str:
        """For people, as Markdown."""
        parts = [_title(self), _data(self), _figures(self), _gates(self), _limits(self)]
        return "\n\n".join(parts) + "\n"


def write_card(workspace: Workspace, card: Card) -> None:
    """The three files; written again with the same content if they are there."""
    workspace.write_bytes((json.dumps(card.tree(), indent=1) + "\n").encode(), FOLDER, f"{card.digest}.json")
    workspace.write_bytes(card.text().encode(), FOLDER, f"{card.digest}.md")
    workspace.write_bytes(reliability_plot(card.bins, card.answers.simulated), FOLDER, f"{card.digest}.png")


def reliability_plot(bins: Sequence[Bin], simulated: bool) -> bytes:
    """PNG: the share that people kept against the chance that was given, with intervals and counts."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    chance = np.array([each.mean_chance for each in bins])
    shares = np.array([[each.kept_share.value, each.kept_share.low, each.kept_share.high] for each in bins]).T
    reach = np.maximum([shares[0] - shares[1], shares[2] - shares[0]], 0)
    axes.errorbar(chance, shares[0], yerr=np.nan_to_num(reach), fmt="o-", color="#2a6f97", capsize=3, linewidth=1)
    for each, share in zip(bins, shares[0], strict=True):
        axes.annotate(str(each.clips), (each.mean_chance, share), (5, -11), textcoords="offset points", fontsize=8)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="chance given, out of fold", ylabel="share that people kept")
    axes.set_title("SIMULATED answers" if simulated else "people's answers", fontsize=10)
    sink = io.BytesIO()
    figure.savefig(sink, format="png", metadata={"Software": None})
    return sink.getvalue()


def _title(card: Card) -> str:
    first = (
        "**SIMULATED: taught on simulated answers, no person said any of this.**\n\n" if card.answers.simulated else ""
    )
    counts = f"{card.answers.kept} kept and {card.answers.rejected} rejected clips of {card.answers.videos} videos"
    return (
        f"{first}# suitability {card.digest}\n\nThe chance that people keep a clip, learnt from {counts}.\n"
        f"Model: {card.kind}; scaling: {card.scaling}. Features: {', '.join(card.features)}."
    )


def _data(card: Card) -> str:
    answers = card.answers
    who = "simulated annotators" if answers.simulated else "people"
    lines = [
        "## What it was taught on",
        "",
        f"Answers of {who} from {answers.first_at or '?'} to {answers.last_at or '?'}.",
    ]
    if answers.set_aside:
        lines.append(f"{answers.set_aside} clips with simulated answers were left out: the two are never mixed.")
    for heading, counts in (
        ("answers by person", answers.by_person),
        ("decided clips by source", answers.by_source),
        ("decided clips by why they were asked about", answers.by_reason),
    ):
        lines += ["", f"| {heading} | |", "|---|---|"]
        lines += [f"| {name.replace('|', '/')} | {count} |" for name, count in [*counts.items()][:MAX_LISTED]]
        if len(counts) > MAX_LISTED:
            lines.append(f"| and {len(counts) - MAX_LISTED} more | {sum([*counts.values()][MAX_LISTED:])} |")
    return "\n".join(lines)


def _figures(card: Card) -> str:
    point = card.at_operating_point
    lines = [
        "## How good it is",
        "",
        "On clips of videos that the model had not seen; 95% intervals by resampling videos.",
        "",
        f"- AUC {card.auc}",
        f"- expected calibration error {card.calibration_error}; before scaling {card.unscaled_error}",
        f"- log loss {_losses(card.log_losses)}; by scaling {_losses(card.scaling_losses)}",
        f"- operating point for {card.wanted_precision:.0%} precision: suitability >= {card.operating_point:.4g}",
        f"- there, precision {shown(point.precision)}, recall {shown(point.recall)}, "
        f"proposed share {shown(point.proposed_share)} ({point.proposed} clips)",
        "",
        f"![reliability]({card.digest}.png)",
        "",
        "| chance | clips | mean chance | kept |",
        "|---|---|---|---|",
        *map(_bin_line, card.bins),
        "",
        "| shuffled | log loss rises by, nats |",
        "|---|---|",
        *(f"| {name} | {rise:.4f} |" for name, rise in card.importances.items()),
    ]
    return "\n".join(lines)


def _bin_line(each: Bin) -> str:
    bounds = f"{each.low:.1f} to {each.high:.1f}"
    return f"| {bounds} | {each.clips} | {each.mean_chance:.3f} | {each.kept_share} |"


def _gates(card: Card) -> str:
    lines = ["## Gates", ""]
    for comparison in card.stages:
        lines += [
            f"Stage `{comparison.stage}`:",
            "",
            "| | precision | recall | kept share | clips |",
            "|---|---|---|---|---|",
        ]
        for way in comparison.ways:
            figures = " | ".join(shown(each) for each in (way.precision, way.recall, way.proposed_share))
            lines.append(f"| {way.name} | {figures} | {way.proposed} |")
        learned = ["", "# or, in place of the learnt ones", *suitability_lines(comparison)]
        lines += ["", "```toml", *toml_lines(comparison), *learned, "```", ""]
    return "\n".join(lines).rstrip() if card.stages else "## Gates\n\nThe recipe has no gates to compare with."


def _limits(card: Card) -> str:
    return "\n".join(
        [
            "## What it must not be used for",
            "",
            *(f"- {each}" for each in MUST_NOT),
            "",
            "Figures are of the clips that people were asked about, not of the pool: clips of a review band are harder "
            "than most, and clips chosen for their information harder still. Only an audit slice, drawn at random, "
            "speaks for the pool. Near duplicates in different videos make figures look better than they are.",
        ]
    )


def _losses(losses: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items())


def _without_nan(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {name: _without_nan(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_without_nan(value) for value in tree]
    return None if isinstance(tree, float) and tree != tree else tree
