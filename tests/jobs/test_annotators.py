"""The verb `annotators`: tables, files for programs, gold from the recipe, withdrawn answers left out."""

import argparse
import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from curation.records import UserError
from curation.tables import Withdrawal, Workspace
from jobs import annotators
from jobs.annotators import crowd_csv, measure, show
from jobs.cli import VERBS
from jobs.config import Context, Recipe
from tests.annotation.answers import annotation, kept, rejected
from tests.annotation.crowd import Planted, answers_of_crowd

PEOPLE = [Planted("ann", noise=0.3), Planted("[red]bob[/]", noise=0.3), Planted("kind", bias=1.0, noise=0.3)]


@pytest.fixture
def context(tmp_path) -> Context:
    workspace = Workspace(str(tmp_path / "ws"))
    rows, quality = answers_of_crowd(PEOPLE, 120, seed=2)
    workspace.table("annotations").append("answers", rows)
    lines = [f"c{clip:05},verdict,{'keep' if quality[clip] > 0 else 'reject'}\n" for clip in range(20)]
    (tmp_path / "gold.csv").write_text("clip_id,question,answer\n" + "".join(lines))
    recipe = Recipe.model_validate({"annotation": {"gold": str(tmp_path / "gold.csv")}})
    files = argparse.Namespace(json=str(tmp_path / "crowd.json"), csv=str(tmp_path / "crowd.csv"))
    return Context(recipe, workspace, files)


def test_the_verb_prints_everybody_with_what_stands_out_and_writes_both_files(context, capsys):
    assert annotators.run(context) == 0
    out = capsys.readouterr().out
    for part in ("Verdict", "Speed", "95 % interval", "no hard gate", "ann", "[red]bob[/]", "gold right"):
        assert part in out
    assert "kind keeps" in out and "points more than the others on the same 120 clips" in out
    tree = json.loads(Path(context.args.json).read_text())
    assert [each["name"] for each in tree["annotators"]] == ["[red]bob[/]", "ann", "kind"]
    assert tree["annotators"][1]["gold"]["asked"] == 20
    assert {each["question"] for each in tree["agreement"]} >= {"verdict", "motion_speed"}
    rows = list(csv.DictReader(Path(context.args.csv).read_text().splitlines()))
    assert [row["answers"] for row in rows] == ["120"] * 3 and float(rows[2]["keeps_more"]) > 0.2


def test_withdrawn_answers_are_left_out_and_counted(context):
    before = measure(context.workspace)
    keys = [f"ann/{clip}" for clip in range(120)]
    context.workspace.table("withdrawals").append(
        "gone", [Withdrawal(key, "2026-02-01T00:00:00Z", True) for key in keys]
    )
    after = measure(context.workspace)
    assert len(before.annotators) == 3 and [each.name for each in after.annotators] == ["[red]bob[/]", "kind"]
    sink = io.StringIO()
    show(after, Console(file=sink, width=200))
    assert "120 answers that were deleted on the server are left out" in sink.getvalue()


def test_nobody_has_answered(tmp_path, capsys):
    context = Context(Recipe(), Workspace(str(tmp_path)), argparse.Namespace(json=None, csv=None))
    assert annotators.run(context) == 0
    assert "nobody has answered" in capsys.readouterr().out
    assert crowd_csv([]).startswith("name,simulated,answers") and measure(context.workspace).annotators == ()


def test_gold_that_is_not_there_is_the_users_error(context):
    recipe = Recipe.model_validate({"annotation": {"gold": "nowhere.csv"}})
    with pytest.raises(UserError, match=r"no gold file at nowhere\.csv"):
        annotators.run(replace(context, recipe=recipe))


def test_what_cannot_be_told_is_a_dash(tmp_path):
    workspace = Workspace(str(tmp_path))
    rows = [annotation("c1", "simulated-a@localhost", kept()), annotation("c2", "b", rejected("dull"))]
    workspace.table("annotations").append("answers", rows)
    sink = io.StringIO()
    show(measure(workspace), Console(file=sink, width=200))
    (line,) = [line for line in sink.getvalue().splitlines() if line.startswith("simulated-a")]
    assert "(SIMULATED)" in line and line.split()[-1] == "-"


def test_the_command_line_knows_the_verb():
    parser = argparse.ArgumentParser()
    annotators.add_arguments(parser)
    assert parser.parse_args(["--csv", "x.csv"]).csv == "x.csv"
    assert "annotators" in VERBS
