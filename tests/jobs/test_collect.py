"""Collecting from the real Label Studio: answers are pulled once, judged, kept and resolved."""

import argparse
import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from itertools import takewhile

import pytest

from annotation.ballots import Standing, answer_rows
from annotation.connection import connect, stop_server
from annotation.project import SCREEN, AnnotationSettings
from annotation.results import to_result
from annotation.server import ServerSettings
from annotation.tasks import to_task
from curation.records import Caption, UserError
from curation.tables import PushedTask
from jobs import collect, route
from jobs.collect import CollectTally
from tests.annotation.answers import annotation, kept
from tests.annotation.footage import clip
from tests.conftest import LABEL_STUDIO_VENV
from tests.jobs.catalogue import clips_in, context_of
from tests.jobs.reviewed import reviewed_context


def test_collecting_where_nothing_was_sent_needs_no_server(tmp_path, capsys):
    context = context_of(tmp_path, [20.0] * 4)
    assert collect.run(context) == collect.answer_as_simulated(context) == 0
    assert "0 tasks" in capsys.readouterr().out
    assert not context.workspace.exists("label_studio")


def test_a_task_missing_on_the_server_breaks_the_equation():
    standings = Counter({Standing.ANSWERED: 2, Standing.WAITING: 1})
    assert CollectTally(3, 3, standings).holds
    lost = CollectTally(3, 2, standings)
    assert not lost.holds and "DOES NOT HOLD: the server has 2 tasks" in str(lost)


def test_collecting_again_and_again_ends_with_an_interrupt(capsys):
    codes, waits = iter([0, 0, 1]), []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            raise KeyboardInterrupt

    assert collect.repeat(lambda: next(codes), 30, wait) == 1
    assert waits == [30, 30, 30] and "collect: ended" in capsys.readouterr().out
    assert collect.repeat(lambda: 7, 0, wait) == 7


def test_the_full_pass_is_untouched_until_somebody_answers_there(tmp_path):
    context = context_of(tmp_path, [20.0] * 4)
    workspace, title = context.workspace, context.recipe.annotation.title
    assert collect.untouched_full_pass(context) == 0
    tasks = [PushedTask("c1", f"{title}, fast pass", "1", ""), PushedTask("c1", title, "1", "")]
    workspace.table("tasks").append("sent", tasks)
    first = replace(annotation("c1", "ann", {"verdict": "keep"}), project=f"{title}, fast pass")
    workspace.table("annotations").append("fast", [first])
    assert collect.untouched_full_pass(context) == 1
    workspace.table("annotations").append(
        "full", [replace(annotation("c1", "ann", kept(), "2026-01-02T00:00:00Z"), project=title)]
    )
    assert collect.untouched_full_pass(context) == 0


def test_answers_are_laid_beside_the_plan_of_who_answers_what(tmp_path):
    context = context_of(tmp_path, [20.0] * 4)
    workspace, title = context.workspace, context.recipe.annotation.title
    tasks, answers = workspace.table("tasks"), workspace.table("annotations")
    tasks.append("anybody", [PushedTask("c0", title, "1", "")])
    rows = [
        replace(annotation(clip_id, name, {"verdict": "keep"}), project=project, annotation_key=f"{clip_id}{name}")
        for clip_id, name, project in (
            ("c1", "ann", title),
            ("c1", "bob", title),
            ("c1", "eve", title),
            ("c1", "x", "y"),
        )
    ]
    answers.append("given", rows)
    table = answer_rows(answers)
    assert collect.against_plan(workspace, title, table, set(), 0) is None, "nobody was named"
    planned = [PushedTask(clip_id, title, "1", "", answers_wanted=2, annotators="ann, bob") for clip_id in ("c1", "c2")]
    tasks.append("planned", planned)
    tally = collect.against_plan(workspace, title, table, {"c1bob"}, 0)
    assert tally is not None
    assert (tally.answers, tally.by_others, tally.due) == (2, {"eve": 1}, {"ann": 1, "bob": 1})


def test_a_webhook_without_a_run_that_goes_on_is_refused(tmp_path):
    context = replace(context_of(tmp_path, [20.0] * 4), args=argparse.Namespace(webhook=""))
    with pytest.raises(UserError, match="give --every SECONDS"):
        collect.run(context)


