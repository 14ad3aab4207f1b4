"""The verb that serves review clips: where it listens, for whom, and what it refuses."""

import argparse
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from annotation.media_server import MediaServer
from curation.records import UserError
from curation.tables import Workspace
from jobs.cli import VERBS
from jobs.config import Context, Recipe
from jobs.serve import serve
from tests.flaky_store import flaky_store


def context_of(workspace: Workspace, url: str = "", **settings: object) -> Context:
    recipe = Recipe.model_validate({"annotation": {"url": url, "routing": {"serve": {"port": 0, **settings}}}})
    return Context(recipe, workspace, argparse.Namespace())


def answer_of(server: MediaServer, path: str, origin: str) -> httpx.Response:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        headers = {"Range": "bytes=1-2", "Origin": origin}
        return httpx.get(f"http://127.0.0.1:{server.port}{path}", headers=headers, trust_env=False)
    finally:
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("url", "origin"), [("", "http://localhost:8080"), ("https://labels.example/deep", "https://labels.example")]
)
def test_the_clips_of_the_workspace_are_served_to_label_studios_page(tmp_path: Path, capsys, url, origin):
    workspace = Workspace(str(tmp_path))
    workspace.write_bytes(b"clip", "media", "clips", "a.mp4")
    workspace.write_bytes(b"secret", "tasks", "a.mp4")
    answers = []

    def look(server: MediaServer) -> None:
        answers.extend(answer_of(server, path, origin) for path in ("/clips/a.mp4", "/../tasks/a.mp4"))

    serve(context_of(workspace, url), look)
    clip, outside = answers
    assert (clip.status_code, clip.content) == (206, b"li")
    assert clip.headers["Access-Control-Allow-Origin"] == origin
    assert outside.status_code == 404
    assert "serve: 1 clips at http://127.0.0.1:" in capsys.readouterr().out


def test_a_taken_port_is_said(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"cannot listen on 127\.0\.0\.1:{port}: .*set annotation.routing.serve"):
            serve(context_of(Workspace(str(tmp_path)), port=port), MediaServer.serve_forever)


def test_a_workspace_on_an_object_store_needs_no_server():
    with flaky_store(0.0, 0) as (uri, _), pytest.raises(UserError, match="which needs no server"):
        serve(context_of(Workspace(f"{uri}/ws")), MediaServer.serve_forever)


def test_the_command_line_knows_the_verb():
    assert "serve" in VERBS


@pytest.mark.slow
def test_the_verb_serves_until_it_is_interrupted(tmp_path: Path):
    (tmp_path / "recipe.toml").write_text("[annotation.routing.serve]\nport = 0\n")
    Workspace(str(tmp_path / "ws")).write_bytes(b"clip", "media", "clips", "a.mp4")
    given = ["serve", "--recipe", str(tmp_path / "recipe.toml"), "--workspace", str(tmp_path / "ws")]
    with subprocess.Popen([sys.executable, "-m", "jobs.cli", *given], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().split(" at ")[1].split(",")[0]
            assert httpx.get(f"{address}clips/a.mp4", trust_env=False).content == b"clip"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
    assert process.returncode == 130
