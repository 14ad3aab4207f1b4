"""Gates: what rejects, what goes to people, what the reasons say, and percentiles of one's own pool."""

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from curation.catalogue import Catalogue, Column
from curation.gates import GateRule, GateSettings, Outcome, Rules, StageGates, bounds_text, decide, findings, resolve
from curation.records import Clip, Crop, Decision, Score, UserError

CLIP = Clip("c1", "v1", "a.mp4", 0, 90, 1, 30, 0.0, 3.0, 90, 1280, 720, 30.0, "content-1")
RULE = GateRule(scorer="sharpness", min=40, review_min=30)
VERSIONS = {"sharpness": "1", "motion": "1", "camera": "1"}


def score(value: float | None, scorer: str = "sharpness", error: str | None = None, label: str = "") -> Score:
    return Score("c1", scorer, "1", value, error, label)


def verdict_on(*scores: Score, rules: tuple[GateRule, ...] = (RULE,), people: bool = False):
    stage = StageGates(rules=rules, people=people)
    found = findings(stage, CLIP, {each.scorer: each for each in scores})
    decision, causes = decide(stage, found)
    return decision, "; ".join(each.text for each, led in zip(found, causes, strict=True) if led)


@pytest.mark.parametrize(
    ("value", "decision", "text"),
    [
        (40.0, Decision.KEEP, ""),
        (39.9, Decision.REVIEW, "sharpness 39.9 < 40"),
        (30.0, Decision.REVIEW, "sharpness 30 < 40"),
        (29.9, Decision.REJECT, "sharpness 29.9 < 40"),
    ],
)
def test_a_narrow_miss_goes_to_people_and_a_clear_one_is_rejected(value, decision, text):
    assert verdict_on(score(value)) == (decision, text)


def test_two_narrow_misses_reject_where_one_is_for_people():
    rules = (RULE, GateRule(scorer="motion", max=1, review_max=2))
    assert verdict_on(score(35.0), score(1.5, "motion"), rules=rules) == (
        Decision.REJECT,
        "sharpness 35 < 40; motion 1.5 > 1",
    )
    assert verdict_on(score(45.0), score(1.5, "motion"), rules=rules)[0] is Decision.REVIEW


def test_a_failed_score_goes_to_a_person_not_to_the_bin():
    failed = score(None, error="no decodable frame")
    assert verdict_on(failed) == (Decision.REVIEW, "sharpness unknown (no decodable frame)")


def test_a_missing_score_goes_to_a_person_and_says_so():
    assert verdict_on() == (Decision.REVIEW, "sharpness unknown (not scored)")


def test_a_narrow_miss_beside_an_unknown_score_is_still_for_people():
    rules = (RULE, GateRule(scorer="motion", min=1))
    assert verdict_on(score(35.0), rules=rules)[0] is Decision.REVIEW


def test_a_clear_failure_rejects_even_where_another_score_is_unknown():
    assert verdict_on(score(1.0), rules=(RULE, GateRule(scorer="motion", min=1))) == (
        Decision.REJECT,
        "sharpness 1 < 40",
    )


def test_every_failed_gate_is_in_the_reason():
    rules = (RULE, GateRule(scorer="duration_s", min=4), GateRule(scorer="short_side_px", max=480))
    assert verdict_on(score(1.0), rules=rules)[1] == "sharpness 1 < 40; duration_s 3 < 4; short_side_px 720 > 480"


def test_a_people_stage_keeps_nothing_by_itself():
    assert verdict_on(score(50.0), people=True)[0] is Decision.REVIEW
    assert verdict_on(score(1.0), people=True)[0] is Decision.REJECT


def test_upper_bounds_have_a_band_too():
    rule = GateRule(scorer="sharpness", max=10, review_max=12)
    decisions = [verdict_on(score(value), rules=(rule,))[0] for value in (10.0, 11.0, 13.0)]
    assert decisions == [Decision.KEEP, Decision.REVIEW, Decision.REJECT]


def test_sizes_are_those_of_what_the_crop_left():
    crop = Crop("c1", "1", 0, 120, 1280, 480, "letterbox")
    stage = StageGates(rules=(GateRule(scorer="short_side_px", min=700), GateRule(scorer="picture_share", min=0.5)))
    assert [found.outcome for found in findings(stage, CLIP, {})] == [Outcome.PASS, Outcome.PASS]
    cropped = [found.text for found in findings(stage, CLIP, {}, crop)]
    assert cropped == ["short_side_px 480 < 700", "picture_share 0.6667"]


@pytest.mark.parametrize(
    ("confidence", "label", "decision"),
    [
        (0.9, "static", Decision.REJECT),
        (0.5, "static", Decision.REVIEW),
        (0.2, "static", Decision.KEEP),
        (0.9, "pan left", Decision.KEEP),
    ],
)
def test_a_wrong_class_counts_as_far_as_the_scorer_is_sure_of_it(confidence, label, decision):
    answer = score(confidence, "camera", label=label)
    for classes in ({"not_labels": ("static", "shake")}, {"labels": ("pan left", "zoom in")}):
        rule = GateRule.model_validate({"scorer": "camera", "min": 0.7, "review_min": 0.4, **classes})
        assert verdict_on(answer, rules=(rule,))[0] is decision


