"""Pre-flight: whether a clip will play on the annotator's page, found out before there is a task.

    address --Range request as the player sends it--> status, CORS, type, 206 --first bytes--> PyAV --> codec, a frame
      relative to Label Studio: signed in as its member                           |
      elsewhere: without a login, as the browser is there                         +--> "" or given, expected, to do

Label Studio says nothing when a clip cannot play: the page shows a spinner and still offers Submit (looked at in
Chromium). So every address is asked as the page's player would: from the page's origin, with a Range. The demuxer reads
what came, and more by further ranges where the index lies at the end, and decodes one frame. Chromium plays H.264, VP8,
VP9 and AV1, also 4:4:4, and no HEVC (looked at). More than 8 bits a sample are refused but for VP9 and AV1 with 10,
which is part of their usual profiles: Chromium plays such H.264, not every browser does.

A clip costs 14 ms of CPU here, and 40 ms in Label Studio where it serves the file: 26 clips/s with two cores shared by
both. Writing that clip's proxy takes 0.9 s.
"""

import io
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
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
UNNAMED_TYPES = {"", "application/octet-stream", "binary/octet-stream"}  # browsers look for themselves
Authorization = Callable[[], Mapping[str, str]]
CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class PreflightSettings(BaseModel, frozen=True, extra="forbid"):
    """How clips' addresses are tried before tasks are made of them."""

    timeout_s: float = Field(default=20.0, gt=0, description="an address that stays silent for so long does not play")
    threads: int = Field(default=8, ge=1, description="addresses tried at once")


class DoesNotPlay(Exception):
    """What was given and what was expected, in words for a person."""


class NotServed(DoesNotPlay):
    """The server keeps the browser from the file, whatever is in it."""


def check_addresses(
    addresses: Mapping[str, str],
    page_url: str,
    settings: PreflightSettings,
    advice: str,
    authorization: Authorization = dict,
) -> dict[str, str]:
    """Clip id -> why its address would not play (what was given, what was expected, what to do), or empty.

    Args:
        addresses: clip id -> an address; one that begins with a slash is on Label Studio itself.
        page_url: Label Studio as the annotator's browser sees it; pages of its scheme, host and port play the clips.
        advice: what to do where the server is at fault.
        authorization: the header of one of its members, for requests to Label Studio itself and no others; asked for
            each request, since some tokens last 300 s.
    """
    full = {address: _absolute(address, page_url) for address in addresses.values()}
    loopback = all(map(is_loopback, full.values()))

    def said(address: str) -> str:
        try:
            check_address(session, full[address], page_url, authorization if address.startswith("/") else dict)
        except DoesNotPlay as reason:
            return f"{_without_signature(full[address])}: {reason}; {_to_do(reason, advice)}"
        return ""

    # A server on loopback must not be asked for through a proxy.
    with (
        httpx.Client(timeout=settings.timeout_s, follow_redirects=True, trust_env=not loopback) as session,
        ThreadPoolExecutor(settings.threads) as threads,
    ):
        return dict(zip(addresses, threads.map(said, addresses.values()), strict=True))


def check_address(session: httpx.Client, address: str, page_url: str, authorization: Authorization) -> None:
    """Ask for an address as the player does, and decode one frame of what comes.

    Raises:
        DoesNotPlay: see the message.
    """
    remote = _Remote(session, address, page_url, authorization)
    remote.open()
    check_media(io.BufferedReader(remote, BLOCK_BYTES))


def check_media(source: Any) -> None:
    """Whether browsers play this open binary file.

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

    def __init__(self, session: httpx.Client, address: str, page_url: str, authorization: Authorization) -> None:
        self.session, self.address, self.authorization = session, address, authorization
        self.page_origin = _origin(page_url)
        self.size_bytes, self.position, self.beginning = 0, 0, b""

    def open(self) -> None:
        """The first request, which proves status, CORS, type and Range, and brings the first bytes."""
        answer = self._ask(0, BLOCK_BYTES - 1)
        if answer.status_code == 416:
            raise DoesNotPlay("the file is empty")
        if answer.status_code not in (200, 206):
            raise NotServed(_refusal(answer.status_code))
        self._check_origin(answer)
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if not kind.startswith("video/") and kind not in UNNAMED_TYPES:
            raise NotServed(f"the server gives {kind}, expected video/mp4 or video/webm")
        whole = CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if answer.status_code == 200 or whole is None:
            said = "the whole file" if answer.status_code == 200 else "a part without saying which (Content-Range)"
            raise NotServed(f"it cannot seek: asked for a range, the server gave {said}, expected 206 and that range")
        self.size_bytes = int(whole[3])
        self.beginning = _part(answer, 0, min(BLOCK_BYTES, self.size_bytes) - 1, self.size_bytes)

    def _check_origin(self, answer: httpx.Response) -> None:
        if _origin(str(answer.url)) == self.page_origin:
            return
        allowed = answer.headers.get("Access-Control-Allow-Origin", "")
        if allowed not in ("*", self.page_origin):
            said = f"only {allowed}" if allowed else "no other origin (no Access-Control-Allow-Origin)"
            raise NotServed(f"the browser may not read it: pages of {self.page_origin} ask, the server allows {said}")

    def _ask(self, start: int, end: int) -> httpx.Response:
        headers = {"Range": f"bytes={start}-{end}", "Origin": self.page_origin, "Accept-Encoding": "identity"}
        headers |= self.authorization()  # a redirect to another server does not carry it along
        try:
            with self.session.stream("GET", self.address, headers=headers) as answer:
                if answer.status_code == 206:
                    answer.read()
                return answer
        except httpx.TimeoutException as error:
            raise NotServed("the server does not answer in time") from error
        except (httpx.TransportError, httpx.InvalidURL, httpx.TooManyRedirects) as error:
            raise NotServed(f"the server cannot be reached: {error or type(error).__name__}") from error

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self.size_bytes - self.position)
        if wanted <= 0:
            return 0
        piece = self.beginning[self.position : self.position + wanted]
        if not piece:
            end = self.position + wanted - 1
            piece = _part(self._ask(self.position, end), self.position, end, self.size_bytes)
        buffer[: len(piece)] = piece
        self.position += len(piece)
        return len(piece)

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


def _part(answer: httpx.Response, start: int, end: int, size_bytes: int) -> bytes:
    """The bytes of an answer, which must be those from `start` to `end`."""
    given = CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if answer.status_code != 206 or given is None or given.groups() != (str(start), str(end), str(size_bytes)):
        raise NotServed(f"it cannot seek: asked for bytes {start} to {end}, the server gave others")
    if len(answer.content) != end + 1 - start:
        raise NotServed(f"the server promised {end + 1 - start} bytes and sent {len(answer.content)}")
    return answer.content


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
        401: " (it asks for a login)",
        403: " (it refuses, or the address has expired)",
        404: " (there is no such file, or we may not see it)",
    }
    return f"the server answered {status}{meanings.get(status, '')}, expected 206 and a part of the file"


def _absolute(address: str, page_url: str) -> str:
    return f"{page_url.rstrip('/')}{address}" if address.startswith("/") else address


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _without_signature(address: str) -> str:
    """The address as people and reports may see it: whoever has a presigned one whole may read the file."""
    return address.partition("?")[0] if "Signature=" in address else address


def _to_do(reason: DoesNotPlay, advice: str) -> str:
    if isinstance(reason, NotServed):
        return advice
    return "delete the file and run `dailies route` again, which writes it anew"
