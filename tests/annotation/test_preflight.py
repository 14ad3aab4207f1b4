"""Whether a clip will play, over real sockets and on real codecs, and what people are told when it will not."""

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from annotation.connection import MEDIA, connect
from annotation.media import media_advice
from annotation.media_server import make_server
from annotation.preflight import PreflightSettings, check_addresses
from annotation.project import AnnotationSettings
from annotation.server import ServerSettings
from annotation.tasks import PROXY_FOLDER
from tests.conftest import LABEL_STUDIO_VENV
from tests.footage import Encoding, audio_only, moving_texture

PAGE = "http://127.0.0.1:8080"
SETTINGS = PreflightSettings(threads=4)
ADVICE = "ask whoever runs it"
A_PART = ", expected 206 and a part of the file"
REMAKE = "delete the file and run `dailies route` again, which writes it anew"
FAST = {"preset": "ultrafast"}
FASTSTART = {"movflags": "faststart"}


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One short shot in many codings."""
    folder = tmp_path_factory.mktemp("media")
    write = partial(moving_texture, seconds=0.5, size=(160, 96))
    write(folder / "front.mp4", encoding=Encoding(container_options=FASTSTART))
    write(folder / "end.mp4")
    write(folder / "444.mp4", encoding=Encoding(pixel_format="yuv444p", options=FAST))
    write(folder / "vp9.webm", encoding=Encoding(codec="libvpx-vp9", options={"cpu-used": "8", "deadline": "realtime"}))
    write(folder / "vp8.webm", encoding=Encoding(codec="libvpx", options={"cpu-used": "8", "deadline": "realtime"}))
    write(folder / "av1.mp4", encoding=Encoding(codec="libsvtav1", options={"preset": "12"}))
    write(
        folder / "av1deep.mp4",
        encoding=Encoding(codec="libsvtav1", pixel_format="yuv420p10le", options={"preset": "12"}),
    )
    write(folder / "hevc.mp4", encoding=Encoding(codec="libx265", options={**FAST, "x265-params": "log-level=none"}))
    write(folder / "deep.mp4", encoding=Encoding(pixel_format="yuv420p10le", options=FAST))
    write(folder / "stream.ts").rename(folder / "stream.mp4")
    audio_only(folder / "sound.mp4")
    (folder / "text.mp4").write_text("not a video " * 100)
    (folder / "empty.mp4").write_bytes(b"")
    whole = (folder / "front.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: whole.index(b"mdat") + 8])
    return folder


PLAYS = ("front.mp4", "end.mp4", "444.mp4", "vp9.webm", "vp8.webm", "av1.mp4", "av1deep.mp4")
FAILS = {
    "hevc.mp4": "browsers do not play hevc; they play h264, vp8, vp9, av1",
    "deep.mp4": "not every browser plays h264 with pixel format yuv420p10le; they play 8 bits",
    "stream.mp4": "browsers do not play MPEG-TS",
    "sound.mp4": "there is no picture in it",
    "text.mp4": "not a readable video: Invalid data",
    "empty.mp4": "the file is empty",
    "cut.mp4": "no",
}


def test_addresses_are_read_wherever_the_index_lies_and_told_apart_with_reasons(folder):
    with serving(make_server(folder, "127.0.0.1", 0, PAGE)) as url:
        addresses = {name: f"{url}/{name}" for name in (*PLAYS, *FAILS, "missing.mp4")}
        said = check_addresses(addresses, PAGE, SETTINGS, ADVICE)
    assert {name for name, why in said.items() if not why} == set(PLAYS)
    for name, reason in FAILS.items():
        assert said[name].startswith(f"{url}/{name}: ") and said[name].endswith(REMAKE)
        assert reason in said[name]
    given = "the server answered 404 (there is no such file, or we may not see it)"
    assert said["missing.mp4"] == f"{url}/missing.mp4: {given}, expected 206 and a part of the file; {ADVICE}"


def test_a_server_that_lets_another_page_read_is_noticed(folder):
    with serving(make_server(folder, "127.0.0.1", 0, "https://other.example")) as url:
        said = check_addresses({"a": f"{url}/front.mp4"}, PAGE, SETTINGS, ADVICE)
        same = check_addresses({"a": f"{url}/front.mp4"}, f"{url}/labels/", SETTINGS, ADVICE)
    assert f"the browser may not read it: pages of {PAGE} ask, the server allows no other origin" in said["a"]
    assert same["a"] == "", "a page of the same origin needs no permission"


class NoRange(SimpleHTTPRequestHandler):
    """Python's own file server, which sends neither Range nor CORS; the second header is added."""

    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_server_without_ranges_is_noticed(folder):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(NoRange, directory=str(folder)))
    with serving(server) as url:
        said = check_addresses({"a": f"{url}/front.mp4"}, PAGE, SETTINGS, ADVICE)
    assert "it cannot seek: asked for a range, the server gave the whole file, expected 206" in said["a"]


