"""The bell that wakes a poller: who may ring it, and that the real Label Studio does."""

import socket
import threading
from dataclasses import dataclass, field

import httpx
import pytest

from annotation.connection import Connection, connect, stop_server
from annotation.project import SCREEN, AnnotationSettings
from annotation.reserved_networks import WAKE_HOST
from annotation.results import to_result
from annotation.server import ServerSettings
from annotation.tasks import to_task
from annotation.webhook import PATH, Bell, address_of, hung, registered
from curation.records import Caption, UserError
from curation.tables import Workspace
from tests.annotation.answers import kept
from tests.annotation.footage import clip
from tests.conftest import LABEL_STUDIO_VENV

LONG_S = 600.0


@dataclass
class Sleeper:
    """A poller that sleeps on a bell in a thread of its own."""

    bell: Bell
    woken: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        threading.Thread(target=self.sleep, daemon=True).start()

    def sleep(self) -> None:
        self.bell.wait(LONG_S)
        self.woken.set()


@pytest.fixture
def bell():
    with hung("127.0.0.1", 0) as listening:
        yield listening


def post(url: str, content: bytes = b"") -> int:
    return httpx.post(url, content=content, trust_env=False).status_code


def test_a_request_rings_whatever_it_carries(bell):
    sleeper = Sleeper(bell)
    assert post(bell.url, b"\x00 not JSON") == 204
    assert sleeper.woken.wait(60)
    assert not bell.rung.is_set(), "the next sleep lasts until the next ring"


def test_a_stranger_who_does_not_know_the_path_rings_in_vain(bell):
    root = bell.url.removesuffix(bell.path)
    assert [post(f"{root}{path}") for path in ("/", PATH, f"{PATH}guess")] == [404, 404, 404]
    assert httpx.get(bell.url, trust_env=False).status_code == 501, "looking is not ringing"
    assert not bell.rung.is_set()


def test_whoever_hangs_up_in_the_middle_has_rung_and_disturbs_nobody(bell, capfd):
    with socket.create_connection(bell.server_address[:2]) as caller:
        caller.sendall(f"POST {bell.path} HTTP/1.1\r\nContent-Length: 1000\r\n\r\nten bytes.".encode())
        assert bell.rung.wait(60)
    assert post(bell.url) == 204
    assert capfd.readouterr().err == ""


def test_a_ring_while_nobody_sleeps_ends_the_next_sleep_at_once(bell):
    post(bell.url)
    sleeper = Sleeper(bell)
    assert sleeper.woken.wait(60)


def test_addresses_are_read_and_taken_ones_refused(bell):
    assert [address_of(given) for given in ("", "8090", "10.0.0.5:8090")] == [
        (WAKE_HOST, 0),
        (WAKE_HOST, 8090),
        ("10.0.0.5", 8090),
    ]
    for wrong in ("10.0.0.5", "host:", "1:99999"):
        with pytest.raises(UserError, match=r"is not \[HOST:\]PORT"):
            address_of(wrong)
    with pytest.raises(UserError, match=r"cannot listen on 127\.0\.0\.1"), hung("127.0.0.1", bell.server_address[1]):
        pass


def opened(workspace: Workspace) -> Connection:
    server = ServerSettings(venv=str(LABEL_STUDIO_VENV), webhooks=True)
    return connect(workspace, AnnotationSettings(title="Wake test", fast_pass=False, server=server))


@pytest.mark.slow
@pytest.mark.live
def test_an_answer_on_the_server_rings_and_nothing_is_left_there_afterwards(label_studio_workspace):
    stop_server(label_studio_workspace)  # it may run without leave to call this machine
    said: list[str] = []
    with opened(label_studio_workspace) as connection, hung(WAKE_HOST, 0) as bell:
        client, project = connection.client, connection.project
        client.push(project, [to_task(SCREEN, clip("a"), Caption("a", "draft:facts", "1", "A street."))])
        client.add_webhook(project, f"http://{WAKE_HOST}:9{PATH}of-a-run-that-was-killed")
        theirs = client.add_webhook(project, "http://192.0.43.7/of-somebody-else")
        with registered(client, [project], bell, said.append):
            assert set(client.webhooks(project).values()) == {bell.url, "http://192.0.43.7/of-somebody-else"}
            client.remove_webhook(theirs)  # or each answer would try to reach it
            sleeper = Sleeper(bell)
            (task,) = client.open_tasks(project)
            client.answer(task, to_result(SCREEN, kept()))
            assert sleeper.woken.wait(60)
            client.delete(client.pull_all(project)[0])
            assert bell.rung.wait(60), "a deletion rings as well"
        assert client.webhooks(project) == {}
    assert said == ["wakes up when somebody answers"]


@pytest.mark.slow
@pytest.mark.live
def test_a_webhook_that_is_refused_is_said_and_does_not_end_the_run(label_studio_workspace, bell):
    said: list[str] = []
    with (
        opened(label_studio_workspace) as connection,
        registered(connection.client, [connection.project], bell, said.append),
    ):
        assert connection.client.webhooks(connection.project) == {}
    (line,) = said
    assert line.startswith("no webhook, so polling alone: ") and "reserved network address" in line
