"""Judging a whole catalogue: the same as judging clip by clip, with an account that adds up."""

import numpy as np
import pyarrow as pa
import pytest

from curation.catalogue import Catalogue, Column, State
from curation.gates import GateRule, GateSettings, Outcome, Rules, StageGates, decide, findings
from curation.judgement import judge_stages
from curation.records import Clip, Decision, Score

CLASSES = ("static", "pan left", "zoom in")


def clip(clip_id: str) -> Clip:
    return Clip(clip_id, "v", "a.mp4", 0, 90, 1, 30, 0.0, 3.0, 90, 1280, 720, 30.0, "s")


def random_rule(rng: np.random.Generator, scorer: str) -> GateRule:
    low, high = sorted(rng.uniform(0, 1, 2).round(2).tolist())
    if scorer == "camera":
        side = "labels" if rng.random() < 0.5 else "not_labels"
        given = {"min": high, "review_min": low, side: tuple(rng.permutation(CLASSES)[:2].tolist())}
    else:
        kinds = [{"min": high, "review_min": low}, {"max": low, "review_max": high}, {"min": low, "max": high}]
        given = kinds[rng.integers(3)]
    return GateRule.model_validate({"scorer": scorer, **given})


def random_scores(rng: np.random.Generator, scorers: list[str]) -> dict[str, Score]:
    """Two decimals, so that values meet bounds exactly; some missing, some failed."""
    found = {}
    for name in scorers:
        label = str(rng.choice(CLASSES)) if name == "camera" else ""
        if (fate := rng.random()) < 0.8:
            found[name] = Score("c", name, "1", round(rng.uniform(0, 1), 2), None, label)
        elif fate < 0.9:
            found[name] = Score("c", name, "1", None, "broken")
    return found


def column_of(name: str, clips: list[dict[str, Score]]) -> Column:
    scores = [scores.get(name) for scores in clips]
    values = np.array([np.nan if score is None or score.value is None else score.value for score in scores])
    states = [State.MISSING if score is None else State.FAILED if score.error else State.SCORED for score in scores]
    if name != "camera":
        return Column(values, np.array(states, np.uint8))
    labels = [CLASSES.index(score.label) if score and score.label else -1 for score in scores]
    return Column(values, np.array(states, np.uint8), np.array(labels, np.int16), CLASSES)


@pytest.mark.parametrize("seed", range(20))
def test_many_clips_at_once_are_judged_as_each_alone(seed):
    rng = np.random.default_rng(seed)
    num_scorers = (0, 1, 2, 30)[seed % 4]  # what 30 rules say together does not fit one int64
    scorers = [*(f"s{number}" for number in range(num_scorers)), "camera"]
    gates = StageGates(rules=tuple(random_rule(rng, name) for name in scorers), people=bool(rng.random() < 0.3))
    clips = [random_scores(rng, scorers) for _ in range(60)]
    ids = pa.array([f"{index:03}" for index in range(len(clips))])
    catalogue = Catalogue(ids, {name: column_of(name, clips) for name in scorers})
    (judged,) = judge_stages(rules_of(video=gates), catalogue)
    rows = judged.verdicts(ids, "d").to_pylist()
    for row, scores in zip(rows, clips, strict=True):
        found = findings(gates, clip("c"), scores)
        outcomes = [finding.outcome for finding in found]
        decision, causes = decide(gates, found)
        assert row["decision"] == decision == by_hand(outcomes, gates.people)
        named = [finding.scorer for finding, led in zip(found, causes, strict=True) if led]
        told = row["reason"].split("; ")
        assert [text.split(" ")[0] for text in told] == (named or ["passed"])


def by_hand(outcomes: list[Outcome], people: bool) -> Decision:
    if Outcome.FAIL in outcomes or outcomes.count(Outcome.NARROW) > 1:
        return Decision.REJECT
    unsure = Outcome.NARROW in outcomes or Outcome.UNKNOWN in outcomes
    return Decision.REVIEW if unsure or people else Decision.KEEP


def rules_of(**stages: StageGates) -> Rules:
    settings = GateSettings(stages=stages)
    return Rules(asked=settings, resolved=settings, versions={})


def judged_values(**values: list[float]):
    """Every scorer: at least 10, a person decides from 5."""
    rules = tuple(GateRule(scorer=name, min=10, review_min=5) for name in values)
    columns = {name: Column.of_values(np.array(column)) for name, column in values.items()}
    for column in columns.values():
        column.states[np.isnan(column.values)] = State.FAILED
    ids = pa.array([str(index) for index in range(len(next(iter(values.values()))))])
    (judged,) = judge_stages(rules_of(video=StageGates(rules=rules)), Catalogue(ids, columns))
    return judged, ids


def test_losses_tell_shared_from_sole_causes():
    """pass, fails a, fails b, fails both, narrow a, narrow both, fails a and narrow b, unknown a."""
    judged, _ = judged_values(a=[20, 1, 20, 1, 7, 7, 1, np.nan], b=[20, 20, 1, 1, 20, 7, 7, 20])
    first, second = judged.losses()
    assert (first.clips_in, first.lost_here, first.lost, first.lost_only_by_this) == (8, 3, 4, 3)
    assert (second.clips_in, second.lost_here, second.lost, second.lost_only_by_this) == (5, 2, 3, 2)
    assert (first.narrow, first.unknown, second.narrow, second.unknown) == (2, 1, 2, 0)
    assert judged.counts() == {Decision.KEEP: 1, Decision.REVIEW: 2, Decision.REJECT: 5}
    assert first.bounds == "at least 10, a person decides from 5"


def test_removing_a_rule_gives_back_exactly_its_sole_losses():
    rng = np.random.default_rng(3)
    values = {name: rng.uniform(0, 20, 200).tolist() for name in "abcd"}
    judged, _ = judged_values(**values)
    for index, name in enumerate(values):
        without, _ = judged_values(**{other: column for other, column in values.items() if other != name})
        given_back = judged.counts()[Decision.REJECT] - without.counts()[Decision.REJECT]
        assert judged.losses()[index].lost_only_by_this == given_back


def test_the_funnel_ends_with_the_rejected():
    rng = np.random.default_rng(4)
    judged, _ = judged_values(**{name: rng.uniform(0, 30, 300).tolist() for name in "abc"})
    assert sum(row.lost_here for row in judged.losses()) == judged.counts()[Decision.REJECT]


def test_reasons_are_few_and_verdicts_of_chosen_clips_are_theirs():
    judged, ids = judged_values(a=[20, 7, 6.5, 1, np.nan])
    rows = judged.verdicts(ids, "d").to_pylist()
    assert [row["reason"] for row in rows] == ["passed every gate", "a < 10", "a < 10", "a < 10", "a failed"]
    assert judged.verdicts(ids, "d", np.array([1, 3])).to_pylist() == [rows[1], rows[3]]


def test_a_stage_without_rules_keeps_everything():
    ids = pa.array(["a", "b"])
    stages = {"all": StageGates(rules=()), "people": StageGates(people=True, rules=())}
    kept, asked = judge_stages(rules_of(**stages), Catalogue(ids, {}))
    assert (kept.counts()[Decision.KEEP], asked.counts()[Decision.REVIEW]) == (2, 2)
    assert asked.verdicts(ids, "d").column("reason").to_pylist() == ["passed every gate, people choose"] * 2


def test_an_empty_catalogue_has_no_verdicts():
    judged, ids = judged_values(a=[])
    assert judged.verdicts(ids, "d").num_rows == 0 and judged.losses()[0].clips_in == 0
