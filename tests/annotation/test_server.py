"""The embedded server: what is refused before it starts, and its doors once it runs."""

import os
import signal
import socket
import stat
from pathlib import Path

import httpx
import pytest

from annotation.accounts import ADMIN, credentials, signed_in
from annotation.connection import HOME, MEDIA, connect
from annotation.project import AnnotationSettings
from annotation.server import ServerSettings, ensure, environment, running, stop
from curation.records import UserError
from curation.tables import Workspace
from tests.conftest import LABEL_STUDIO_VENV

SETTINGS = AnnotationSettings(title="Server tests", server=ServerSettings(venv=str(LABEL_STUDIO_VENV)))


@pytest.fixture
def connection(label_studio_workspace: Workspace):
    with connect(label_studio_workspace, SETTINGS) as opened:
        yield opened


def broken_installation(folder: Path, script: str) -> ServerSettings:
    program = folder / "venv" / "bin" / "label-studio"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return ServerSettings(venv=str(folder / "venv"), start_timeout_s=30)


def listening_addresses(port: int) -> set[str]:
    """Local addresses (hex, as the kernel prints them) on which anything listens at this port."""
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    local = [fields[1].split(":") for fields in lines if fields[3] == "0A"]
    return {address for address, number in local if int(number, 16) == port}


def test_a_missing_installation_says_how_to_make_it(tmp_path):
    with pytest.raises(UserError, match="make install-labelstudio"):
        ensure(tmp_path / "home", tmp_path / "media", ServerSettings(venv=str(tmp_path / "nowhere")))
    assert running(tmp_path / "home") is None


def test_a_server_that_ends_while_starting_shows_the_end_of_its_log(tmp_path):
    settings = broken_installation(tmp_path, "echo database is broken >&2; exit 3")
    with pytest.raises(RuntimeError, match=r"ended while starting(.|\n)*database is broken"):
        ensure(tmp_path / "home", tmp_path / "media", settings)
    assert not stop(tmp_path / "home"), "nothing is left to stop"


def test_a_taken_port_is_refused_before_anything_starts(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = broken_installation(tmp_path, "exit 3").model_copy(update={"port": taken.getsockname()[1]})
        with pytest.raises(UserError, match=r"annotation\.server\.port = \d+ is taken"):
            ensure(tmp_path / "home", tmp_path / "media", settings)
    assert not (tmp_path / "home" / "server.log").exists()


def test_the_environment_is_ours_alone_and_switches_off_what_is_open_by_default(tmp_path, monkeypatch):
    monkeypatch.setenv("DEBUG", "true")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    variables = environment(tmp_path, tmp_path / "media")
    assert "DEBUG" not in variables and "AWS_SECRET_ACCESS_KEY" not in variables
    assert variables["LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK"] == "true"
    assert variables["LABEL_STUDIO_COLLECT_ANALYTICS"] == "false"
    assert variables["LABEL_STUDIO_SENTRY_DSN"] == ""
    assert variables["LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"] == str(tmp_path / "media")


@pytest.mark.slow
@pytest.mark.live
def test_the_real_server_is_reached_on_loopback_only_and_by_one_process(connection, label_studio_workspace):
    server = running(connection.home)
    with connect(label_studio_workspace, SETTINGS) as second:
        assert running(second.home) == server, "a second connection uses the server that runs"
    assert listening_addresses(server.port) == {"0100007F"}


@pytest.mark.slow
@pytest.mark.live
def test_strangers_cannot_sign_up(connection):
    url = connection.project.url
    with httpx.Client(base_url=url, trust_env=False) as http:
        http.get("/user/login")
        form = {"email": "x@example.org", "password": "stranger-1", "csrfmiddlewaretoken": http.cookies["csrftoken"]}
        assert http.post("/user/signup", data=form, headers={"Referer": f"{url}/user/signup"}).status_code == 403


@pytest.mark.slow
@pytest.mark.live
def test_no_secret_is_on_the_command_line_in_the_log_or_readable_by_others(connection):
    home, server = connection.home, running(connection.home)
    admin = signed_in(home, connection.project.url, ADMIN)
    assert admin.token and admin.password
    for text in ((home / "server.log").read_text(), Path(f"/proc/{server.pid}/cmdline").read_text()):
        assert admin.password not in text and admin.token not in text
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert admin.password not in str(connection.login()) and ADMIN in str(connection.login())


@pytest.mark.slow
@pytest.mark.live
def test_clips_are_served_by_range_to_members_and_nothing_else_is(connection, label_studio_workspace):
    clip = label_studio_workspace.local_path(MEDIA, "clips", "served.mp4")
    clip.write_bytes(bytes(range(256)))
    token = {"Authorization": f"Token {signed_in(connection.home, connection.project.url, ADMIN).token}"}
    with httpx.Client(base_url=connection.project.url, trust_env=False) as http:
        address = "/data/local-files/?d=clips/served.mp4"
        part = http.get(address, headers=token | {"Range": "bytes=16-31"})
        assert (part.status_code, part.content) == (206, bytes(range(16, 32)))
        assert part.headers["content-range"] == "bytes 16-31/256"
        assert http.get(address).status_code == 401
        for outside in (f"../{HOME}/accounts/{ADMIN}.json", f"clips/../../{HOME}/server.json"):
            answer = http.get("/data/local-files/", params={"d": outside}, headers=token)
            assert answer.status_code >= 400
            assert credentials(connection.home, ADMIN).password not in answer.text


@pytest.mark.slow
@pytest.mark.live
def test_a_killed_server_comes_back_under_the_same_address(connection, label_studio_workspace):
    before = running(connection.home)
    os.kill(before.pid, signal.SIGKILL)
    os.waitpid(before.pid, 0)
    assert running(connection.home) is None, "a file left by a crash names nobody"
    with connect(label_studio_workspace, SETTINGS) as again:
        assert again.project == connection.project
        assert running(again.home).pid != before.pid
    assert stop(connection.home)
    assert running(connection.home) is None and not stop(connection.home)
