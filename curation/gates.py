"""Gates: the only place where a threshold lives. Scores come in, decisions go out; no pixels.

Each training stage has its own rules, usually tighter from stage to stage:

    value:      ---- review_min ---- min ============= max ---- review_max ----
    outcome:  fail        narrow          pass              narrow         fail

A rule's bounds are numbers in the scorer's unit, or percentiles of your own pool (`min_percentile = 15` drops the worst
15 of 100), because absolute values of learned scores do not carry over from one pool to another. Percentiles are taken
over all clips that have the score, when clips are judged, and become numbers there; verdicts name those numbers. For a
scorer that names classes (`labels`, `not_labels`) the value is the confidence, and a wrong class counts from `min` on:

    confidence in a wrong class:  ---- review_min ---- min ----
    outcome:                      pass        narrow       fail

What the rules of a stage say together:

    any rule failed, or two missed narrowly       reject
    one missed narrowly, or a score is unknown    review: a person looks
    all passed                                    keep; review in a stage with `people = true`, where machines propose

So one narrow miss goes to a person, and two narrow misses reject: what is doubtful twice is not worth a person's time.
A score that is missing or failed to compute never rejects. Beside scores, rules may name facts: see `FACTS`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

import numpy as np
from pydantic import BaseModel, Field, ValidationError, model_validator

from curation.catalogue import CROPPED_FACTS, FACTS, Catalogue, Column, State, facts_of
from curation.records import Clip, Crop, Decision, Score, UserError, content_id

SIDES = ("min", "max")
CROP = "crop"  # its version stands among those of the scorers
PERCENTILES = ("min_percentile", "max_percentile", "review_min_percentile", "review_max_percentile")


class GateRule(BaseModel, frozen=True, extra="forbid"):
    """Bounds on one score or fact; the review bounds lie outside them and mark the band that people decide."""

    scorer: str = Field(description="a scorer's name, or one of the facts " + ", ".join(FACTS))
    min: float | None = Field(default=None, description="smallest value that passes, in the scorer's unit")
    max: float | None = Field(default=None, description="largest value that passes")
    review_min: float | None = Field(default=None, description="from here up to min a person decides; default: no band")
    review_max: float | None = Field(default=None, description="from max up to here a person decides; default: no band")
    min_percentile: float | None = Field(
        default=None, ge=0, le=100, description="in place of min: this percentile of all clips that have the score"
    )
    max_percentile: float | None = Field(default=None, ge=0, le=100, description="in place of max, likewise")
    review_min_percentile: float | None = Field(default=None, ge=0, le=100, description="review_min, likewise")
    review_max_percentile: float | None = Field(default=None, ge=0, le=100, description="review_max, likewise")
    labels: tuple[str, ...] = Field(default=(), description="classes that pass; min is then the confidence that counts")
    not_labels: tuple[str, ...] = Field(default=(), description="classes that do not pass; all others do")

    @model_validator(mode="after")
    def _bounds_make_sense(self) -> "GateRule":
        gate = f"the gate on {self.scorer!r}"
        if self.labels or self.not_labels:
            self._check_labels(gate)
        elif all(getattr(self, name) is None for side in SIDES for name in (side, f"{side}_percentile")):
            raise ValueError(f"{gate} has neither min nor max, so it decides nothing")
        for unit in ("", "_percentile"):
            low, high = getattr(self, f"min{unit}"), getattr(self, f"max{unit}")
            if low is not None and high is not None and low > high:
                raise ValueError(f"{gate} has min{unit} {low} > max{unit} {high}")
            for side, sign in zip(SIDES, (1, -1), strict=True):
                outer, inner = getattr(self, f"review_{side}{unit}"), getattr(self, f"{side}{unit}")
                if outer is not None and (inner is None or sign * outer > sign * inner):
                    raise ValueError(f"{gate}: review_{side}{unit}={outer} must lie outside {side}{unit}={inner}")
        for side in SIDES:
            if getattr(self, side) is not None and getattr(self, f"{side}_percentile") is not None:
                raise ValueError(f"{gate} has both {side} and {side}_percentile; give one of them")
        return self

    def _check_labels(self, gate: str) -> None:
        if self.labels and self.not_labels:
            raise ValueError(f"{gate} has both labels and not_labels; give one of them")
        extra = [name for name in ("max", "review_max", *PERCENTILES) if getattr(self, name) is not None]
        if extra:
            raise ValueError(f"{gate} judges classes, where {', '.join(extra)} mean nothing; min is the confidence")

    @property
    def percentiles(self) -> dict[str, float]:
        """The bounds that are percentiles of the pool, by name."""
        return {name: value for name in PERCENTILES if (value := getattr(self, name)) is not None}

    def allows(self, label: str) -> bool:
        return label in self.labels if self.labels else label not in self.not_labels


class StageGates(BaseModel, frozen=True, extra="forbid"):
    """What a clip must be to enter one training stage."""

    people: bool = Field(default=False, description="whether a person must say yes to every clip of this stage")
    rules: tuple[GateRule, ...] = Field((), description="all must pass")


class GateSettings(BaseModel, frozen=True, extra="forbid"):
    """Rules per training stage, in the order of the curriculum."""

    stages: dict[str, StageGates] = Field(default_factory=dict, description="stage name -> its gates")

    def scorers(self) -> set[str]:
        """Names of the scorers that any rule asks for."""
        return {rule.scorer for stage in self.stages.values() for rule in stage.rules} - set(FACTS)


class Rules(BaseModel, frozen=True, extra="forbid"):
    """What a set of verdicts was decided by, so that it can be defended later."""

    asked: GateSettings = Field(description="the recipe's gates")
    resolved: GateSettings = Field(description="the same with the pool's numbers in place of percentiles")
    versions: dict[str, str] = Field(
        description='scorer -> the version that was judged; "crop" -> that of the crop, where facts depend on it'
    )

    @property
    def digest(self) -> str:
        """Names the resolved rules together with the scorer versions, so that neither can change unnoticed."""
        return content_id(self.resolved.model_dump_json(), sorted(self.versions.items()))


class Outcome(StrEnum):
    PASS = "pass"
    NARROW = "narrow"
    FAIL = "fail"
    UNKNOWN = "unknown"


class Kind(IntEnum):
    """An outcome with its cause: what is counted of a rule and a clip."""

    PASS = 0
    BELOW_NARROWLY = 1
    BELOW = 2
    ABOVE_NARROWLY = 3
    ABOVE = 4
    CLASS_NARROWLY = 5
    CLASS = 6
    NOT_SCORED = 7
    SCORER_FAILED = 8


OUTCOMES = (
    Outcome.PASS, Outcome.NARROW, Outcome.FAIL, Outcome.NARROW, Outcome.FAIL, Outcome.NARROW, Outcome.FAIL,
    Outcome.UNKNOWN, Outcome.UNKNOWN,
)  # fmt: skip
NARROW = np.array([outcome is Outcome.NARROW for outcome in OUTCOMES])  # bool, by Kind; so are the next two
FAIL = np.array([outcome is Outcome.FAIL for outcome in OUTCOMES])
UNKNOWN = np.array([outcome is Outcome.UNKNOWN for outcome in OUTCOMES])


@dataclass(frozen=True)
class Finding:
    """What one rule says of one clip, with the comparison spelled out."""

    scorer: str
    kind: Kind
    text: str

    @property
    def outcome(self) -> Outcome:
        return OUTCOMES[self.kind]


def resolve(settings: GateSettings, versions: Mapping[str, str], catalogue: Catalogue) -> Rules:
    """Put the pool's numbers in place of percentiles; a percentile of no values stays, since no clip is held to it.

    Args:
        versions: of all scorers; those that the gates do not ask for are left out.

    Raises:
        UserError: a resolved rule makes no sense, or a rule names classes where the scorer gives none.
    """
    stages = {
        name: stage.model_copy(update={"rules": tuple(_resolve_rule(rule, catalogue) for rule in stage.rules)})
        for name, stage in settings.stages.items()
    }
    asked = {rule.scorer for stage in settings.stages.values() for rule in stage.rules}
    judged = {name: version for name, version in sorted(versions.items()) if name in asked}
    if asked & CROPPED_FACTS:
        judged[CROP] = catalogue.crop
    return Rules(asked=settings, resolved=GateSettings(stages=stages), versions=judged)


def _resolve_rule(rule: GateRule, catalogue: Catalogue) -> GateRule:
    column = catalogue.columns[rule.scorer]
    values = column.values[~np.isnan(column.values)]
    if (rule.labels or rule.not_labels) and column.labels is None and len(values):
        raise UserError(f"a gate names classes of {rule.scorer}, which gives numbers only; use min and max there")
    if not rule.percentiles or not len(values):
        return rule
    numbers = np.percentile(values, list(rule.percentiles.values())).tolist()
    given = rule.model_dump(exclude={*rule.percentiles})
    given |= {name.removesuffix("_percentile"): number for name, number in zip(rule.percentiles, numbers, strict=True)}
    try:
        return GateRule.model_validate(given)
    except ValidationError as error:
        asked = ", ".join(f"{name} {value:g}" for name, value in rule.percentiles.items())
        why = "; ".join(problem["msg"] for problem in error.errors())
        raise UserError(f"{why} (with the numbers of the pool for {asked})") from error


def kinds_of(rule: GateRule, column: Column) -> np.ndarray:
    """What a rule says of every clip: Kind as uint8 [N].

    Raises:
        ValueError: the rule still has percentiles and there are values to hold against them.
    """
    values, kinds = column.values, np.zeros(len(column.values), np.uint8)
    if rule.percentiles and (column.states == State.SCORED).any():
        raise ValueError(f"the gate on {rule.scorer!r} has percentiles; `resolve` turns them into numbers")
    if rule.labels or rule.not_labels:
        wrong = _wrong_class(rule, column)
        sure = values >= (-np.inf if rule.min is None else rule.min)
        kinds[wrong & sure] = Kind.CLASS
        if rule.review_min is not None:
            kinds[wrong & ~sure & (values >= rule.review_min)] = Kind.CLASS_NARROWLY
    else:
        if rule.max is not None:
            kinds[values > rule.max] = Kind.ABOVE
            if rule.review_max is not None:
                kinds[(values > rule.max) & (values <= rule.review_max)] = Kind.ABOVE_NARROWLY
        if rule.min is not None:
            kinds[values < rule.min] = Kind.BELOW
            if rule.review_min is not None:
                kinds[(values < rule.min) & (values >= rule.review_min)] = Kind.BELOW_NARROWLY
    kinds[column.states == State.MISSING] = Kind.NOT_SCORED
    kinds[column.states == State.FAILED] = Kind.SCORER_FAILED
    return kinds


def _wrong_class(rule: GateRule, column: Column) -> np.ndarray:
    by_class = np.array([not rule.allows(label) for label in (*column.classes, "")])
    labels = np.full(len(column.values), -1) if column.labels is None else column.labels
    return by_class[labels]  # -1, no class at all, is the last


def decisions_of(kinds: np.ndarray, people: bool) -> tuple[np.ndarray, np.ndarray]:
    """What the rules of a stage decide together.

    Args:
        kinds: Kind [C, R] of C clips, or distinct combinations, under R rules.

    Returns:
        uint8 [C], index into `list(Decision)`; bool [C, R], the rules that led to it.
    """
    fail, narrow, unknown = (np.asarray(flags[kinds]) for flags in (FAIL, NARROW, UNKNOWN))
    failed = np.any(fail, axis=1, keepdims=True)
    rejected = failed | (np.sum(narrow, axis=1, keepdims=True) >= 2)
    unsure = narrow | unknown
    keep, review, reject = range(3)
    decisions = np.where(rejected, reject, np.where(np.any(unsure, axis=1, keepdims=True) | people, review, keep))
    causes = np.where(failed, fail, np.where(rejected, narrow, unsure))
    return decisions[:, 0].astype(np.uint8), causes


def reason_of(rule: GateRule, kind: Kind) -> str:
    """A finding as a short kind that can be counted: the rule's side, not the clip's value."""
    if kind in (Kind.BELOW, Kind.BELOW_NARROWLY):
        return f"{rule.scorer} < {rule.min:.4g}"
    if kind in (Kind.ABOVE, Kind.ABOVE_NARROWLY):
        return f"{rule.scorer} > {rule.max:.4g}"
    if kind in (Kind.CLASS, Kind.CLASS_NARROWLY):
        return f"{rule.scorer} {'not' if rule.labels else 'is'} {' or '.join(rule.labels or rule.not_labels)}"
    return f"{rule.scorer} {'not scored' if kind is Kind.NOT_SCORED else 'failed'}"


def findings(stage: StageGates, clip: Clip, scores: Mapping[str, Score], crop: Crop | None = None) -> list[Finding]:
    """What every (resolved) rule of a stage says of a clip; `scores` maps scorer name to that clip's score."""
    facts = facts_of(clip, crop)
    found = []
    for rule in stage.rules:
        if rule.scorer in facts:
            score = Score(clip.clip_id, rule.scorer, "", facts[rule.scorer], None)
        else:
            score = scores.get(rule.scorer)
        kind = Kind(int(kinds_of(rule, Column.of_score(score))[0]))
        found.append(Finding(rule.scorer, kind, _finding_text(rule, kind, score)))
    return found


