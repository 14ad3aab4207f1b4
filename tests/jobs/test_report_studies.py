"""The main report's word on a study: its ranking as the study's own page has it, and what came since."""

from annotation.study.axes import Design
from curation.study_records import StudyAnswer
from curation.tables import Workspace
from jobs.config import Recipe
from jobs.report import render_report
from jobs.report_studies import studies
from jobs.study_report import write_study_report
from tests.jobs.studied import STUDY, studied


def test_a_study_without_a_page_says_what_is_next_and_one_with_a_page_who_leads(tmp_path):
    workspace = studied(
        tmp_path, Design.PAIRWISE, {"ours": 0.9, "theirs": 0.1}, num_prompts=12, num_judges=3, media=False
    )
    answers = workspace.table("study_answers").read().num_rows
    (before,) = studies(workspace)
    assert before.text == f"{answers} answers and no page yet. Next: dailies study report." and before.rows == ()
    recipe = Recipe.model_validate({"study": {"name": STUDY, "bootstraps": 200}})
    write_study_report(workspace, recipe)
    (after,) = studies(workspace)
    assert after.text == f"From {answers} answers." and after.simulated == answers
    assert [(row.rank, row.system) for row in after.rows] == [(1, "ours"), (2, "theirs")]
    assert after.rows[0].value.startswith("+") and after.figure == "net wins, points"
    late = StudyAnswer(STUDY, "late", "i000000", "late@localhost", "{}", None, "2026-11-24T10:00:00+00:00", False)
    workspace.table("study_answers").append("late", [late])
    assert studies(workspace)[0].text == f"From {answers} answers; 1 have come since."
    page = render_report(workspace, recipe)
    assert f"judges gave {answers + 1} answers in 1 blind study." in page
    assert f'href="study_report/{STUDY}/report.html"' in page and "net wins, points" in page


def test_a_workspace_without_studies_has_none(tmp_path):
    assert studies(Workspace(str(tmp_path))) == []
