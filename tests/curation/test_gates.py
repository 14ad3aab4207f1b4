"""Gates: what rejects, what goes to people, and what the reasons say."""

import pytest
from pydantic import ValidationError

from curation.gates import GateRule, GateSettings, StageGates, judge_clip, rules_digest
from curation.records import Clip, Decision, Score

CLIP = Clip("c1", "v1", "a.mp4", 0, 90, 1, 30, 0.0, 3.0, 90, 1280, 720, 30.0, "content-1")
RULE = GateRule(scorer="sharpness", min=40, review_min=30)


def settings(*rules: GateRule, people: bool = False) -> GateSettings:
    return GateSettings(stages={"video": StageGates(rules=rules, people=people)})


def verdict_on(value: float | None, gates: GateSettings, error: str | None = None):
    scores = {} if value is None and error is None else {"sharpness": Score("c1", "sharpness", "1", value, error)}
    (verdict,) = judge_clip(gates, "digest", CLIP, scores)
    return verdict.decision, verdict.reason


@pytest.mark.parametrize(
    ("value", "decision", "reason"),
    [
        (40.0, Decision.KEEP, "passed every gate"),
        (39.9, Decision.REVIEW, "sharpness 39.9 < 40"),
        (30.0, Decision.REVIEW, "sharpness 30 < 40"),
        (29.9, Decision.REJECT, "sharpness 29.9 < 40"),
    ],
)
def test_a_narrow_miss_goes_to_people_and_a_clear_one_is_rejected(value, decision, reason):
    assert verdict_on(value, settings(RULE)) == (decision, reason)


def test_a_failed_score_goes_to_a_person_not_to_the_bin():
    assert verdict_on(None, settings(RULE), error="no decodable frame") == (
        Decision.REVIEW,
        "sharpness unknown (no decodable frame)",
    )


def test_a_missing_score_goes_to_a_person_and_says_so():
    assert verdict_on(None, settings(RULE)) == (Decision.REVIEW, "sharpness unknown (not scored)")


def test_a_clear_failure_rejects_even_where_another_score_is_unknown():
    gates = settings(RULE, GateRule(scorer="motion", min=1))
    assert verdict_on(1.0, gates) == (Decision.REJECT, "sharpness 1 < 40")


def test_every_failed_gate_is_in_the_reason():
    gates = settings(RULE, GateRule(scorer="duration_s", min=4), GateRule(scorer="short_side_px", max=480))
    assert verdict_on(1.0, gates)[1] == "sharpness 1 < 40; duration_s 3 < 4; short_side_px 720 > 480"


def test_a_people_stage_keeps_nothing_by_itself():
    assert verdict_on(50.0, settings(RULE, people=True))[0] is Decision.REVIEW


def test_upper_bounds_have_a_band_too():
    rule = GateRule(scorer="sharpness", max=10, review_max=12)
    assert [verdict_on(v, settings(rule))[0] for v in (10, 11, 13)] == [
        Decision.KEEP,
        Decision.REVIEW,
        Decision.REJECT,
    ]


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({}, "neither min nor max"),
        ({"min": 2, "max": 1}, "min 2.0 > max 1.0"),
        ({"min": 1, "review_min": 2}, "review_min=2.0 must lie outside min=1.0"),
        ({"min": 1, "review_max": 2}, "review_max=2.0 must lie outside max=None"),
        ({"minimum": 3}, "Extra inputs"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(bounds, message):
    with pytest.raises(ValidationError, match=message):
        GateRule(scorer="sharpness", **bounds)


def test_the_digest_follows_the_rules_and_the_scorers_they_use_only():
    gates = settings(RULE)
    digest = rules_digest(gates, {"sharpness": "1", "motion": "1"})
    assert digest == rules_digest(gates, {"sharpness": "1", "motion": "2"})
    assert digest != rules_digest(gates, {"sharpness": "2", "motion": "1"})
    assert digest != rules_digest(settings(GateRule(scorer="sharpness", min=41)), {"sharpness": "1", "motion": "1"})
