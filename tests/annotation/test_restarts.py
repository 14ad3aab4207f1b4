"""The server dies in the middle of a push and of a pull: started again, nothing is lost and nothing doubled."""

import os
import signal
import threading
import time

import httpx
import pytest
from label_studio_sdk.core.api_error import ApiError

from annotation.connection import HOME, Connection, connect
from annotation.project import FAST, AnnotationSettings
from annotation.results import annotation_key, to_result
from annotation.server import ServerSettings, running
from annotation.tasks import to_task
from curation.records import Caption
from curation.tables import Workspace
from tests.annotation.footage import clip
from tests.conftest import LABEL_STUDIO_VENV

pytestmark = [pytest.mark.slow, pytest.mark.live]
NUM_TASKS, NUM_ANSWERS = 3000, 12
DRAFT = Caption("any", "draft:facts", "1", "A street.")
BROKEN = (httpx.HTTPError, ApiError)


def kill(workspace: Workspace) -> None:
    """SIGKILL to the server, as the kernel does when memory is short."""
    server = running(workspace.local_path(HOME))
    assert server is not None
    os.kill(server.pid, signal.SIGKILL)


def opened(workspace: Workspace) -> Connection:
    settings = AnnotationSettings(title="Restarts", server=ServerSettings(venv=str(LABEL_STUDIO_VENV)))
    return connect(workspace, settings)


def test_a_server_killed_in_a_push_and_in_a_pull_ends_with_everything_once(label_studio_workspace):
    tasks = [to_task(FAST, clip(f"r{number:05}"), DRAFT) for number in range(NUM_TASKS)]
    with opened(label_studio_workspace) as connection:
        connection.client.push(connection.project, tasks[:NUM_ANSWERS])
        first = connection.client.open_tasks(connection.project)
        killer = threading.Timer(0.7, kill, [label_studio_workspace])
        killer.start()
        with pytest.raises(BROKEN):  # an import of 1,000 takes half a second, so it dies in one of four
            connection.client.push(connection.project, tasks)
        killer.join()

    with opened(label_studio_workspace) as connection:
        client, project = connection.client, connection.project
        before = client.num_tasks(project)
        assert NUM_ANSWERS <= before < NUM_TASKS, "the kill came in the middle"
        pushed, there = client.push(project, tasks)
        assert len(pushed) + len(there) == NUM_TASKS and len(there) == before
        assert client.present(project, [task.clip_id for task in tasks]) == {task.clip_id for task in tasks}
        assert client.num_tasks(project) == NUM_TASKS
        for task in first:
            client.answer(task, to_result(FAST, {"verdict": "keep"}))

        killer = threading.Timer(0.3, kill, [label_studio_workspace])
        killer.start()
        with pytest.raises(BROKEN):
            while time.monotonic():  # a snapshot of 3,000 tasks takes seconds
                client.pull_all(project)
        killer.join()

    with opened(label_studio_workspace) as connection:
        raws = connection.client.pull_all(connection.project)
        keys = [annotation_key("embedded", "Restarts", raw) for raw in raws]
        assert len(keys) == len(set(keys)) == NUM_ANSWERS
        assert {raw.clip_id for raw in raws} == {task.clip_id for task in tasks[:NUM_ANSWERS]}
