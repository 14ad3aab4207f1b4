"""Gates as bounds and back: the same clips pass, policy stays, and what is proposed is a recipe again."""

import tomllib

import numpy as np
import pyarrow as pa
import pytest

from annotation.reliability import Resamples
from annotation.suitability import CalibrateSettings
from curation.catalogue import Catalogue, Column, State
from curation.gates import GateRule, Kind, StageGates, kinds_of
from jobs.calibration_rules import compare_stage, suitability_lines, table_lines, toml_lines
from tests.annotation.taught import CLASSES, planted

SETTINGS = CalibrateSettings(precision=0.75, num_bootstraps=100)
EVERY_KIND = (
    GateRule(scorer="sharpness", min=0.5, review_min=0.4),
    GateRule(scorer="motion", min=-1.0, max=1.2, review_max=1.5),
    GateRule(scorer="camera_movement", not_labels=("static shot",), min=0.3),
    GateRule(scorer="duplicate", max=0.0),
)


@pytest.fixture(scope="module")
def world():
    given = planted(600, 60)
    generator = np.random.default_rng(1)
    sharpness, motion = given.features.values[:, :2].T.copy()
    sharpness[::40] = np.nan
    states = np.where(np.isnan(sharpness), State.FAILED, State.SCORED).astype(np.uint8)
    codes = given.features.classes["camera_movement"].codes.astype(np.int16)
    columns = {
        "sharpness": Column(sharpness, states),
        "motion": Column.of_values(motion),
        "camera_movement": Column(generator.random(600), np.full(600, State.SCORED, np.uint8), codes, CLASSES),
        "duplicate": Column.of_values((generator.random(600) < 0.1).astype(float)),
    }
    return given, Catalogue(pa.array([f"{number:020x}" for number in range(600)]), columns)


def compared(world, rules, settings=SETTINGS):
    given, catalogue = world
    gates, fold = StageGates(rules=rules), np.unique(given.videos, return_inverse=True)[1] % 5
    answers = (given.chance, given.kept, fold, 0.61803)
    return compare_stage(
        "video", gates, gates, catalogue, np.arange(600), answers, Resamples(given.videos, 100, 0), settings
    )


@pytest.mark.parametrize("rule", EVERY_KIND, ids=lambda rule: rule.scorer)
def test_a_rule_as_bounds_passes_the_clips_that_the_gate_passes(world, rule):
    given, catalogue = world
    passed = kinds_of(rule, catalogue.columns[rule.scorer]) == Kind.PASS
    hand_set = compared(world, (rule,)).ways[0]
    assert hand_set.proposed == passed.sum() and hand_set.recall.value == pytest.approx(passed[given.kept].mean())


def test_proposed_gates_reach_the_precision_where_hand_set_ones_do_not(world):
    hand_set, proposed, learned = compared(world, EVERY_KIND).ways
    assert hand_set.precision.value < 0.68
    assert proposed.precision.value > hand_set.precision.value + 0.03
    assert learned.precision.value > 0.7 and learned.recall.value > proposed.recall.value


def test_proposed_rules_pass_what_the_search_passed_and_keep_policy(world):
    given, catalogue = world
    comparison = compared(world, EVERY_KIND)
    duplicate = comparison.proposed[3]
    assert duplicate == EVERY_KIND[3]
    passed = np.ones(600, bool)
    for rule in comparison.proposed:
        if rule is not None:
            passed &= kinds_of(rule, catalogue.columns[rule.scorer]) == Kind.PASS
    assert given.kept[passed].mean() >= 0.74, "on the answers it was found on"
    sharpness = comparison.proposed[0]
    assert sharpness is not None and sharpness.min is not None and sharpness.review_min is not None
    assert sharpness.min - sharpness.review_min == pytest.approx(0.1, abs=1e-4), "the band keeps its width"


def test_what_is_printed_is_a_recipe_again(world):
    comparison = compared(world, EVERY_KIND)
    text = "\n".join([*toml_lines(comparison), *suitability_lines(comparison)])
    rules = [GateRule.model_validate(rule) for rule in tomllib.loads(text)["gates"]["stages"]["video"]["rules"]]
    assert rules[:-1] == [rule for rule in comparison.proposed if rule is not None]
    assert rules[-1].scorer == "suitability" and rules[-1].min == pytest.approx(0.61803, abs=1e-4)
    assert "# was at least 0.5, a person decides from 0.4" in text


def test_a_rule_that_no_answer_asks_for_is_a_comment(world):
    comparison = compared(
        world, (GateRule(scorer="motion", min=50.0), EVERY_KIND[3]), SETTINGS.model_copy(update={"precision": 0.1})
    )
    assert comparison.proposed[0] is None
    assert toml_lines(comparison)[0] == "# motion: no bound helps; was at least 50"
    assert "hand-set     -  " in table_lines(comparison, 0.1)[2], "no clip passes, so there is no precision"
