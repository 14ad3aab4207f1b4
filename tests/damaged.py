"""A corpus of damaged video files, made on the spot: at least 300, each named for what was done to it.

    small whole files (mp4, mkv, ts) --> flips, losses, cuts at every box, lies, foreign files

What comes of each is for the tests to say; every one must end as clips or as a failure that a person understands.
"""

import random
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.footage import Encoding, audio_only, shots

CONTAINERS = ("moov", "trak", "mdia", "minf", "stbl", "edts", "dinf", "udta")
LIES = (0, 1, 0x7FFFFFFF, 0xFFFFFFFF)
# box -> where 32-bit numbers lie in it (offset from the box's begin): durations, sizes, counts, rates
FIELDS = {
    "mvhd": (20, 24),
    "tkhd": (28, 84, 88),
    "mdhd": (20, 24),
    "stts": (12, 16, 20),
    "stsz": (12, 16, 20),
    "stsc": (12, 16, 20),
    "stco": (12, 16),
    "ctts": (12, 16, 20),
    "elst": (12, 16, 20),
    "avc1": (32,),
}


def damaged_files(folder: Path) -> dict[str, Path]:
    """Write the corpus into a folder; name -> path."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, content in _contents(folder / "whole"):
        paths[name] = folder / name
        paths[name].write_bytes(content)
    return paths


def _contents(scratch: Path) -> Iterator[tuple[str, bytes]]:
    size = (128, 72)
    behind = shots(scratch / "behind.mp4", num_shots=2, seconds_each=1.2, size=size).path.read_bytes()
    faststart = Encoding(container_options={"movflags": "faststart"})
    front = shots(scratch / "front.mp4", num_shots=2, seconds_each=1.2, size=size, encoding=faststart)
    whole = {"front.mp4": front.path.read_bytes(), "behind.mp4": behind}
    for ending in ("mkv", "ts"):
        whole[f"film.{ending}"] = shots(
            scratch / f"film.{ending}", num_shots=2, seconds_each=1.2, size=size
        ).path.read_bytes()
    sound = audio_only(scratch / "sound.mp4").read_bytes()
    for path in scratch.iterdir():
        path.unlink()
    scratch.rmdir()
    for name, content in whole.items():
        yield from _flipped(name, content)
        yield from _cut(name, content)
    yield from _cut_at_boxes("front.mp4", whole["front.mp4"])
    yield from _cut_at_boxes("behind.mp4", whole["behind.mp4"])
    yield from _lying("front.mp4", whole["front.mp4"])
    yield from _foreign(sound, whole["front.mp4"])


def _flipped(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    stem, _, ending = name.rpartition(".")
    for seed in range(8):
        generator = random.Random(f"{name} {seed}")
        damaged = bytearray(content)
        for _ in range((1, 10, 100, 1000)[seed % 4]):
            damaged[generator.randrange(len(damaged))] ^= 1 << generator.randrange(8)
        yield f"{stem}-flips-{seed:02d}.{ending}", bytes(damaged)
    for seed in range(3):
        generator = random.Random(f"{name} block {seed}")
        start, length = generator.randrange(len(content)), generator.randrange(500, 8000)
        yield f"{stem}-zeroed-{seed}.{ending}", content[:start] + bytes(length) + content[start + length :]
        yield f"{stem}-lost-{seed}.{ending}", content[:start] + content[start + length :]
        yield f"{stem}-doubled-{seed}.{ending}", content[: start + length] + content[start:]


def _cut(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    stem, _, ending = name.rpartition(".")
    for percent in (0, 1, 5, 20, 40, 60, 80, 95, 99):
        yield f"{stem}-first-{percent:02d}-percent.{ending}", content[: len(content) * percent // 100]
        yield f"{stem}-last-{percent:02d}-percent.{ending}", content[len(content) * (100 - percent) // 100 :]


def boxes(content: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[str, int, int]]:
    """(kind, begin, end) of every box of an mp4, containers before what they hold."""
    end = len(content) if end is None else end
    while start + 8 <= end:
        size = struct.unpack(">I", content[start : start + 4])[0]
        kind = content[start + 4 : start + 8].decode("latin-1")
        if size < 8 or start + size > end:
            return
        yield kind, start, start + size
        if kind in CONTAINERS:
            yield from boxes(content, start + 8, start + size)
        elif kind == "stsd":
            yield from boxes(content, start + 16, start + size)
        start += size


def _cut_at_boxes(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    stem = name.removesuffix(".mp4")
    for number, (kind, start, _) in enumerate(boxes(content)):
        yield f"{stem}-until-{number:02d}-{kind}.mp4", content[:start]
        yield f"{stem}-into-{number:02d}-{kind}.mp4", content[: start + 12]


def _lying(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    stem = name.removesuffix(".mp4")
    for number, (kind, start, end) in enumerate(boxes(content)):
        for lie in LIES[:3]:
            yield f"{stem}-{number:02d}-{kind}-size-{lie}.mp4", _with(content, start, lie)
        for offset in FIELDS.get(kind, ()):
            for lie in LIES:
                if start + offset + 4 <= end:
                    yield f"{stem}-{number:02d}-{kind}-{offset}-is-{lie}.mp4", _with(content, start + offset, lie)


def _with(content: bytes, offset: int, number: int) -> bytes:
    return content[:offset] + struct.pack(">I", number) + content[offset + 4 :]


def _foreign(sound: bytes, film: bytes) -> Iterator[tuple[str, bytes]]:
    yield "empty.mp4", b""
    yield "one-byte.mp4", b"\0"
    yield "text.mp4", b"This is a shopping list, not a video.\n" * 50
    yield "noise.mp4", np.random.default_rng(0).bytes(20_000)
    yield "zeros.mp4", bytes(20_000)
    yield "sound-only.mp4", sound
    yield "page.mp4", b"<!DOCTYPE html><html><body>404 Not Found</body></html>"
    yield "playlist.mp4", b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfront-flips-00.mp4\n#EXT-X-ENDLIST\n"
    yield "archive.mp4", b"PK\x03\x04" + bytes(400)
    yield "twice.mp4", film + film
    yield "backwards.mp4", film[::-1]
