"""Gates: the only place where a threshold lives. Scores come in, verdicts go out; no pixels.

Each training stage has its own rules, usually tighter from stage to stage:

    value:      ---- review_min ---- min ============= max ---- review_max ----
    outcome:  fail        narrow          pass              narrow         fail

One failed rule rejects. A score that is missing or failed to compute never rejects: nobody knows, so a person looks.
A narrow miss goes to a person too, and in a stage with `people = true` so does everything that passed, because there
machines only propose. Beside scores, rules may name facts of the clip: `duration_s`, `short_side_px`, `frame_rate`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, Field, model_validator

from curation.records import Clip, Decision, Score, Verdict, content_id

FACTS = ("duration_s", "short_side_px", "frame_rate")


class GateRule(BaseModel, frozen=True, extra="forbid"):
    """Bounds on one score or fact; the review bounds lie outside them and mark the band that people decide."""

    scorer: str = Field(description="a scorer's name, or one of the facts " + ", ".join(FACTS))
    min: float | None = Field(default=None, description="smallest value that passes, in the scorer's unit")
    max: float | None = Field(default=None, description="largest value that passes")
    review_min: float | None = Field(default=None, description="from here up to min a person decides; default: no band")
    review_max: float | None = Field(default=None, description="from max up to here a person decides; default: no band")

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> "GateRule":
        if self.min is None and self.max is None:
            raise ValueError(f"the gate on {self.scorer!r} has neither min nor max, so it decides nothing")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"the gate on {self.scorer!r} has min {self.min} > max {self.max}")
        for outer, inner, name in ((self.review_min, self.min, "min"), (self.review_max, self.max, "max")):
            if outer is not None and (inner is None or (outer > inner if name == "min" else outer < inner)):
                raise ValueError(f"the gate on {self.scorer!r}: review_{name}={outer} must lie outside {name}={inner}")
        return self


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


class Outcome(StrEnum):
    PASS = "pass"
    NARROW = "narrow"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """What one rule says of one clip, with the comparison spelled out."""

    scorer: str
    outcome: Outcome
    text: str


def facts_of(clip: Clip) -> dict[str, float]:
    return {
        "duration_s": clip.duration_s,
        "short_side_px": float(min(clip.width, clip.height)),
        "frame_rate": clip.frame_rate,
    }


def apply_rule(rule: GateRule, value: float | None, error: str | None = None) -> Finding:
    """One rule on one value; None means that the score is missing, or failed with `error`."""
    if value is None:
        return Finding(rule.scorer, Outcome.UNKNOWN, f"{rule.scorer} unknown ({error or 'not scored'})")
    if rule.min is not None and value < rule.min:
        narrow = rule.review_min is not None and value >= rule.review_min
        text = f"{rule.scorer} {value:.4g} < {rule.min:.4g}"
    elif rule.max is not None and value > rule.max:
        narrow = rule.review_max is not None and value <= rule.review_max
        text = f"{rule.scorer} {value:.4g} > {rule.max:.4g}"
    else:
        return Finding(rule.scorer, Outcome.PASS, f"{rule.scorer} {value:.4g}")
    return Finding(rule.scorer, Outcome.NARROW if narrow else Outcome.FAIL, text)


def findings(stage: StageGates, clip: Clip, scores: Mapping[str, Score]) -> list[Finding]:
    """What every rule of a stage says of a clip; `scores` maps scorer name to that clip's score."""
    facts = facts_of(clip)
    found = []
    for rule in stage.rules:
        if rule.scorer in facts:
            found.append(apply_rule(rule, facts[rule.scorer]))
        else:
            score = scores.get(rule.scorer)
            found.append(apply_rule(rule, score.value if score else None, score.error if score else None))
    return found


def decide(stage: StageGates, found: Iterable[Finding]) -> tuple[Decision, str]:
    """The stage's decision and its reason: the findings that led to it, joined by "; "."""
    by_outcome: dict[Outcome, list[str]] = {outcome: [] for outcome in Outcome}
    for finding in found:
        by_outcome[finding.outcome].append(finding.text)
    if by_outcome[Outcome.FAIL]:
        return Decision.REJECT, "; ".join(by_outcome[Outcome.FAIL])
    unsure = by_outcome[Outcome.NARROW] + by_outcome[Outcome.UNKNOWN]
    if unsure:
        return Decision.REVIEW, "; ".join(unsure)
    if stage.people:
        return Decision.REVIEW, "passed every gate, people choose"
    return Decision.KEEP, "passed every gate"


def rules_digest(settings: GateSettings, scorer_versions: Mapping[str, str]) -> str:
    """Names the rules together with the scorer versions they judge, so that neither can change unnoticed."""
    versions = sorted((name, version) for name, version in scorer_versions.items() if name in settings.scorers())
    return content_id(settings.model_dump_json(), versions)


def judge_clip(settings: GateSettings, digest: str, clip: Clip, scores: Mapping[str, Score]) -> list[Verdict]:
    """One verdict per stage for one clip; `digest` is `rules_digest` of these settings."""
    verdicts = []
    for name, stage in settings.stages.items():
        decision, reason = decide(stage, findings(stage, clip, scores))
        verdicts.append(Verdict(clip.clip_id, name, decision, reason, "gates", digest))
    return verdicts
