"""The Judges section: who is left out and what that changes, and only the columns that were measured."""

import math
from dataclasses import replace

from annotation.agreement import Agreement
from annotation.study.axes import OVERALL
from annotation.study.intervals import NOTHING, Interval
from annotation.study.judges import Check, Judge
from jobs.study_drawn import track
from jobs.study_figures import Result, Standing
from jobs.study_report_judges import judge_values

UNCHECKED = Check(NOTHING, math.nan, 0)
ANN = Judge(
    name="ann@localhost",
    items=60,
    answers=50,
    gold=UNCHECKED,
    repeats=Check(Interval(0.8, 0.5, 0.95), 0.9, 10),
    identical=UNCHECKED,
    agreement=Check(Interval(0.4, 0.3, 0.5), 0.48, 50),
    agreement_by_axis={},
    side_a=Interval(0.5, 0.4, 0.6),
    tie_share=0.2,
    pass_share=math.nan,
    median_s=12.0,
    failed=(),
)
BOB = replace(ANN, name="bob@localhost", failed=("too fast", "by chance"), repeats=UNCHECKED, median_s=1.0)
ALPHA = Agreement("motion_quality", 40, 40, 0.7, 0.3, 0.2, 0.4)


SIDE_A = Interval(0.51, 0.48, 0.54)


def one(system: str, rank: int, value: float) -> Standing:
    return Standing(system, rank, rank, rank, {OVERALL: Interval(value, value - 0.1, value + 0.1)}, 50)


def found(*standings: Standing) -> Result:
    return Result(standings, (), (), 50, 2, True)


COUNTED = found(one("ours", 1, 0.6), one("theirs", 2, 0.5))
EVERYBODY = found(one("theirs", 1, 0.55), one("ours", 2, 0.5), one("third", 3, 0.2))


def values(judges=(ANN, BOB), everybody: Result | None = EVERYBODY, side_a: Interval | None = SIDE_A, **other):
    fields = {"simulated": frozenset({"bob@localhost"}), "agreement": [ALPHA], "rule": "the rule", "scale": track}
    return judge_values(judges, side_a=side_a, results=(COUNTED, everybody), **{**fields, **other})


def test_those_left_out_come_first_with_their_reasons():
    told = values()
    assert told["excluded"] == [("bob", "too fast; by chance")]
    assert [(each["name"], each["out"], each["simulated"]) for each in told["judges"]] == [
        ("bob", True, True),
        ("ann", False, False),
    ]


def test_both_results_stand_side_by_side_in_the_order_that_counts():
    rows = values()["both"]
    assert [row["system"] for row in rows] == ["ours", "theirs", "third"]
    assert [[(rank, drawn.value) for rank, drawn in row["results"]] for row in rows] == [
        [("1", "60.0"), ("2", "50.0")],
        [("2", "50.0"), ("1", "55.0")],
        [("–", "–"), ("3", "20.0")],
    ]
    assert values(everybody=None)["both"] == []


def test_only_what_was_measured_of_somebody_has_a_column():
    told = values()
    assert told["judge_titles"] == [
        "answers",
        "seconds, median",
        "agreement, kappa",
        "side A, %",
        "ties",
        "repeats alike",
    ]
    bob, ann = told["judges"]
    assert ann["cells"][-1].text == "80% of 10" and bob["cells"][-1].text == "–"
    assert ann["cells"][3].drawn.value == "50" and ann["cells"][3].drawn.mark == ann["cells"][3].drawn.dot


def test_agreement_and_habits_are_told_in_numbers():
    told = values()
    (row,) = told["agreement"]
    assert (row["title"], row["num_items"], row["share"], row["alpha"].value) == ("Motion quality", 40, "70%", "0.30")
    assert told["habits"].startswith("Of the decided answers, 51.0 % (48.0 to 54.0) were for side A.")
    nobody = Agreement("overall", 0, 0, None, None, None, None)
    assert values(agreement=[nobody])["agreement"] == []
    assert "side A" not in values(side_a=None)["habits"]
