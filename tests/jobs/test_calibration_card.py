"""A card says what a model was taught on, how good it is and what it is not for; simulated ones say so first."""

import json

import pytest

from annotation.reliability import Bin, Estimate, Proposal
from curation.gates import GateRule, StageGates
from curation.tables import Workspace
from jobs.calibration_card import MUST_NOT, Answers, Card, reliability_plot, write_card
from jobs.calibration_rules import StageComparison
from jobs.calibrations import FOLDER

NAN = Estimate(float("nan"), float("nan"), float("nan"))
FIGURE = Estimate(0.8, 0.7, 0.9)


def card_of(simulated: bool = False, set_aside: int = 0) -> Card:
    rule = GateRule(scorer="sharpness", min=2.0)
    comparison = StageComparison(
        "video", (Proposal("hand-set", NAN, NAN, FIGURE, 0),), (rule,), StageGates(rules=(rule,)), 0.6
    )
    sources = {f"film-{number:02}|a.mp4": 30 - number for number in range(30)}
    answers = Answers(
        simulated, 60, 90, 30, set_aside, "2026-11-01", "2026-11-20", {"ann": 150}, sources, {"audit": 150}
    )
    return Card(
        digest="abc", kind="logistic", scaling="platt", answers=answers, features=("sharpness", "motion"),
        log_losses={"logistic": 0.4}, scaling_losses={"none": 0.4, "platt": 0.39}, auc=FIGURE,
        calibration_error=FIGURE, unscaled_error=FIGURE,
        bins=[Bin(0.0, 0.1, 90, 0.05, FIGURE), Bin(0.9, 1, 60, 0.95, NAN)],
        wanted_precision=0.9, operating_point=0.6, at_operating_point=Proposal("operating point", NAN, NAN, NAN, 0),
        importances={"sharpness": 0.2, "motion": 0.01}, stages=[comparison], settings={"seed": 0},
    )  # fmt: skip


def test_the_first_line_of_a_simulated_model_says_so():
    assert card_of(simulated=True).text().splitlines()[0].startswith("**SIMULATED")
    assert "SIMULATED" not in card_of().text()
    assert "simulated" not in card_of().text() and "12 clips with simulated answers" in card_of(set_aside=12).text()


def test_a_card_says_who_taught_it_how_good_it_is_and_what_it_is_not_for():
    text = card_of().text()
    for said in (
        "60 kept and 90 rejected clips of 30 videos", "| ann | 150 |", "| audit | 150 |", "| film-00/a.mp4 | 30 |",
        "| and 10 more | 55 |", "AUC 0.800 (0.700 to 0.900)", "![reliability](abc.png)", "| sharpness | 0.2000 |",
        "| hand-set | - | - | 0.800 (0.700 to 0.900) | 0 |", "2026-11-01 to 2026-11-20", *MUST_NOT,
    ):  # fmt: skip
        assert said in text


def test_three_files_are_written_and_the_same_answers_write_the_same_bytes(tmp_path):
    workspace = Workspace(str(tmp_path))
    write_card(workspace, card_of())
    names = ["abc.json", "abc.md", "abc.png"]
    first = [workspace.read_bytes(FOLDER, name) for name in names]
    assert sorted(workspace.file_names(FOLDER)) == names
    write_card(workspace, card_of())
    assert [workspace.read_bytes(FOLDER, name) for name in names] == first
    tree = json.loads(first[0], parse_constant=pytest.fail)
    assert (
        tree["auc"] == {"value": 0.8, "low": 0.7, "high": 0.9}
        and tree["at_operating_point"]["precision"]["value"] is None
    )
    assert tree["stages"][0]["rules"] == [{"scorer": "sharpness", "min": 2.0}]


def test_the_plot_is_a_picture_that_follows_the_bins():
    pictures = [reliability_plot([Bin(0.0, 0.1, 9, 0.05, each)], False) for each in (FIGURE, Estimate(0.1, 0, 0.3))]
    assert all(picture.startswith(b"\x89PNG") for picture in pictures) and pictures[0] != pictures[1]
