"""A read-only server for the clips that people look at: what `python -m http.server` lacks, and nothing else.

    browser --GET, Range: bytes=a-b, Origin--> confined file --> 206, Content-Range, ETag, Access-Control-Allow-Origin

Label Studio's player asks for parts of a file and reads it across origins, so a server needs Range (otherwise seeking
snaps to the start) and CORS (otherwise nothing plays). One range per request; several at once are refused (416), as are
ranges outside the file. A file that was replaced between two ranges is noticed by its ETag: with If-Range the whole new
file comes, never a splice of two. HTTP as in RFC 9110, sections 13 and 14.

Confined: only GET, HEAD and OPTIONS; only .mp4, .webm, .jpg and .png below the folder; no listing, nothing hidden, no
way out by ".." or by a symbolic link. There is no login: whoever reaches the port and knows a clip's id may watch it,
so it listens on this machine alone unless told otherwise.
"""

import os
import re
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, Field

TYPES = {".mp4": "video/mp4", ".webm": "video/webm", ".jpg": "image/jpeg", ".png": "image/png"}
PIECE_BYTES = 256 * 1024
IDLE_TIMEOUT_S = 60.0  # a connection on which nothing comes or goes for so long is closed
ONE_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
LOOPBACK_ORIGIN = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?")
READABLE = "Content-Range, Content-Length, Accept-Ranges, ETag"


