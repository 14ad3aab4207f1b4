"""Pushing to and pulling from the real Label Studio."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import httpx
import jwt
import pytest
from label_studio_sdk.core.api_error import ApiError
from label_studio_sdk.tokens import client_ext

from annotation.accounts import ADMIN, credentials, signed_in
from annotation.client import Client, Project
from annotation.connection import Connection, connect
from annotation.project import API_KEY_VARIABLE, SCREEN, AnnotationSettings
from annotation.results import InvalidAnswer, read_answers, to_annotation, to_result
from annotation.screen import render
from annotation.server import ServerSettings
from annotation.tasks import Task, to_task
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


BY_THE_SDK = pytest.mark.filterwarnings("ignore:The `parse_obj` method:DeprecationWarning")  # when it renews a token
NUM_TASKS = 12
PUSHER = """
import sys
from annotation.client import Client, Project
from tests.annotation.test_client import of_one_answer
url, number, token = sys.argv[1], int(sys.argv[2]), sys.stdin.read()
with Client(url, token) as client:
    client.push(Project(number, "any", url, overlap=2), of_one_answer())
"""


def of_one_answer() -> list[Task]:
    return [replace(task, answers_wanted=1) for task in tasks(*(f"c{number}" for number in range(NUM_TASKS)))]


def offered(client: Client, project: Project) -> int | None:
    """The task that the stream gives to whoever holds this client next."""
    address = f"{project.url}/api/projects/{project.project_id}/next"
    answer = httpx.get(address, headers=client.authorization(), trust_env=False)
    return answer.json()["id"] if answer.status_code == 200 else None


def personal_access_token(connection: Connection) -> str:
    """What a member copies from the account page of a server that has switched the old tokens off."""
    assert connection.home is not None
    admin, url = credentials(connection.home, ADMIN), connection.project.url
    with httpx.Client(base_url=url, trust_env=False) as http:
        http.get("/user/login")
        form = {"email": ADMIN, "password": admin.password, "csrfmiddlewaretoken": http.cookies["csrftoken"]}
        http.post("/user/login", data=form, headers={"Referer": f"{url}/user/login"})
        headers = {"X-CSRFToken": http.cookies["csrftoken"], "Referer": url}
        return http.post("/api/token/", headers=headers).raise_for_status().json()["token"]


def access_token(client: Client) -> str:
    return client.authorization()["Authorization"].removeprefix("Bearer ")


def revoke(connection: Connection, token: str) -> None:
    assert connection.home is not None
    headers = {"Authorization": f"Token {signed_in(connection.home, connection.project.url, ADMIN).token}"}
    address = f"{connection.project.url}/api/token/blacklist/"
    httpx.post(address, headers=headers, json={"refresh": token}, trust_env=False).raise_for_status()


class SlowClock(datetime):
    """A clock ten minutes behind the server's."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "SlowClock":
        return super().now(tz) - timedelta(minutes=10)


def lapsed(home: Path, token: str, seconds: float) -> str:
    """The same access token, signed by the server's own key, as it is so many seconds after it has expired."""
    (line,) = (line for line in (home / "data" / ".env").read_text().splitlines() if line.startswith("SECRET_KEY="))
    key = line.partition("=")[2].strip("'\"")
    claims = jwt.decode(token, key, algorithms=["HS256"])
    return jwt.encode({**claims, "exp": int(time.time() - seconds)}, key, algorithm="HS256")


def hold(client: Client, access: str) -> None:
    """Make this the access token that the client goes on with."""
    client._sdk._client_wrapper._tokens_client._set_access_token(access)


@BY_THE_SDK
def test_a_personal_access_token_goes_on_working_after_its_access_token_has_expired(
    connection, label_studio_workspace, monkeypatch
):
    url = connection.project.url
    monkeypatch.setenv(API_KEY_VARIABLE, personal_access_token(connection))
    settings = AnnotationSettings(title="Expiry test", fast_pass=False, url=url)
    with connect(label_studio_workspace, settings) as elsewhere:
        client, project = elsewhere.client, elsewhere.project
        old = lapsed(connection.home, access_token(client), seconds=10)
        refused = httpx.get(f"{url}/api/projects/", headers={"Authorization": f"Bearer {old}"}, trust_env=False)
        assert refused.status_code == 401, "the server itself says that it has expired"

        hold(client, old)
        assert client.push(project, tasks("a")) == ({"a"}, set())
        assert access_token(client) != old

        hold(client, old)
        monkeypatch.setattr(client_ext, "datetime", SlowClock)  # ours: to it the token has minutes left
        assert access_token(client) == old
        assert client.push(project, tasks("a", "b")) == ({"b"}, {"a"})
        assert access_token(client) != old
    revoke(connection, os.environ[API_KEY_VARIABLE])


@BY_THE_SDK
def test_a_personal_access_token_that_was_revoked_is_refused_and_not_asked_for_again_and_again(connection):
    url, token = connection.project.url, personal_access_token(connection)
    with Client(url, token) as client:
        old = lapsed(connection.home, access_token(client), seconds=10)
        revoke(connection, token)
        hold(client, old)
        with pytest.raises(ApiError) as refused:
            client.emails()
    assert refused.value.status_code == 401


def test_a_push_killed_before_the_server_knew_how_many_answers_are_wanted_is_made_good_by_the_next(connection):
    client, project = connection.client, replace(connection.project, overlap=2)
    client.open_project(project.title, render(SCREEN), 2, "", None)
    clip_ids = [task.clip_id for task in of_one_answer()]
    command = [sys.executable, "-c", PUSHER, project.url, str(project.project_id)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as pusher:
        assert pusher.stdin is not None
        pusher.stdin.write(signed_in(connection.home, project.url, ADMIN).token.encode())
        pusher.stdin.close()
        while client.num_tasks(project) < NUM_TASKS and pusher.poll() is None:
            time.sleep(0.01)
        pusher.kill()
    assert pusher.returncode == -signal.SIGKILL
    left = client.listed(project, clip_ids)
    assert len(left) == NUM_TASKS
    wrong = [clip_id for clip_id, task in left.items() if task.answers_wanted == 2]
    assert wrong, "the kill came before all were told"

    assert client.push(project, of_one_answer()) == (set(), set(clip_ids))
    assert {task.answers_wanted for task in client.listed(project, clip_ids).values()} == {1}


def test_a_task_that_wants_another_answer_after_all_is_offered_to_the_next_person_and_then_to_nobody(connection):
    client, project = connection.client, replace(connection.project, overlap=1)
    client.open_project(project.title, render(SCREEN), 1, "", None)
    client.push(project, tasks("a"))
    (task,) = client.open_tasks(project)
    client.answer(task, to_result(SCREEN, kept()))
    with connection.as_member("simulated-motion@localhost") as second:
        assert offered(second, project) is None
        client.push(project, [replace(each, answers_wanted=2) for each in tasks("a")])
        assert offered(second, project) == task.task_id
    client.push(project, tasks("a"))
    with connection.as_member("simulated-clarity@localhost") as third:
        assert offered(third, project) is None


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
