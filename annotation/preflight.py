"""Pre-flight: whether a clip will play on the annotator's page, found out before there is a task.

    address --Range request as the player sends it--> status, CORS, 206 --+
    file -----------------------------------------------------------------+--PyAV--> codec, a frame --> "" or why not

Label Studio says nothing when a clip cannot play: the page shows a spinner and still offers Submit (looked at in
Chromium). So every address is asked as the page's player would: from the page's origin, with a Range. Then the demuxer
reads the same bytes through Range requests, wherever the index lies in the file, and decodes one frame. Chromium plays
H.264, VP8, VP9 and AV1, also 4:4:4, and no HEVC (looked at). More than 8 bits a sample are refused but for VP9 and
AV1 with 10, which is part of their usual profiles: Chromium plays such H.264, not every browser does.

Files behind Label Studio's own route lie on this machine and on the page's own origin; they are looked at on disk.
Four seconds at 480 lines take 11 ms of CPU there and 16 ms by an address; writing that proxy takes 0.9 s.
"""

import io
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import httpx
from av.error import FFmpegError
from pydantic import BaseModel, Field

PLAYABLE = {"h264": "8 bits", "vp8": "8 bits", "vp9": "8 or 10 bits", "av1": "8 or 10 bits"}
CONTAINERS = {"mp4", "webm"}
DEEP = re.compile(r"p(9|10|12|14|16)(le|be)$|gray(9|1[0-6])")
TEN_BITS = re.compile(r"p10(le|be)$")
BLOCK_BYTES = 256 * 1024
CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class PreflightSettings(BaseModel, frozen=True, extra="forbid"):
    """How clips' addresses are tried before tasks are made of them."""

    timeout_s: float = Field(default=20.0, gt=0, description="an address that stays silent for so long does not play")
    threads: int = Field(default=8, ge=1, description="addresses tried at once")


class DoesNotPlay(Exception):
    """Why, in words for a person."""


def check_files(files: Mapping[str, Path], settings: PreflightSettings) -> dict[str, str]:
    """Clip id -> why its file would not play, or empty; each clip is there."""
    return _in_threads(files, settings, _check_file)


def check_addresses(addresses: Mapping[str, str], page_origin: str, settings: PreflightSettings) -> dict[str, str]:
    """Clip id -> why its address would not play, or empty; each clip is there.

    Args:
        page_origin: address of Label Studio as the annotator's browser sees it; only scheme, host and port count.
    """
    loopback = all(is_loopback(address) for address in addresses.values())
    limits = httpx.Limits(max_connections=settings.threads)
    # A server on loopback must not be asked for through a proxy.
    with httpx.Client(
        timeout=settings.timeout_s, limits=limits, follow_redirects=True, trust_env=not loopback
    ) as session:
        return _in_threads(addresses, settings, lambda address: check_address(session, address, page_origin))


def check_address(session: httpx.Client, address: str, page_origin: str) -> None:
    """Ask for an address as the player does, and decode one frame of what comes.

    Raises:
        DoesNotPlay: see the message.
    """
    remote = _Remote(session, address, page_origin)
    remote.open()
    check_media(io.BufferedReader(remote, BLOCK_BYTES))


def check_media(source: Any) -> None:
    """Whether browsers play this file (a path or an open binary file).

    Raises:
        DoesNotPlay: see the message.
    """
    try:
        opened: Any = av.open(source)
        with opened as container:
            if not container.streams.video:
                raise DoesNotPlay("there is no picture in it")
            if not CONTAINERS & {*container.format.name.split(",")}:
                raise DoesNotPlay(f"browsers do not play {container.format.long_name}; they play MP4 and WebM")
            stream = container.streams.video[0]
            _check_coding(stream.codec_context.codec.canonical_name, stream.codec_context.pix_fmt or "")
            duration_s = _duration_s(container, stream)
            if not duration_s > 0:
                raise DoesNotPlay("its duration is 0")
            if next(container.decode(stream), None) is None:
                raise DoesNotPlay("no frame of it decodes")
    except FFmpegError as error:
        raise DoesNotPlay(f"not a readable video: {error.strerror or error}") from error


def is_loopback(address: str) -> bool:
    return (urlsplit(address).hostname or "") in ("127.0.0.1", "localhost", "::1")


