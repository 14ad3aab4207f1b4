"""A stage's gates as bounds that can be searched, the bounds that people's answers ask for, and the gates again.

    GateRule --Bound per side--> values [N, R], hand-set [R] --annotation.thresholds.search--> proposed [R] --> TOML

A largest value is negated, and a class that does not pass counts by minus its confidence, so that every bound says "at
least". Gates of policy and format (`calibrate.fixed_rules`) stay as they are and are part of every way that is
compared. A clip counts as proposed when all rules pass; narrow misses and unknown scores go to people and do not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from annotation.reliability import Proposal, Resamples, proposal, proposed_out_of_fold
from annotation.suitability import SUITABILITY, CalibrateSettings
from annotation.thresholds import passes, search
from curation.catalogue import Catalogue, Column, State
from curation.gates import GateRule, StageGates, bounds_text

RIGHT_CLASS = 1.0  # above every minus confidence
NO_WRONG_CLASS = 0.5  # the bound that only right classes reach
REVIEW_DIGITS = 6


@dataclass(frozen=True)
class Bound:
    """One side of one rule, as "at least `bound`"."""

    rule: int
    side: str  # "min", "max" or "class"
    bound: float
    values: np.ndarray  # float64 [N], NaN where unknown
    free: bool


@dataclass(frozen=True)
class StageComparison:
    """How a stage's gates do on answered clips, by hand, as proposed, and by one threshold on `suitability`."""

    stage: str
    ways: tuple[Proposal, ...]
    proposed: tuple[GateRule | None, ...]  # rule by rule; None: no bound helps
    asked: StageGates
    suitability: float  # the operating point of all answers


def compare_stage(
    stage: str,
    asked: StageGates,
    resolved: StageGates,
    catalogue: Catalogue,
    places: np.ndarray,
    answers: tuple[np.ndarray, np.ndarray, np.ndarray, float],
    resamples: Resamples,
    settings: CalibrateSettings,
) -> StageComparison:
    """Search on each fold's other folds, compare on the fold; what is proposed in the end is of all answers.

    Args:
        places: of the answered clips in the catalogue.
        answers: out-of-fold chance [N], kept bool [N], fold [N], and the operating point of all answers.
    """
    chance, kept, fold, point = answers
    bounds = _bounds(resolved, catalogue, places, settings.fixed_rules)
    values_NR = np.column_stack([bound.values for bound in bounds]) if bounds else np.zeros((len(places), 0))
    hand_set_R, free = np.array([bound.bound for bound in bounds]), [bound.free for bound in bounds]
    fixed = passes(values_NR[:, ~np.array(free, bool)], hand_set_R[~np.array(free, bool)])
    held_out = np.zeros(len(kept), bool)
    for number in np.unique(fold):
        here = fold == number
        found = search(values_NR[~here], kept[~here], settings.precision, hand_set_R, free)
        held_out[here] = passes(values_NR[here], found)
    learned = proposed_out_of_fold(np.where(fixed, chance, -1.0), kept, fold, settings.precision) & fixed
    ways = (
        proposal("hand-set", passes(values_NR, hand_set_R), kept, resamples),
        proposal("proposed", held_out, kept, resamples),
        proposal(SUITABILITY, learned, kept, resamples),
    )
    final = search(values_NR, kept, settings.precision, hand_set_R, free)
    rules = tuple(_rule(index, rule, bounds, final) for index, rule in enumerate(resolved.rules))
    return StageComparison(stage, ways, rules, asked, point)


def table_lines(comparison: StageComparison, precision: float) -> list[str]:
    """The comparison as lines of a terminal."""
    lines = [f"stage {comparison.stage}, on held-out answers, {precision:.0%} wanted:"]
    lines.append(f"  {'':<12} {'precision':<26} {'recall':<26} {'kept share':<26} clips")
    for way in comparison.ways:
        figures = "".join(f"{shown(each):<27}" for each in (way.precision, way.recall, way.proposed_share))
        lines.append(f"  {way.name:<12} {figures}{way.proposed}")
    return lines


