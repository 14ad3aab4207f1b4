"""Wakes a sleeping poller when somebody answers: a hint that may get lost, never a source of answers.

    somebody submits --> Label Studio --POST--> Bell, in a thread --> its `wait` returns, `dailies collect` polls now

Label Studio's webhooks are unsigned, sent once, and lost where nobody listens. So a request only rings, what it carries
is thrown away unread by anybody, and polling goes on as if there were no bell. The path is random: a stranger rings in
vain. A member of the project can read the path and may ring; that costs a poll, and polls are a pause apart.

Label Studio calls no address of a private network; `annotation.server.webhooks` makes one exception of the embedded
one's (`annotation/reserved_networks.py`). A receiver that hangs costs a submit up to a second, a closed port nothing.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from annotation.client import BROKEN, Client, Project
from annotation.reserved_networks import WAKE_HOST
from curation.records import UserError

PATH = "/dailies-wake/"
LEAST_PAUSE_S = 2.0  # between two polls, however often it rings
MOST_BYTES = 65536  # of a request's body, read only so that the caller is not cut off
REQUEST_TIMEOUT_S = 5.0


class Bell(ThreadingHTTPServer):
    """Listens once it is made; `hung` answers requests."""

    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        """`port` 0 takes any free one.

        Raises:
            OSError: the address is taken or not of this machine.
        """
        self.rung = threading.Event()
        self.path = PATH + secrets.token_urlsafe(16)
        super().__init__((host, port), _Visitor)

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        return f"http://{host}:{port}{self.path}"

    def wait(self, seconds: float) -> None:
        """Sleep until it rings or the time is over; returns `LEAST_PAUSE_S` after it was called at the earliest."""
        started_s = time.monotonic()
        if self.rung.wait(seconds):
            time.sleep(max(0.0, min(LEAST_PAUSE_S, seconds) - (time.monotonic() - started_s)))
        self.rung.clear()


class _Visitor(BaseHTTPRequestHandler):
    timeout = REQUEST_TIMEOUT_S
    server_version, sys_version = "dailies", ""

    def do_POST(self) -> None:
        assert isinstance(self.server, Bell)
        known = secrets.compare_digest(self.path.encode(), self.server.path.encode())
        if known:
            self.server.rung.set()
        length = self.headers.get("Content-Length", "")
        with suppress(OSError):  # it has rung; whoever hangs up hangs up
            self.rfile.read(min(int(length), MOST_BYTES) if length.isdecimal() else 0)
            self.send_response(HTTPStatus.NO_CONTENT if known else HTTPStatus.NOT_FOUND)
            self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Silent: the path is a secret of sorts."""


@contextmanager
def hung(host: str, port: int) -> Iterator[Bell]:
    """A bell that answers inside the block.

    Raises:
        UserError: the address is not to be had.
    """
    try:
        bell = Bell(host, port)
    except OSError as error:
        raise UserError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; name another [HOST:]PORT of this machine"
        ) from error
    thread = threading.Thread(target=bell.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield bell
    finally:
        bell.shutdown()
        thread.join()
        bell.server_close()


@contextmanager
def registered(client: Client, projects: Sequence[Project], bell: Bell, tell: Callable[[str], None]) -> Iterator[None]:
    """Label Studio rings the bell inside the block, if it agrees; `tell` is told whether, and why not.

    What a run that was killed has left in these projects is cleared away.
    """
    made: list[int] = []
    try:
        for project in projects:
            for number, url in client.webhooks(project).items():
                if urlsplit(url).path.startswith(PATH):
                    client.remove_webhook(number)
            made.append(client.add_webhook(project, bell.url))
        tell("wakes up when somebody answers")
    except BROKEN as error:
        tell(f"no webhook, so polling alone: {_said(error)}")
    try:
        yield
    finally:
        try:
            for number in made:
                client.remove_webhook(number)
        except BROKEN as error:
            tell(f"a webhook stays on the server, which does no harm: {_said(error)}")


def address_of(given: str) -> tuple[str, int]:
    """Host and port of "[HOST:]PORT"; empty: any free port of `WAKE_HOST`.

    Raises:
        UserError: it is neither.
    """
    host, _, port = given.rpartition(":")
    if given and not (port.isdecimal() and int(port) <= 65535):
        raise UserError(f"{given!r} is not [HOST:]PORT, e.g. 8090 or 10.0.0.5:8090")
    return host or WAKE_HOST, int(port or 0)


def _said(error: Exception) -> str:
    """What the server answered, in a line."""
    body = getattr(error, "body", None)
    reasons = body.get("validation_errors") or body.get("detail") if isinstance(body, dict) else None
    return str(reasons or body or error)