class _Remote(io.RawIOBase):
    """A file behind an address, read by Range requests as a player reads it."""

    def __init__(self, session: httpx.Client, address: str, page_origin: str) -> None:
        page = urlsplit(page_origin)
        self.session, self.address, self.page_origin = session, address, f"{page.scheme}://{page.netloc}"
        self.size_bytes, self.position = 0, 0

    def open(self) -> None:
        """The first request, which proves status, CORS and Range."""
        answer = self._ask(0, 0)
        if answer.status_code not in (200, 206):
            raise DoesNotPlay(_refusal(answer.status_code))
        self._check_origin(answer)
        whole = CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if answer.status_code == 200 or whole is None:
            said = "the whole file" if answer.status_code == 200 else "a part without saying which (Content-Range)"
            raise DoesNotPlay(f"it cannot seek: asked for a range, the server gave {said}")
        self.size_bytes = int(whole[3])

    def _check_origin(self, answer: httpx.Response) -> None:
        parts = urlsplit(str(answer.url))
        if f"{parts.scheme}://{parts.netloc}" == self.page_origin:
            return
        allowed = answer.headers.get("Access-Control-Allow-Origin", "")
        if allowed not in ("*", self.page_origin):
            said = f"only {allowed}" if allowed else "no other origin (no Access-Control-Allow-Origin)"
            raise DoesNotPlay(f"the browser may not read it: pages of {self.page_origin} ask, the server allows {said}")

    def _ask(self, start: int, end: int) -> httpx.Response:
        headers = {"Range": f"bytes={start}-{end}", "Origin": self.page_origin, "Accept-Encoding": "identity"}
        try:
            with self.session.stream("GET", self.address, headers=headers) as answer:
                if answer.status_code == 206:
                    answer.read()
                return answer
        except httpx.TimeoutException as error:
            raise DoesNotPlay("the server does not answer in time") from error
        except (httpx.TransportError, httpx.InvalidURL, httpx.TooManyRedirects) as error:
            raise DoesNotPlay(f"the server cannot be reached: {error or type(error).__name__}") from error

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self.size_bytes - self.position)
        if wanted <= 0:
            return 0
        end = self.position + wanted - 1
        answer = self._ask(self.position, end)
        given = CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if (
            answer.status_code != 206
            or given is None
            or given.groups()
            != (
                str(self.position),
                str(end),
                str(self.size_bytes),
            )
        ):
            raise DoesNotPlay(f"it cannot seek: asked for bytes {self.position} to {end}, the server gave others")
        if len(answer.content) != wanted:
            raise DoesNotPlay(f"the server promised {wanted} bytes and sent {len(answer.content)}")
        buffer[:wanted] = answer.content
        self.position += wanted
        return wanted

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size_bytes}[whence]
        self.position = max(0, start + offset)
        return self.position

    def tell(self) -> int:
        return self.position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise DoesNotPlay("there is no such file")
    check_media(str(path))


def _check_coding(codec: str, pixel_format: str) -> None:
    if codec not in PLAYABLE:
        raise DoesNotPlay(f"browsers do not play {codec}; they play {', '.join(PLAYABLE)}")
    bits_are_fine = not DEEP.search(pixel_format) or ("10" in PLAYABLE[codec] and TEN_BITS.search(pixel_format))
    if not pixel_format or not bits_are_fine:
        raise DoesNotPlay(
            f"not every browser plays {codec} with pixel format {pixel_format or 'unknown'}; "
            f"they play {PLAYABLE[codec]} a sample"
        )


def _duration_s(container: Any, stream: Any) -> float:
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


def _refusal(status: int) -> str:
    meanings = {
        401: "it asks for a login",
        403: "it refuses, or the address has expired",
        404: "there is no such file",
        416: "the file is empty",
    }
    return f"the server answered {status}" + (f": {meanings[status]}" if status in meanings else "")


def _in_threads(things: Mapping[str, Any], settings: PreflightSettings, check: Callable[[Any], None]) -> dict[str, str]:
    def said(thing: Any) -> str:
        try:
            check(thing)
        except DoesNotPlay as reason:
            return str(reason)
        return ""

    with ThreadPoolExecutor(settings.threads) as threads:
        return dict(zip(things, threads.map(said, things.values()), strict=True))