def shown(estimate: object) -> str:
    """A figure for people: "-" where no clip is proposed."""
    text = str(estimate)
    return "-" if text.startswith("nan") else text


def toml_lines(comparison: StageComparison) -> list[str]:
    """The proposed rules to paste into a recipe, each with what it was."""
    lines = []
    for asked, rule in zip(comparison.asked.rules, comparison.proposed, strict=True):
        was = bounds_text(asked)
        if rule is None:
            lines.append(f"# {asked.scorer}: no bound helps; was {was}")
            continue
        kept = rule if bounds_text(rule) != was else asked
        note = " # as it was" if kept is asked else f" # was {was}"
        lines.append(f"[[gates.stages.{comparison.stage}.rules]]{note}")
        for name, value in (asked if kept is asked else rule).model_dump(exclude_defaults=True).items():
            lines.append(f"{name} = {_toml(value)}")
    return lines


def suitability_lines(comparison: StageComparison) -> list[str]:
    """The one rule that says the same by `suitability`."""
    return [
        f"[[gates.stages.{comparison.stage}.rules]]",
        f'scorer = "{SUITABILITY}"',
        f"min = {_at_most(comparison.suitability):g}",
    ]


def _bounds(gates: StageGates, catalogue: Catalogue, places: np.ndarray, fixed: Sequence[str]) -> list[Bound]:
    found = []
    for index, rule in enumerate(gates.rules):
        column, free = catalogue.columns[rule.scorer], rule.scorer not in fixed
        values = column.values[places]
        if rule.labels or rule.not_labels:
            least = NO_WRONG_CLASS if rule.min is None else float(np.nextafter(-rule.min, np.inf))
            found.append(Bound(index, "class", least, _by_class(rule, column, places), free))
            continue
        if rule.min is not None:
            found.append(Bound(index, "min", rule.min, values, free))
        if rule.max is not None:
            found.append(Bound(index, "max", -rule.max, -values, free))
    return found


def _by_class(rule: GateRule, column: Column, places: np.ndarray) -> np.ndarray:
    right = np.array([rule.allows(label) for label in (*column.classes, "")])
    labels = np.full(len(places), -1) if column.labels is None else column.labels[places]
    values = np.where(right[labels], RIGHT_CLASS, -column.values[places])
    return np.where(column.states[places] == State.SCORED, values, np.nan)


def _rule(index: int, rule: GateRule, bounds: Sequence[Bound], found_R: np.ndarray) -> GateRule | None:
    """The rule with what was found; None where nothing bounds it any more."""
    own = {bound.side: (bound, float(found_R[at])) for at, bound in enumerate(bounds) if bound.rule == index}
    if all(found == bound.bound for bound, found in own.values()):
        return rule
    given = rule.model_dump(include={"scorer", "labels", "not_labels"})
    if "class" in own:
        found = own["class"][1]
        if found == -np.inf:
            return None
        return GateRule(**given, min=None if found > 0 else float(np.nextafter(-found, np.inf)))
    for side, sign in (("min", 1.0), ("max", -1.0)):
        if side not in own or own[side][1] == -np.inf:
            continue
        before, outer = getattr(rule, side), getattr(rule, f"review_{side}")
        given[side] = before if own[side][1] == own[side][0].bound else sign * _at_most(own[side][1])
        if outer is not None:  # the band keeps its width
            given[f"review_{side}"] = float(f"{given[side] - (before - outer):.{REVIEW_DIGITS}g}")
    return GateRule(**given) if "min" in given or "max" in given else None


def _at_most(bound: float) -> float:
    """Few digits, and never above the bound, which a clip's own value may be."""
    return float(f"{bound - abs(bound) * 1e-6:.7g}")


def _toml(value: object) -> str:
    if isinstance(value, tuple | list):
        return "[" + ", ".join(f'"{each}"' for each in value) + "]"
    return f'"{value}"' if isinstance(value, str) else f"{value!r}"