def pool(**values: list[float]) -> Catalogue:
    columns = {name: Column.of_values(np.array(column)) for name, column in values.items()}
    return Catalogue(pa.array([str(index) for index in range(len(next(iter(values.values()))))]), columns)


def rules_of(rule: GateRule, catalogue: Catalogue) -> Rules:
    return resolve(GateSettings(stages={"video": StageGates(rules=(rule,))}), VERSIONS, catalogue)


def test_percentiles_become_numbers_of_the_clips_that_have_the_score():
    rule = GateRule(scorer="sharpness", min_percentile=25, review_min_percentile=0, max_percentile=100)
    catalogue = pool(sharpness=[10.0, 20.0, 30.0, 40.0, 50.0, np.nan])
    (resolved,) = rules_of(rule, catalogue).resolved.stages["video"].rules
    assert (resolved.review_min, resolved.min, resolved.max) == (10.0, 20.0, 50.0)
    assert resolved.percentiles == {}


def test_the_digest_follows_the_resolved_numbers():
    rule = GateRule(scorer="sharpness", min_percentile=50)
    digests = [rules_of(rule, pool(sharpness=values)).digest for values in ([1.0, 3.0], [1.0, 3.0], [1.0, 5.0])]
    assert digests[0] == digests[1] != digests[2]


def test_a_percentile_of_no_values_stays_and_is_never_held_against_a_value():
    rule = GateRule(scorer="sharpness", min_percentile=50)
    (left,) = rules_of(rule, pool(sharpness=[np.nan])).resolved.stages["video"].rules
    assert left == rule and verdict_on(rules=(left,))[0] is Decision.REVIEW
    with pytest.raises(ValueError, match="the gate on 'sharpness' has percentiles; `resolve` turns them into numbers"):
        verdict_on(score(3.0), rules=(left,))


def test_a_percentile_that_crosses_a_fixed_bound_is_refused():
    rule = GateRule(scorer="sharpness", min=30, max_percentile=50)
    with pytest.raises(UserError, match=r"min 30.0 > max 2.0 \(with the numbers of the pool for max_percentile 50\)"):
        rules_of(rule, pool(sharpness=[1.0, 2.0, 3.0]))


def test_classes_of_a_scorer_that_gives_numbers_are_refused():
    with pytest.raises(UserError, match="names classes of sharpness, which gives numbers only"):
        rules_of(GateRule(scorer="sharpness", labels=("static",)), pool(sharpness=[1.0]))


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({}, "neither min nor max"),
        ({"min": 2, "max": 1}, "min 2.0 > max 1.0"),
        ({"min": 1, "review_min": 2}, "review_min=2.0 must lie outside min=1.0"),
        ({"min": 1, "review_max": 2}, "review_max=2.0 must lie outside max=None"),
        ({"minimum": 3}, "Extra inputs"),
        ({"min": 1, "min_percentile": 20}, "both min and min_percentile"),
        ({"min_percentile": 20, "review_min": 2}, "review_min=2.0 must lie outside min=None"),
        ({"max_percentile": 80, "review_max_percentile": 70}, "review_max_percentile=70.0 must lie outside"),
        ({"min_percentile": 101}, "less than or equal to 100"),
        ({"labels": ("a",), "not_labels": ("b",)}, "both labels and not_labels"),
        ({"labels": ("a",), "max": 0.5}, "judges classes, where max mean nothing"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(bounds, message):
    with pytest.raises(ValidationError, match=message):
        GateRule(scorer="sharpness", **bounds)


def test_the_digest_follows_the_rules_and_the_scorers_they_use_only():
    def digest(rule: GateRule, versions: dict[str, str]) -> str:
        settings = GateSettings(stages={"video": StageGates(rules=(rule,))})
        return resolve(settings, versions, pool(sharpness=[1.0])).digest

    first = digest(RULE, {"sharpness": "1", "motion": "1"})
    assert first == digest(RULE, {"sharpness": "1", "motion": "2"})
    assert first != digest(RULE, {"sharpness": "2", "motion": "1"})
    assert first != digest(GateRule(scorer="sharpness", min=41), {"sharpness": "1", "motion": "1"})


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        (
            {"min": 0.1, "max": 2, "review_min": 0.05, "review_max": 3},
            "at least 0.1, a person decides from 0.05; at most 2, a person decides up to 3",
        ),
        ({"min_percentile": 15}, "at least percentile 15 of the pool"),
        ({"labels": ("pan left", "static")}, "pan left or static"),
        ({"not_labels": ("static",), "min": 0.6}, "not static; where the confidence is at least 0.6"),
    ],
)
def test_bounds_read_as_sentences(bounds, text):
    assert bounds_text(GateRule(scorer="motion", **bounds)) == text
