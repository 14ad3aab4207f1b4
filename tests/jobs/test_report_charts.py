"""The report's charts: the same bytes every time, axes that say what they show, nothing that fetches or collides."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from annotation.agreement import Agreement
from annotation.annotators import Annotator, Difference
from curation.gates import GateRule
from jobs.report_charts import (
    Curve,
    agreement_chart,
    crowd_chart,
    finite,
    histogram,
    loss_curve,
    measure_curves,
    running_mean,
)

VALUES = [1.0, 2.0, 2.5, 3.0, 8.0]
RULES = {
    "image": GateRule(scorer="s", min=2),
    "video": GateRule(scorer="s", min=2.5, review_min=1.5, max=7, review_max=7.5),
}
CURVE = Curve("vae", [1, 2, 3, 4], [1.0, 0.8, 0.7, 0.6], [0, 4], [1.1, 0.65])
ANN = Annotator(
    name="ann@example.org",
    simulated=False,
    answers=50,
    keep=30,
    reject=20,
    skipped=0,
    keeps_more=Difference(0.2, 0.04, 50),
    rates_higher=Difference(-0.5, None, 1),
    median_lead_time_s=6.0,
    answers_per_hour=300.0,
    stamped=10,
    drafted=50,
    alpha_verdict=0.4,
    alpha_ratings=None,
    gold=None,
    gold_by_question=(),
)
PEOPLE = [ANN, replace(ANN, name="$b$<i>")]
AGREEMENT = [
    ("Verdict", Agreement("verdict", 50, 50, 0.7, 0.4, 0.2, 0.6)),
    ("Speed", Agreement("motion_speed", 50, 50, 1.0, None, None, None)),
]


DRAWN = [
    lambda: histogram("s", "px", VALUES, RULES),
    lambda: loss_curve(CURVE),
    lambda: crowd_chart(PEOPLE),
    lambda: agreement_chart(AGREEMENT),
    lambda: measure_curves("run/sft", {"loss": {"at 0.1": [(0, 1.0), (5, 0.5)], "at 0.9": [(0, 0.4), (5, 0.3)]}}),
]


@pytest.mark.parametrize("draw", DRAWN)
def test_a_chart_is_well_formed_repeatable_and_takes_its_colours_from_the_page(draw):
    first, second = draw(), draw()
    assert first == second
    ElementTree.fromstring(first)
    assert "var(--ink)" in first and not re.search(r"#0[0-9]0[0-9]0[0-9]", first), "a stand-in colour was left over"
    assert not re.search(r"20\d\d-\d\d-\d\d|<style|http://(?!www\.w3\.org)", first)
    referenced, defined = set(re.findall(r"[\"(]#([\w-]+)", first)), set(re.findall(r' id="([\w-]+)"', first))
    assert referenced == defined


def test_a_histogram_names_score_unit_and_stages():
    svg = histogram("sharpness", "grey levels", VALUES, RULES)
    assert all(text in svg for text in ("sharpness: grey levels", ">clips<", ">image<", ">video<"))


def test_strips_show_where_a_gate_passes_asks_and_stops():
    svg = histogram("s", "", VALUES, {"video": RULES["video"]})
    assert all(f"var(--{outcome})" in svg for outcome in ("keep", "review", "reject"))
    assert "var(--review)" not in histogram("s", "", VALUES, {"image": RULES["image"]})


def test_a_score_that_no_gate_asks_for_still_has_its_histogram():
    assert "<svg" in histogram("s", "px", VALUES, {})


@pytest.mark.parametrize("values", [[3.0], [0.0, 0.0], [-5.0, -5.0], [1e-9, 1e9], [0.0, 1e6]])
def test_odd_spreads_are_drawn(values):
    ElementTree.fromstring(histogram("s", "px", values, RULES))


def test_dollar_signs_and_markup_in_names_stay_text():
    svg = histogram("s", "$x^2$ <b>", VALUES, {"$a$<script>": RULES["image"]})
    assert "$x^2$ &lt;b&gt;" in svg and "$a$&lt;script&gt;" in svg and "<script" not in svg


def test_a_loss_curve_names_its_lines_and_a_stage_without_held_out_clips_has_none():
    assert all(text in loss_curve(CURVE) for text in ("held-out clips", "each step", "optimizer step", ">loss<"))
    assert "held-out clips" not in loss_curve(Curve("vae", [1], [1.0], [], []))


def test_the_running_mean_looks_back_only():
    assert np.allclose(running_mean([1, 2, 3, 10], 2), [1, 1.5, 2.5, 6.5])
    assert np.allclose(running_mean([4, 2], 9), [4, 3])


def test_only_numbers_are_drawn():
    assert finite([1.0, None, float("nan"), float("inf"), -2.0]) == [1.0, -2.0]


def test_every_annotator_has_a_row_and_nothing_that_cannot_be_told_is_drawn():
    svg = crowd_chart(PEOPLE)
    assert all(text in svg for text in (">ann<", ">$b$&lt;i&gt;<", "drafts sent back unchanged", "2 annotators beside"))
    alone = replace(PEOPLE[0], keeps_more=None, rates_higher=None, drafted=0, stamped=0)
    assert svg.count("var(--train)") > crowd_chart([alone]).count("var(--train)") == 0


def test_questions_without_alpha_are_left_out_of_the_chart():
    svg = agreement_chart(AGREEMENT)
    assert ">Verdict<" in svg and ">Speed<" not in svg and "Agreement, questions: 1" in svg