def _finding_text(rule: GateRule, kind: Kind, score: Score | None) -> str:
    if score is None or score.value is None:
        return f"{rule.scorer} unknown ({(score and score.error) or 'not scored'})"
    if score.label:
        return f"{rule.scorer} {score.label} ({score.value:.4g})"
    sides = {Kind.BELOW: f" < {rule.min or 0:.4g}", Kind.ABOVE: f" > {rule.max or 0:.4g}"}
    sides |= {Kind.BELOW_NARROWLY: sides[Kind.BELOW], Kind.ABOVE_NARROWLY: sides[Kind.ABOVE]}
    return f"{rule.scorer} {score.value:.4g}{sides.get(kind, '')}"


def decide(stage: StageGates, found: Sequence[Finding]) -> tuple[Decision, list[bool]]:
    """A stage's decision about one clip, and for each finding whether it led to it."""
    kinds = np.array([[finding.kind for finding in found]], np.uint8)
    decisions, causes = decisions_of(kinds, stage.people)
    return list(Decision)[decisions[0]], causes[0].tolist()


def bounds_text(rule: GateRule) -> str:
    """A rule's thresholds in words: "at least 30, a person decides from 20"."""
    parts = []
    if rule.labels or rule.not_labels:
        parts.append(f"{'' if rule.labels else 'not '}{' or '.join(rule.labels or rule.not_labels)}")
    least = "where the confidence is at least" if parts else "at least"
    for side, words, band in (("min", least, "from"), ("max", "at most", "up to")):
        bound, outer = _in_words(rule, side), _in_words(rule, f"review_{side}")
        if bound:
            parts.append(f"{words} {bound}" + (f", a person decides {band} {outer}" if outer else ""))
    return "; ".join(parts)


def _in_words(rule: GateRule, name: str) -> str:
    number, percentile = getattr(rule, name), getattr(rule, f"{name}_percentile")
    if number is not None:
        return f"{number:g}"
    return "" if percentile is None else f"percentile {percentile:g} of the pool"
