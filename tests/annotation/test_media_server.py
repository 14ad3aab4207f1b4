"""The media server, over real sockets: ranges against the file's bytes, confinement, CORS, readers at once."""

import os
import random
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

from annotation.media_server import MediaServer, ServeSettings, make_server

BYTES = random.Random(0).randbytes(700_001)  # more than two pieces
PAGE = "http://127.0.0.1:8080"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    media = tmp_path / "media"
    (media / "clips").mkdir(parents=True)
    (media / "clips" / "a.mp4").write_bytes(BYTES)
    return media


@pytest.fixture
def server(folder: Path) -> Iterator[MediaServer]:
    yield from serving(make_server(folder, "127.0.0.1", 0, PAGE))


def serving(server: MediaServer) -> Iterator[MediaServer]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(
    server: MediaServer, path: str = "/clips/a.mp4", method: str = "GET", **headers: str
) -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def test_a_whole_file_says_that_it_has_ranges(server):
    answer, body = ask(server)
    assert answer.status == 200 and body == BYTES
    assert answer.headers["Accept-Ranges"] == "bytes" and answer.headers["Content-Type"] == "video/mp4"


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=10-99", 10, 99),
        ("bytes=300000-", 300_000, 700_000),
        ("bytes=-7", 699_994, 700_000),
        ("bytes=-9999999", 0, 700_000),
        ("bytes=699990-9999999", 699_990, 700_000),
    ],
)
def test_a_range_is_exactly_the_files_bytes(server, asked, start, end):
    answer, body = ask(server, Range=asked)
    assert answer.status == 206 and body == BYTES[start : end + 1]
    assert answer.headers["Content-Range"] == f"bytes {start}-{end}/{len(BYTES)}"
    assert answer.headers["Content-Length"] == str(end + 1 - start)


@pytest.mark.parametrize(
    "asked",
    ["bytes=700001-", "bytes=-0", "bytes=9-3", "bytes=-", "bytes=0-1,5-9", "bytes=a-b", "bytes=0-" + "9" * 5000],
)
def test_ranges_outside_the_file_and_several_at_once_are_refused(server, asked):
    answer, body = ask(server, Range=asked)
    assert answer.status == 416 and body == b""
    assert answer.headers["Content-Range"] == f"bytes */{len(BYTES)}"


def test_another_unit_than_bytes_is_ignored(server):
    answer, body = ask(server, Range="seconds=1-2")
    assert answer.status == 200 and len(body) == len(BYTES)


def test_head_says_the_same_without_the_bytes(server):
    for headers in ({}, {"Range": "bytes=5-9"}):
        with_body, _ = ask(server, **headers)
        without, body = ask(server, method="HEAD", **headers)
        assert body == b"" and without.status == with_body.status
        same = ("Content-Length", "Content-Range", "ETag", "Last-Modified", "Accept-Ranges")
        assert [without.headers[name] for name in same] == [with_body.headers[name] for name in same]


def test_many_requests_go_over_one_connection(server):
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
    for method, start in (("GET", 5), ("HEAD", 0), ("OPTIONS", 0), ("GET", 600_000)):
        connection.request(method, "/clips/a.mp4", headers={"Range": f"bytes={start}-"})
        socket_of = connection.sock
        body = connection.getresponse().read()
        assert body == (BYTES[start:] if method == "GET" else b"")
        assert connection.sock is socket_of is not None
    connection.close()


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.mp4",
        "/clips/../../secret.mp4",
        "/clips/%2e%2e/%2e%2e/secret.mp4",
        "/clips/..%2f..%2fsecret.mp4",
        "//secret.mp4",
        "/clips/out.mp4",
        "/clips/outside/secret.mp4",
        "/clips/.hidden.mp4",
        "/.git/a.mp4",
        "/clips/notes.txt",
        "/clips/no_suffix",
        "/clips/",
        "/clips",
        "/",
        "/clips/loop.mp4",
        "/clips/pipe.mp4",
        "/clips/folder.mp4",
        "/clips/missing.mp4",
        "/clips/a.mp4%00.txt",
        "/clips/" + "a" * 3000 + ".mp4",
    ],
)
def test_nothing_leaves_the_folder_and_nothing_is_listed(server, folder, path):
    (folder.parent / "secret.mp4").write_bytes(b"secret")
    clips = folder / "clips"
    (clips / "out.mp4").symlink_to(folder.parent / "secret.mp4")
    (clips / "outside").symlink_to(folder.parent)
    (clips / "loop.mp4").symlink_to(clips / "loop.mp4")
    (clips / "folder.mp4").mkdir()
    os.mkfifo(clips / "pipe.mp4")
    for name in ("notes.txt", "no_suffix", ".hidden.mp4"):
        (clips / name).write_bytes(b"secret")
    (folder / ".git").mkdir()
    (folder / ".git" / "a.mp4").write_bytes(b"secret")
    answer, body = ask(server, path)
    assert answer.status == 404 and body == b""