class ServeSettings(BaseModel, frozen=True, extra="forbid"):
    """Where `dailies serve` listens, and who may read across origins."""

    host: str = Field(default="127.0.0.1", description="address to listen on; 0.0.0.0 opens the clips to the network")
    port: int = Field(default=8081, ge=0, le=65535, description="fixed, because tasks hold addresses; 0: any free one")
    public_url: str = Field(
        default="", description="how browsers reach it, e.g. https://clips.example.org behind a proxy; empty: host:port"
    )
    origin: str = Field(
        default="",
        description="the origin whose pages may read clips, e.g. https://labels.example.org, or * for all; empty: that "
        "of annotation.url, and for the embedded Label Studio any page of this machine",
    )

    @property
    def url(self) -> str:
        """The address that tasks hold, without a slash at the end."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")


@dataclass(frozen=True)
class Confined:
    """An open file that may be shown, and what identifies this state of it."""

    descriptor: int
    size_bytes: int
    modified_s: int
    etag: str
    content_type: str


class MediaServer(ThreadingHTTPServer):
    """A thread per connection; `serve_forever` starts it, `shutdown` and `server_close` end it."""

    daemon_threads = True

    @property
    def port(self) -> int:
        return self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a player that hangs up is no error
            super().handle_error(request, client_address)


def make_server(folder: Path, host: str, port: int, origin: str) -> MediaServer:
    """A server of the folder's media, listening but not yet serving.

    Args:
        port: 0 takes any free one; the server's `port` tells which.
        origin: whose pages may read: an origin, "*", or empty for any page of this machine.

    Raises:
        OSError: the address is taken or not of this machine.
    """
    handler = type("Handler", (MediaHandler,), {"folder": folder.resolve(), "origin": origin.rstrip("/")})
    return MediaServer((host, port), handler)


def open_confined(folder: Path, request_path: str) -> Confined | None:
    """The file of a request's path; None if it is not there or not to be shown, which look the same from outside.

    Args:
        folder: resolved; nothing outside it is opened.
    """
    relative = unquote(urlsplit(request_path).path).lstrip("/")
    names = relative.split("/")
    if "\0" in relative or any(not name or name.startswith(".") for name in names):
        return None
    try:
        path = (folder / relative).resolve(strict=True)
    except (OSError, RuntimeError):  # not there, no permission, a name too long, a loop of links
        return None
    if not path.is_relative_to(folder) or path.suffix.lower() not in TYPES:
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        return None
    etag = f'"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}"'
    return Confined(descriptor, found.st_size, int(found.st_mtime), etag, TYPES[path.suffix.lower()])


def wanted_range(header: str, size_bytes: int) -> tuple[int, int] | None:
    """First and last byte of a Range header on a file; None where it cannot be satisfied.

    "bytes=5-9" -> (5, 9), "bytes=5-" -> (5, size - 1), "bytes=-5" -> the last five.
    """
    match = ONE_RANGE.fullmatch(header.strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        start, end = max(0, size_bytes - int(last)), size_bytes - 1
    else:
        start, end = int(first), min(int(last), size_bytes - 1) if last else size_bytes - 1
        if last and int(last) < start:
            return None
    return (start, end) if start <= end else None


class MediaHandler(BaseHTTPRequestHandler):
    """Answers one connection."""

    folder: Path
    origin: str
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "dailies", ""
    timeout = IDLE_TIMEOUT_S

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_OPTIONS(self) -> None:
        """What a browser asks before it sends a Range across origins."""
        self.send_response(HTTPStatus.NO_CONTENT)
        self.send_header("Allow", "GET, HEAD, OPTIONS")
        if self._send_origin():
            self.send_header("Access-Control-Allow-Methods", "GET, HEAD")
            self.send_header("Access-Control-Allow-Headers", "Range, If-Range")
            self.send_header("Access-Control-Max-Age", "600")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Silent: a line per range would bury the terminal."""

    def _answer(self, with_body: bool) -> None:
        file = open_confined(self.folder, self.path)
        if file is None:
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        try:
            self._answer_file(file, with_body)
        except (BrokenPipeError, ConnectionResetError, TimeoutError):  # players hang up when they seek
            self.close_connection = True
        finally:
            os.close(file.descriptor)

    def _answer_file(self, file: Confined, with_body: bool) -> None:
        if self._is_known(file):
            self.send_response(HTTPStatus.NOT_MODIFIED)
            self._send_identity(file)
            self.end_headers()
            return
        start, end, status = 0, file.size_bytes - 1, HTTPStatus.OK
        asked = self.headers.get("Range")
        if asked is not None and asked.strip().startswith("bytes=") and self._is_same(file):
            span = wanted_range(asked, file.size_bytes)
            if span is None:
                self._refuse(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, f"bytes */{file.size_bytes}")
                return
            (start, end), status = span, HTTPStatus.PARTIAL_CONTENT
        self.send_response(status)
        self._send_identity(file)
        self.send_header("Content-Type", file.content_type)
        self.send_header("Content-Length", str(end - start + 1))
        if status == HTTPStatus.PARTIAL_CONTENT:
            self.send_header("Content-Range", f"bytes {start}-{end}/{file.size_bytes}")
        self.end_headers()
        if with_body:
            self._copy(file, start, end)

    def _copy(self, file: Confined, start: int, end: int) -> None:
        while start <= end:
            piece = os.pread(file.descriptor, min(PIECE_BYTES, end + 1 - start), start)
            if not piece:  # cut short while it was read: end the connection, so that the reader notices
                self.close_connection = True
                return
            self.wfile.write(piece)
            start += len(piece)

    def _is_known(self, file: Confined) -> bool:
        """Whether the client's copy is this state of the file (RFC 9110, 13.1.2 and 13.1.3)."""
        tags = self.headers.get("If-None-Match")
        if tags is not None:
            return tags.strip() == "*" or file.etag in [tag.strip().removeprefix("W/") for tag in tags.split(",")]
        return _no_later(file.modified_s, self.headers.get("If-Modified-Since", ""), lambda ours, given: ours <= given)

    def _is_same(self, file: Confined) -> bool:
        """Whether a range may be given: without If-Range, or if it names this state exactly (RFC 9110, 13.1.5)."""
        given = self.headers.get("If-Range")
        if given is None or given.strip() == file.etag:
            return True
        return _no_later(file.modified_s, given, lambda ours, theirs: ours == theirs)

    def _send_identity(self, file: Confined) -> None:
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", file.etag)
        self.send_header("Last-Modified", formatdate(file.modified_s, usegmt=True))
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        self._send_origin()

    def _send_origin(self) -> bool:
        """The CORS header for whoever asks, if they may read."""
        if self.origin == "*":
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Access-Control-Expose-Headers", READABLE)
            return True
        self.send_header("Vary", "Origin")
        asking = self.headers.get("Origin", "")
        allowed = asking == self.origin if self.origin else LOOPBACK_ORIGIN.fullmatch(asking) is not None
        if allowed:
            self.send_header("Access-Control-Allow-Origin", asking)
            self.send_header("Access-Control-Expose-Headers", READABLE)
        return allowed

    def _refuse(self, status: HTTPStatus, content_range: str = "") -> None:
        self.send_response(status)
        if content_range:
            self.send_header("Content-Range", content_range)
        self.send_header("Content-Length", "0")
        self._send_origin()
        self.end_headers()


def _no_later(ours_s: int, given: str, holds: Callable[[int, int], bool]) -> bool:
    """Whether a date in a header stands in this relation to the file's; a date that cannot be read never does."""
    try:
        return holds(ours_s, int(parsedate_to_datetime(given).timestamp()))
    except (ValueError, TypeError, OverflowError):
        return False
