"""The desk on the real server: asked once, each judge apart, every answer is a row or a failure with its reason."""

import json
from dataclasses import replace

import pytest

from annotation.accounts import ADMIN
from annotation.project import AnnotationSettings
from annotation.results import to_result
from annotation.server import ServerSettings
from annotation.study.axes import ALL_AXES, AXES, PASS, TIE, A, B, Design
from annotation.study.desk import ANYBODY, LONGEST_TITLE, names_of_judges, open_desk, title_of
from annotation.study.pages import screen_of
from annotation.study.settings import StudySettings
from annotation.tasks import Task
from curation.records import UserError
from tests.annotation.study.shown import SYSTEMS, small_study
from tests.conftest import LABEL_STUDIO_VENV

SERVER = ServerSettings(venv=str(LABEL_STUDIO_VENV))
TEAM = AnnotationSettings(reviewers="team", server=SERVER)
JUDGES = ("simulated-judge-01@localhost", "simulated-judge-02@localhost")


def test_judges_are_named_where_their_accounts_are_ours():
    settings = StudySettings(judges=2)
    assert names_of_judges(settings, TEAM) == ("judge-01@localhost", "judge-02@localhost")
    assert names_of_judges(settings, AnnotationSettings(reviewers="me")) == (ADMIN, "judge-02@localhost")
    assert names_of_judges(settings, AnnotationSettings()) == JUDGES
    assert names_of_judges(settings, AnnotationSettings(url="http://127.0.0.1:9")) == ()


def test_a_title_names_study_and_judge_within_what_the_server_takes():
    long = StudySettings(name="a" * 41)
    titles = [title_of(long, judge) for judge in (ANYBODY, JUDGES[0], JUDGES[1], "someone.else@studio.example.org")]
    assert len(set(titles)) == 4 and max(map(len, titles)) <= LONGEST_TITLE
    assert title_of(StudySettings(name="spring"), "judge-01@localhost") == "spring judge-01"


@pytest.mark.slow
@pytest.mark.live
def test_items_are_asked_once_and_every_judge_has_a_project(label_studio_workspace):
    study = small_study(label_studio_workspace, "asked-once", Design.PAIRWISE, JUDGES)
    with open_desk(label_studio_workspace, study.settings, TEAM) as desk:
        half = len(study.items) // 2
        assert desk.push(study.items[:half], study.texts) == half
        assert desk.push(study.items, study.texts) == len(study.items) - half
        assert desk.push(study.items, study.texts) == 0
        for judge in JUDGES:
            tasks = desk.connection.client.open_tasks(desk.project(judge))
            mine = [item.item_key for item in study.items if item.judge == judge]
            assert [task.data["clip_id"] for task in tasks] == mine, "in the dealt order, which is that of the keys"
        logins = desk.login()
        assert set(logins) == set(JUDGES) and all(login.password_file.exists() for login in logins.values())
    lost = replace(study.items[0], item_key="new", media_a="f" * 32)
    with open_desk(label_studio_workspace, study.settings, TEAM) as desk:
        with pytest.raises(UserError, match=r"1 of 2 videos are not in .*study create"):
            desk.push([lost], study.texts)
        with pytest.raises(UserError, match="prompts that the study does not have, such as 'p9'"):
            desk.push([replace(study.items[0], prompt_id="p9")], study.texts)
        assert sum(desk.connection.client.num_tasks(desk.project(judge)) for judge in JUDGES) == len(study.items)


@pytest.mark.slow
@pytest.mark.live
def test_answers_become_rows_and_what_the_page_does_not_allow_becomes_failures(label_studio_workspace):
    study = small_study(label_studio_workspace, "answered", Design.ABSOLUTE)
    screen = screen_of(Design.ABSOLUTE)
    with open_desk(label_studio_workspace, study.settings, TEAM) as desk:
        desk.push(study.items, study.texts)
        client, project = desk.connection.client, desk.project()
        client.push(project, [Task("stranger", {"clip_id": "stranger", "prompt": "", "video_a": ""}, [])])
        tasks = client.open_tasks(project)
        passed = dict.fromkeys(AXES, PASS)
        client.answer(tasks[0], to_result(screen, passed), lead_time_s=7.5)
        client.answer(tasks[1], [], skipped=True)
        client.answer(tasks[2], to_result(screen, dict.fromkeys(AXES, A)))
        client.answer(tasks[3], to_result(screen, dict.fromkeys(AXES[:2], PASS)))
        client.answer(tasks[-1], to_result(screen, passed))
        answers, failures = desk.collect()
        by_item = {answer.item_key: answer for answer in answers}
        assert by_item.keys() == {study.items[0].item_key, study.items[1].item_key}
        first = by_item[study.items[0].item_key]
        assert (json.loads(first.answers), first.judge, first.lead_time_s) == (passed, ADMIN, 7.5)
        assert by_item[study.items[1].item_key].skipped and not first.simulated
        assert sorted(failure.reason for failure in failures) == ["missing answer", "unknown choice", "unknown item"]
        assert desk.collect() == (answers, failures), "the same keys again, so a table holds each once"


@pytest.mark.slow
@pytest.mark.live
def test_simulated_judges_answer_their_own_items_and_nobody_else_is_made_up(label_studio_workspace):
    study = small_study(label_studio_workspace, "made-up", Design.PAIRWISE, JUDGES)
    with open_desk(label_studio_workspace, study.settings, TEAM) as desk:
        desk.push(study.items, study.texts)
        said = {item.item_key: dict.fromkeys(ALL_AXES, TIE if item.kind == "identical" else B) for item in study.items}
        seconds = dict.fromkeys(said, 12.0)
        mine = [sum(item.judge == judge for item in study.items) for judge in JUDGES]
        assert [desk.answer(judge, said, seconds) for judge in JUDGES] == mine
        with pytest.raises(UserError, match="would pass for a person's"):
            desk.answer("anna@localhost", said)
        answers, failures = desk.collect()
        assert not failures and {row.item_key: json.loads(row.answers) for row in answers} == said
        judge_of = {item.item_key: item.judge for item in study.items}
        assert all(row.simulated and row.judge == judge_of[row.item_key] for row in answers)
        assert {row.lead_time_s for row in answers} == {12.0}
        assert not any(system in str(answers) for system in SYSTEMS)