def test_a_request_that_is_no_path_at_all_is_refused(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
        raw.sendall(b"GET ../../secret.mp4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b" 404 " in raw.makefile("rb").readline()


def test_links_within_the_folder_and_pictures_are_served(server, folder):
    (folder / "clips" / "again.mp4").symlink_to(folder / "clips" / "a.mp4")
    (folder / "poster.PNG").write_bytes(b"png")
    assert ask(server, "/clips/again.mp4")[1] == BYTES
    answer, body = ask(server, "/poster.PNG?t=3")
    assert body == b"png" and answer.headers["Content-Type"] == "image/png"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_it_is_read_only(server, folder, method):
    answer, _ = ask(server, method=method)
    assert answer.status == 501
    assert (folder / "clips" / "a.mp4").read_bytes() == BYTES


def test_the_page_of_the_given_origin_may_read_and_others_may_not(server):
    answer, _ = ask(server, Origin=PAGE)
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE and answer.headers["Vary"] == "Origin"
    refused, _ = ask(server, Origin="http://evil.example")
    assert refused.headers["Access-Control-Allow-Origin"] is None and refused.headers["Vary"] == "Origin"


def test_the_browsers_question_before_a_range_is_answered(server):
    answer, _ = ask(server, method="OPTIONS", Origin=PAGE, Access_Control_Request_Headers="range")
    assert answer.status == 204 and answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert "Range" in answer.headers["Access-Control-Allow-Headers"]
    refused, _ = ask(server, method="OPTIONS", Origin="http://evil.example")
    assert refused.headers["Access-Control-Allow-Headers"] is None


@pytest.mark.parametrize(
    ("origin", "asking", "allowed"),
    [
        ("*", "http://anywhere.example", "*"),
        ("", "http://localhost:8093", "http://localhost:8093"),
        ("", "http://127.0.0.1", "http://127.0.0.1"),
        ("", "http://localhost.evil.example", None),
        ("", "null", None),
        ("https://labels.example/", "https://labels.example", "https://labels.example"),
        ("https://labels.example", "https://labels.example.evil", None),
    ],
)
def test_origins(folder, origin, asking, allowed):
    for server in serving(make_server(folder, "127.0.0.1", 0, origin)):
        assert ask(server, Origin=asking)[0].headers["Access-Control-Allow-Origin"] == allowed


def test_what_the_client_has_already_is_not_sent_again(server):
    first, _ = ask(server)
    etag, modified = first.headers["ETag"], first.headers["Last-Modified"]
    for known in ({"If_None_Match": etag}, {"If_None_Match": f'"x", W/{etag}'}, {"If_Modified_Since": modified}):
        answer, body = ask(server, **known)
        assert answer.status == 304 and body == b"" and answer.headers["ETag"] == etag
    assert ask(server, If_None_Match='"other"', If_Modified_Since=modified)[0].status == 200
    assert ask(server, If_Modified_Since="yesterday")[0].status == 200


def test_a_file_replaced_between_two_ranges_comes_whole(server, folder):
    clip = folder / "clips" / "a.mp4"
    first, body = ask(server, Range="bytes=0-9")
    tag = first.headers["ETag"]
    again, more = ask(server, Range="bytes=10-19", If_Range=tag)
    assert again.status == 206 and body + more == BYTES[:20]
    replaced = bytes(reversed(BYTES))
    aside = folder / "aside"
    aside.write_bytes(replaced)
    stat = clip.stat()
    os.utime(aside, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # the same second and the same size
    aside.replace(clip)
    answer, whole = ask(server, Range="bytes=20-29", If_Range=tag)
    assert answer.status == 200 and whole == replaced and answer.headers["ETag"] != tag


def test_if_range_takes_exactly_the_files_date(server, folder):
    modified_s = int((folder / "clips" / "a.mp4").stat().st_mtime)
    for shift_s, status in ((0, 206), (-10, 200), (10, 200)):
        date = formatdate(modified_s + shift_s, usegmt=True)
        assert ask(server, Range="bytes=0-9", If_Range=date)[0].status == status


def test_readers_at_once_each_get_their_own_bytes(server):
    def read(seed: int) -> bool:
        dice = random.Random(seed)
        start = dice.randrange(len(BYTES))
        end = dice.randrange(start, len(BYTES))
        return ask(server, Range=f"bytes={start}-{end}")[1] == BYTES[start : end + 1]

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(read, range(100)))


def test_a_player_that_hangs_up_leaves_no_trace(server, capfd):
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            raw.sendall(b"GET /clips/a.mp4 HTTP/1.1\r\nHost: x\r\n\r\n")
            raw.recv(10)
    assert ask(server)[1] == BYTES
    assert "Traceback" not in capfd.readouterr().err


def test_tasks_hold_the_public_address():
    assert ServeSettings(port=9).url == "http://127.0.0.1:9"
    assert ServeSettings(public_url="https://clips.example/").url == "https://clips.example"
