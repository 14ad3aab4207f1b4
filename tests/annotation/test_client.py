"""Pushing to and pulling from the real Label Studio."""

from datetime import datetime

import pytest

from annotation.connection import connect
from annotation.project import SCREEN, AnnotationSettings
from annotation.results import InvalidAnswer, read_answers, to_annotation, to_result
from annotation.server import ServerSettings
from annotation.tasks import to_task
from curation.records import Caption
from curation.tables import Workspace
from tests.annotation.answers import kept, rejected
from tests.annotation.footage import clip
from tests.conftest import LABEL_STUDIO_VENV

pytestmark = [pytest.mark.slow, pytest.mark.live]


@pytest.fixture
def connection(label_studio_workspace: Workspace, request: pytest.FixtureRequest):
    """A project of the test's own."""
    title = request.node.name[:39]
    settings = AnnotationSettings(title=title, fast_pass=False, server=ServerSettings(venv=str(LABEL_STUDIO_VENV)))
    with connect(label_studio_workspace, settings) as opened:
        yield opened


def tasks(*clip_ids: str):
    return [to_task(SCREEN, clip(clip_id), Caption(clip_id, "draft:facts", "1", "A street.")) for clip_id in clip_ids]


def test_pushing_twice_adds_only_what_is_new_and_keeps_the_order(connection):
    client, project = connection.client, connection.project
    assert client.push(project, tasks("c", "a")) == ({"c", "a"}, set())
    assert client.push(project, tasks("b", "a", "c")) == ({"b"}, {"a", "c"})
    assert client.num_tasks(project) == 3
    assert [task.data["clip_id"] for task in client.open_tasks(project)] == ["c", "a", "b"]


def test_a_task_carries_its_draft(connection):
    connection.client.push(connection.project, tasks("a"))
    (task,) = connection.client.open_tasks(connection.project)
    assert task.draft[0]["value"] == {"text": ["A street."]}
    assert task.annotators == frozenset()


def test_answers_and_skips_come_back_under_the_name_of_who_gave_them(connection):
    client, project = connection.client, connection.project
    client.push(project, tasks("a", "b"))
    first, second = client.open_tasks(project)
    with connection.as_member("simulated-motion@localhost") as motion:
        motion.answer(first, to_result(SCREEN, kept("Eine Straße, 東京."), {"short": "prediction-changed"}))
    with connection.as_member("simulated-clarity@localhost") as clarity:
        clarity.answer(first, to_result(SCREEN, rejected("dull")))
        clarity.answer(second, [], skipped=True)
    rows = [to_annotation(SCREEN, "embedded", project.title, raw) for raw in client.pull_all(project)]
    assert [(row.clip_id, row.annotator, row.skipped) for row in rows] == [
        ("a", "simulated-motion@localhost", False),
        ("a", "simulated-clarity@localhost", False),
        ("b", "simulated-clarity@localhost", True),
    ]
    assert all(row.simulated for row in rows)
    assert "Eine Straße, 東京." in rows[0].answers and "prediction-changed" in rows[0].origins
    both = frozenset({"simulated-motion@localhost", "simulated-clarity@localhost"})
    assert client.open_tasks(project)[0].annotators == both


def test_a_pull_since_a_time_brings_only_tasks_touched_after_it(connection):
    client, project = connection.client, connection.project
    client.push(project, tasks("a", "b"))
    first, second = client.open_tasks(project)
    client.answer(first, to_result(SCREEN, kept()))
    (raw,) = client.pull_all(project)
    moment = datetime.fromisoformat(raw.updated_at)
    client.answer(second, to_result(SCREEN, kept()))
    late = [found.clip_id for found in client.pull(project, moment)]
    assert "b" in late, "times are cut to whole seconds, so the first answer may come again but none is lost"


def test_the_server_accepts_nonsense_so_we_must_not(connection):
    client, project = connection.client, connection.project
    client.push(project, tasks("a"))
    client.answer(client.open_tasks(project)[0], to_result(SCREEN, {**kept(), "motion_speed": 9}))
    (raw,) = client.pull_all(project)
    with pytest.raises(InvalidAnswer, match="rated 1 to 5"):
        read_answers(SCREEN, raw.result)
