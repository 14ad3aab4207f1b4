"""`study plan` says in people's words what the planning says in numbers."""

import argparse

from annotation.study.axes import Design
from annotation.study.planning import Needs, forecast
from annotation.study.settings import PlanSettings, StudySettings, SystemSettings
from curation.tables import Workspace
from jobs.config import Context, Recipe
from jobs.study_plan import plan, size_of, tell_needs

SYSTEMS = tuple(SystemSettings(name=name, videos="x") for name in ("a", "b", "c"))


def test_the_plan_is_of_the_recipes_prompts_systems_and_judges(tmp_path, capsys):
    (tmp_path / "p.txt").write_text("\n".join(f"prompt {number}" for number in range(200)))
    settings = StudySettings(systems=SYSTEMS, prompts=str(tmp_path / "p.txt"), judges=12, answers_wanted=2)
    assert plan(Context(Recipe(study=settings), Workspace(str(tmp_path)), argparse.Namespace())) == 0
    said = capsys.readouterr().out.splitlines()
    size = size_of(settings)
    assert (size.prompts, size.systems, size.questions, size.answers) == (200, 3, 600, 1200)
    assert said[0] == f"study plan, pairwise: {forecast(size, settings.plan).words}"
    assert [line.rpartition(" (")[2] for line in said[1:]] == ["200 now)", "12 now)", "2 now)"]


def test_a_plan_needs_no_prompts_and_systems_yet():
    size = size_of(StudySettings(design=Design.ABSOLUTE, judges=60, plan=PlanSettings(prompts=1533)))
    assert (size.systems, size.prompts, size.questions) == (2, 1533, 3066)


def test_what_is_needed_is_told_with_what_is_planned_and_what_no_number_brings():
    size = size_of(StudySettings(judges=12))
    assert tell_needs(Needs(0.03, prompts=None, judges=75, answers_wanted=4), size) == [
        "to know a difference to within 0.03: no number of prompts is enough, the rest as planned (300 now)",
        "to know a difference to within 0.03: 75 judges, the rest as planned (12 now)",
        "to know a difference to within 0.03: 4 answers per question, the rest as planned (1 now)",
    ]