@pytest.mark.slow
@pytest.mark.live
def test_an_answer_is_collected_long_before_the_next_poll_is_due(label_studio_workspace, tmp_path):
    title, recipe = "Woken test", tmp_path / "recipe.toml"
    server = ServerSettings(venv=str(LABEL_STUDIO_VENV), webhooks=True)
    recipe.write_text(
        f'[annotation]\ntitle = "{title}"\nreviewers = "me"\nfast_pass = false\n'
        f'[annotation.server]\nvenv = "{server.venv}"\nwebhooks = true\n'
    )
    settings = AnnotationSettings(title=title, reviewers="me", fast_pass=False, server=server)
    stop_server(label_studio_workspace)  # it may run without leave to call this machine
    given = ["--recipe", str(recipe), "--workspace", label_studio_workspace.root, "--every", "36000", "--webhook"]
    with connect(label_studio_workspace, settings) as connection:
        client, project = connection.client, connection.project
        client.push(project, [to_task(SCREEN, clip("w1"), Caption("w1", "draft:facts", "1", "A street."))])
        label_studio_workspace.table("tasks").append("woken", [PushedTask("w1", title, "1", "")])
        with subprocess.Popen(
            [sys.executable, "-m", "jobs.cli", "collect", *given], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            hanging = threading.Timer(300, process.kill)
            hanging.start()
            lines = iter(process.stdout.readline, "")
            try:
                before = list(takewhile(lambda line: "again in 36000 s" not in line, lines))
                assert len(client.webhooks(project)) == 1
                client.answer(client.open_tasks(project)[0], to_result(SCREEN, kept()))
                after = list(takewhile(lambda line: "again in 36000 s" not in line, lines))
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(60)
                hanging.cancel()
        assert client.webhooks(project) == {}
    assert process.returncode == 0
    assert "collect: wakes up when somebody answers\n" in before
    assert "collect: 1 tasks = 0 answered + 0 skipped + 1 waiting\n" in before
    assert "collect: 1 tasks = 1 answered + 0 skipped + 0 waiting\n" in after


def test_simulated_annotators_keep_away_from_peoples_projects(tmp_path):
    context = context_of(tmp_path, [20.0] * 4)
    mine = context.recipe.annotation.model_copy(update={"reviewers": "me"})
    with pytest.raises(UserError, match="would mix with people's"):
        collect.answer_as_simulated(replace(context, recipe=context.recipe.model_copy(update={"annotation": mine})))


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.usefixtures("local_ray")
def test_simulated_answers_are_collected_once_marked_and_resolved(label_studio_workspace, capsys):
    context = reviewed_context(label_studio_workspace, "Collect test", fast_pass=True)
    workspace = context.workspace
    scored, unscored = [clip.clip_id for clip in clips_in(context)][1:3], clips_in(context)[3].clip_id
    route.run(context)
    simulating = replace(context, args=argparse.Namespace(simulate=True))
    assert collect.run(simulating) == 0
    out = capsys.readouterr().out
    assert "simulated annotators: 6 answers given to 3 tasks" in out
    assert "collect: 6 answers pulled = 6 new + 0 known + 0 invalid" in out
    assert "collect, fast pass: 3 tasks = 2 answered + 1 skipped + 0 waiting" in out
    promoted = {row.clip_id for row in workspace.table("tasks").records() if row.project == "Collect test"}
    assert f"collect, full pass: {len(promoted)} tasks = {len(promoted)} answered + 0 skipped + 0 waiting" in out

    rows = [row for row in workspace.table("annotations").records() if row.project.startswith("Collect test")]
    fast = [row for row in rows if row.project == "Collect test, fast pass"]
    full = [row for row in rows if row.project == "Collect test"]
    assert len(fast) == 6 and all(row.simulated and row.annotator.startswith("simulated-") for row in rows)
    assert {row.clip_id for row in fast if row.skipped} == {unscored}
    assert all(set(json.loads(row.answers)) <= {"verdict", "reject_reasons"} for row in fast)
    assert promoted and all(json.loads(row.answers)["short"] for row in full)
    verdicts = {row.clip_id: row for row in workspace.table("human_verdicts").records()}
    assert set(scored) <= set(verdicts) and all(verdicts[clip_id].simulated for clip_id in scored)
    by = {row.by for row in workspace.table("captions").records() if row.clip_id in promoted}
    assert "people (simulated)" in by

    stems = {name: workspace.table(name).stems() for name in ("annotations", "failures", "human_verdicts", "captions")}
    assert collect.run(simulating) == 0
    out = capsys.readouterr().out
    assert "simulated annotators: 0 answers given to 3 tasks" in out
    assert "6 answers pulled = 0 new + 6 known + 0 invalid" in out and " 1 new" not in out
    assert {name: workspace.table(name).stems() for name in stems} == stems


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.usefixtures("local_ray")
def test_an_answer_the_screen_does_not_allow_becomes_a_failure_and_its_task_waits(label_studio_workspace, capsys):
    context = reviewed_context(label_studio_workspace, "Invalid test")
    annotation = context.recipe.annotation.model_copy(update={"reviewers": "me"})
    context = replace(context, recipe=context.recipe.model_copy(update={"annotation": annotation}))
    route.run(context)
    assert "sign in as me@localhost" in capsys.readouterr().out
    with connect(context.workspace, annotation) as connection:
        first, second, _ = connection.client.open_tasks(connection.project)
        connection.client.answer(first, to_result(SCREEN, {**kept(), "verdict": "accept"}))
        connection.client.answer(second, to_result(SCREEN, kept()))
    for expected in ("1 new + 0 known + 1 invalid (1 unknown choice)", "0 new + 2 known + 0 invalid"):
        assert collect.run(context) == 0
        out = capsys.readouterr().out
        assert expected in out
        assert "3 tasks = 1 answered + 0 skipped + 2 waiting" in out
    failures = [row for row in context.workspace.table("failures").records() if row.job == "collect"]
    assert [(row.label, row.reason) for row in failures] == [(first.data["clip_id"], "unknown choice")]
    assert "me@localhost" in failures[0].detail and '"accept"' in failures[0].detail
    with connect(context.workspace, annotation) as connection:
        (raw,) = (raw for raw in connection.client.pull_all(connection.project) if raw.task_id == second.task_id)
        connection.client.delete(raw)  # as anybody can in the Data Manager
    for expected in ("1 of those we had are gone", "0 new + 1 known"):
        assert collect.run(context) == 0
        out = capsys.readouterr().out
        assert expected in out and "3 tasks = 0 answered + 0 skipped + 3 waiting" in out
    assert len([row for row in context.workspace.table("annotations").records() if row.project == "Invalid test"]) == 1
    assert not [row for row in context.workspace.table("human_verdicts").records() if row.clip_id == raw.clip_id]
    login = collect.how_to_log_in(context)
    assert "labeling=1" in login and "me@localhost.json" in login
