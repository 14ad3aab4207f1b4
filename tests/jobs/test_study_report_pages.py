"""What the page says: who leads, whether that is settled, and the same scale down a column."""

import math
from dataclasses import replace

from annotation.study.axes import ALL_AXES, Design
from annotation.study.intervals import Interval
from annotation.study.planning import Remaining, State
from jobs.study_figures import Contest, Result, Slice, Standing
from jobs.study_report_pages import Findings, headline, page_values

DONE, OPEN = Remaining(State.SETTLED, 1.0, 0), Remaining(State.ANSWERS, 4.5, 963)


def one(system: str, rank: int, value: float, strength: Interval | None = None) -> Standing:
    axes = {axis: Interval(value, value - 0.02, value + 0.02) for axis in ALL_AXES}
    return Standing(system, rank, rank, rank + 1, axes, 100, strength)


def contest(first: str, second: str, value: float, settled: bool) -> Contest:
    low = 0.01 if settled else -0.01
    return Contest(first, second, Interval(value, low, 2 * value - low), DONE if settled else OPEN, 200, (50, 10, 40))


STANDINGS = (one("ours", 1, 0.41), one("second", 2, 0.38), one("third", 3, 0.27))
CONTESTS = (
    contest("ours", "second", 0.03, False),
    contest("ours", "third", 0.14, True),
    contest("second", "third", 0.11, True),
)
COUNTED = Result(
    STANDINGS, CONTESTS, (Slice("motion", "low", 10, 20, {"ours": Interval(0.5, 0.4, 0.6)}),), 300, 6, True
)
FINDINGS = Findings(
    study="blind",
    design=Design.ABSOLUTE,
    num_prompts=100,
    systems=("ours", "second", "third"),
    counted=COUNTED,
    everybody=None,
    judges=(),
    agreement=(),
    exhibits=(),
    num_answers=310,
    num_simulated=0,
    simulated=frozenset(),
    side_a=None,
    rule="the rule",
    notes=("a note",),
    accounts=(("answers", "310 = 300 counted + 10 skipped"),),
    missing=(),
    method="",
)


def with_contests(*settled: bool) -> Findings:
    contests = tuple(replace(each, remaining=DONE if so else OPEN) for each, so in zip(CONTESTS, settled, strict=True))
    return replace(FINDINGS, counted=replace(COUNTED, contests=contests))


def test_the_headline_says_who_leads_and_what_is_settled():
    said = "41.0 % (39.0 to 43.0) of its videos pass all three axes"
    assert headline(FINDINGS) == f"ours is ahead: {said}. Settled against third; open against second."
    assert headline(with_contests(True, True, False)) == f"ours leads, and that is settled: {said}."
    assert headline(with_contests(False, False, True)) == f"ours is ahead, but nothing is settled: {said}."
    alone = replace(COUNTED, standings=STANDINGS[:1], contests=())
    assert headline(replace(FINDINGS, counted=alone)) == f"ours: {said}."
    assert headline(replace(FINDINGS, counted=replace(alone, standings=()))) == "No answers yet."
    net = "its wins less its losses are +41.0 points (+39.0 to +43.0)"
    assert headline(replace(with_contests(True, True, True), design=Design.PAIRWISE)) == (
        f"ours leads, and that is settled: {net}."
    )


def test_open_differences_say_what_would_settle_them():
    values = page_values(FINDINGS)
    assert values["settled_text"].startswith("2 of 3 differences settled")
    assert [(each["state"], each["needs"]) for each in values["contests"]] == [
        ("open", "about 960 more answers, 4.5 times as many"),
        ("settled", ""),
        ("settled", ""),
    ]
    never = replace(CONTESTS[0], remaining=Remaining(State.NEVER, math.inf, 0))
    values = page_values(replace(FINDINGS, counted=replace(COUNTED, contests=(never,))))
    assert "no number of answers" in values["contests"][0]["needs"]
    small = replace(CONTESTS[0], remaining=Remaining(State.NEGLIGIBLE, 1.0, 0))
    values = page_values(replace(FINDINGS, counted=replace(COUNTED, contests=(small,))))
    assert [(each["state"], each["needs"]) for each in values["contests"]] == [("negligible", "")]


def test_a_column_has_one_scale_and_ranks_that_are_open_are_a_range():
    first, _, third = page_values(FINDINGS)["standings"]
    assert first["ranks"] == "1 to 2" and page_values(FINDINGS)["axis_titles"] == ["text", "motion", "visual"]
    assert third["overall"].left < third["overall"].dot < first["overall"].left
    ((column, names, rows),) = page_values(FINDINGS)["slices"]
    assert (column, names) == ("motion", ["ours", "second", "third"])
    assert [(value, prompts, [drawn.value for drawn in drawns]) for value, prompts, drawns in rows] == [
        ("low", 10, ["50.0", "–", "–"])
    ]


def test_the_matrix_is_turned_about_its_diagonal():
    strong = tuple(replace(each, strength=Interval(1000, 950, 1050)) for each in STANDINGS)
    pairwise = replace(FINDINGS, design=Design.PAIRWISE, counted=replace(COUNTED, standings=strong))
    values = page_values(pairwise)
    assert [each["strength"].value for each in values["standings"]] == ["1000"] * 3
    cells = [[cell and cell["value"] for cell in row] for _, row in values["matrix"]]
    assert cells == [[None, "+3.0", "+14.0"], ["−3.0", None, "+11.0"], ["−14.0", "−11.0", None]]
    shades = [[cell and cell["shade"] for cell in row] for _, row in values["matrix"]]
    assert shades[0][2] == -shades[2][0] > 0 and values["matrix"][0][1][2]["settled"]
    assert [share for _, share in values["contests"][0]["shares"]] == [50, 10, 40]
    assert page_values(FINDINGS)["matrix"] == [], "pass rates have no matrix"


def test_notes_tell_what_a_reader_must_know_first():
    few = replace(FINDINGS, counted=replace(COUNTED, over_judges=False))
    assert page_values(few)["notes"] == [
        "Too few judges to speak of others: intervals say what other prompts might have given, with these judges.",
        "a note",
    ]
    assert page_values(FINDINGS)["simulated"] == ""
    assert page_values(replace(FINDINGS, num_simulated=310))["simulated"].startswith("310 of 310 answers")
    turned = replace(COUNTED, standings=STANDINGS[::-1])
    assert "the ranking differs" in page_values(replace(FINDINGS, everybody=turned))["notes"][0]
    assert "the ranking is the same" in page_values(replace(FINDINGS, everybody=COUNTED))["notes"][0]