class Odd(BaseHTTPRequestHandler):
    """Answers as its path says: a status, or a range that is not the one asked for."""

    def do_GET(self) -> None:
        what = self.path.strip("/")
        self.send_response(int(what) if what.isdigit() else 206)
        self.send_header("Access-Control-Allow-Origin", "*")
        if what == "elsewhere":
            self.send_header("Content-Range", "bytes 7-7/1000")
        if what == "short":
            self.send_header("Content-Range", "bytes 0-999/1000")
        if what == "page":
            self.send_header("Content-Type", "text/html; charset=utf-8")
        if what == "302":
            self.send_header("Location", "/302")
        self.send_header("Content-Length", "1")
        self.end_headers()
        self.wfile.write(b"x")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("401", f"the server answered 401 (it asks for a login){A_PART}"),
        ("403", f"the server answered 403 (it refuses, or the address has expired){A_PART}"),
        ("500", f"the server answered 500{A_PART}"),
        ("page", "the server gives text/html, expected video/mp4 or video/webm"),
        ("302", "the server cannot be reached: Exceeded maximum allowed redirects."),
        (
            "unnamed",
            "it cannot seek: asked for a range, the server gave a part without saying which (Content-Range), expected "
            "206 and that range",
        ),
        ("elsewhere", "it cannot seek: asked for bytes 0 to 999, the server gave others"),
        ("short", "the server promised 1000 bytes and sent 1"),
    ],
)
def test_odd_answers_are_said_in_words(path, reason):
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Odd)) as url:
        said = check_addresses({"a": f"{url}/{path}"}, PAGE, SETTINGS, ADVICE)
        assert said == {"a": f"{url}/{path}: {reason}; {ADVICE}"}


def test_a_closed_port_and_a_silent_server_are_said():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/a.mp4"
        said = check_addresses({"a": address}, PAGE, PreflightSettings(timeout_s=0.2), ADVICE)
        assert said == {"a": f"{address}: the server does not answer in time; {ADVICE}"}
    said = check_addresses({"a": address}, PAGE, SETTINGS, ADVICE)
    assert said["a"].startswith(f"{address}: the server cannot be reached: ")


def test_nothing_to_try_is_nothing_said():
    assert check_addresses({}, PAGE, SETTINGS, ADVICE) == {}


def test_the_login_goes_to_label_studio_itself_and_the_signature_into_no_message(folder):
    asked = []

    class Recording(NoRange):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            self.send_error(404)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Recording, directory=str(folder)))
    with serving(server) as url:
        addresses = {"own": "/data/a.mp4", "signed": f"{url}/b.mp4?X-Amz-Signature=secret"}
        said = check_addresses(addresses, f"{url}/", SETTINGS, ADVICE, lambda: {"Authorization": "Token abc"})
    assert sorted(asked) == [("/b.mp4?X-Amz-Signature=secret", None), ("/data/a.mp4", "Token abc")]
    assert said["own"].startswith(f"{url}/data/a.mp4: ") and said["signed"].startswith(f"{url}/b.mp4: ")


@pytest.mark.slow
@pytest.mark.live
def test_label_studios_own_route_is_asked_as_its_member(folder, label_studio_workspace):
    settings = AnnotationSettings(title="Pre-flight", server=ServerSettings(venv=str(LABEL_STUDIO_VENV)))
    with connect(label_studio_workspace, settings) as connection:
        url, media = connection.client.url, label_studio_workspace.local_path(MEDIA, PROXY_FOLDER)
        for name in (*PLAYS, *FAILS):
            shutil.copy(folder / name, media / f"preflight-{name}")
        (media / "preflight-page.html").write_text("<p>no video</p>")
        addresses = {
            name: f"/data/local-files/?d={PROXY_FOLDER}/preflight-{name}"
            for name in (*PLAYS, *FAILS, "page.html", "missing.mp4")
        }
        advice = media_advice(label_studio_workspace, url, settings.routing)
        said = check_addresses(addresses, url, SETTINGS, advice, connection.client.authorization)
        stranger = check_addresses({"a": addresses["front.mp4"]}, url, SETTINGS, advice)["a"]
    assert {name for name, why in said.items() if not why} == set(PLAYS)
    for name, reason in FAILS.items():
        assert reason in said[name]
    assert "the server gives text/html, expected video/mp4 or video/webm" in said["page.html"]
    assert said["missing.mp4"].startswith(f"{url}{addresses['missing.mp4']}: the server answered 404")
    assert said["missing.mp4"].endswith(f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT is {media.parent}")
    assert "the server answered 401 (it asks for a login)" in stranger
