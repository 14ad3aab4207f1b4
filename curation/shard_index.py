"""Tar files of training members with an index beside each, so that a reader goes straight to what it wants.

    shards/<stage>/<id>.tar      <key>.json, <key>.mp4, <key>.json, ...     WebDataset: any tar reader can walk it
    shards/<stage>/<id>.arrow    one row per member: key, facts (JSON), and offset, size and CRC-32 of each file

The index is an uncompressed Arrow IPC file: a local one is memory-mapped and costs no memory until it is touched, and
no tar header is ever parsed. Its metadata names the tar's sha256 and size. Whoever records the tar keeps the index's
own sha256, so the chain record -> index -> payload is checked from end to end: the index whole when it is opened, each
payload when it is first read, a truncated tar at once. Offsets and sizes are bytes from the start of the tar.
Only the file types in SAFE_EXTENSIONS are written and read: none of them can run code when it is decoded.

A payload of 0.3 MB cost 100 us of CPU when first read (its CRC) and 1.6 us from then on; walking the tar 66 us always.
"""

import hashlib
import io
import json
import mmap
import re
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curation.tables import Workspace

FORMAT = "dailies shard index 1"
SAFE_EXTENSIONS = ("json", "mp4", "npy", "safetensors")
KEY_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,80}")  # no dot: WebDataset ends the key at the first one
BLOCK_BYTES = 512  # of a tar: headers take one, payloads are padded to whole ones
COLUMNS = ("offset", "size", "crc32")


@dataclass(frozen=True)
class TarMember:
    """What is written as one member: files by extension, and facts that the index repeats as JSON."""

    key: str
    files: Mapping[str, bytes]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class WrittenTar:
    """What a record of the tar should keep. `header_offsets` are the bytes at which each member's files begin."""

    uri: str
    count: int
    size_bytes: int
    sha256: str
    index_sha256: str
    header_offsets: tuple[int, ...]


def index_path(uri: str) -> str:
    """Where the index of a tar lies, both relative to the workspace."""
    return f"{uri.removesuffix('.tar')}.arrow"


def write_tar(workspace: Workspace, uri: str, members: Sequence[TarMember]) -> WrittenTar:
    """Write a tar and its index, each whole or not at all. Equal members give equal bytes.

    The tar is put together in memory, so plan shards of at most a few hundred MB.

    Args:
        uri: path in the workspace, ending in `.tar`.

    Raises:
        ValueError: a key or an extension that cannot be written, or a key given twice.
    """
    _check(members)
    sink, rows, headers = io.BytesIO(), [], []
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for member in members:
            headers.append(tar.offset)
            row: dict[str, Any] = {"key": member.key, "facts": to_json(member.facts)}
            for extension, data in sorted(member.files.items()):
                places = (tar.offset + BLOCK_BYTES, len(data), zlib.crc32(data))
                row |= {f"{extension}.{name}": value for name, value in zip(COLUMNS, places, strict=True)}
                tar.addfile(_tar_info(f"{member.key}.{extension}", len(data)), io.BytesIO(data))
            rows.append(row)
    data = sink.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    index = _index_bytes(rows, {"format": FORMAT, "sha256": digest, "size_bytes": str(len(data))})
    workspace.write_bytes(data, uri)
    workspace.write_bytes(index, index_path(uri))
    return WrittenTar(uri, len(rows), len(data), digest, hashlib.sha256(index).hexdigest(), tuple(headers))


def to_json(facts: Mapping[str, Any]) -> str:
    """Facts as text; equal facts are equal texts."""
    return json.dumps(facts, sort_keys=True, ensure_ascii=False)


class IndexedTar:
    """A tar opened through its index: memory-mapped where it is local, read by ranges elsewhere.

    Args:
        uri: of the tar, as it was written.
        index_sha256: what the tar's record says of its index; None where there is no record.

    Raises:
        ValueError: there is no index, it is not the recorded one, or the tar is shorter or longer than it says.
    """

    def __init__(self, workspace: Workspace, uri: str, index_sha256: str | None = None) -> None:
        self.uri = uri
        self.table = _open_index(workspace, uri, index_sha256)
        facts = {name.decode(): value.decode() for name, value in (self.table.schema.metadata or {}).items()}
        self.sha256, self.size_bytes = facts["sha256"], int(facts["size_bytes"])
        self.keys: list[str] = self.table.column("key").to_pylist()
        self.extensions = tuple(
            name.removesuffix(".offset") for name in self.table.schema.names if name.endswith(".offset")
        )
        self._places = {extension: self._columns(extension) for extension in self.extensions}
        self._checked: set[tuple[int, str]] = set()
        self._open_tar(workspace)

    def __len__(self) -> int:
        return len(self.keys)

    def facts(self, number: int) -> dict[str, Any]:
        """What is known of the member of that number."""
        return json.loads(self.table.column("facts")[number].as_py())

    def read(self, number: int, extension: str) -> memoryview:
        """One file of one member, by number; of a local tar a view of its memory map, copied by nobody.

        Raises:
            ValueError: the member has no such file, or its bytes are not those that were written.
        """
        places = self._places.get(extension)
        if places is None or not places[0][number]:
            raise ValueError(f"{self.uri}: {self.keys[number]} has no .{extension}, only {', '.join(self.extensions)}")
        offset, size, crc32 = (int(column[number]) for column in places)
        data = self._bytes(offset, size)
        if (number, extension) not in self._checked:
            if zlib.crc32(data) != crc32:
                raise ValueError(
                    f"shard {self.uri} is damaged: {self.keys[number]}.{extension} ({size} bytes at {offset}) is not "
                    "what was written; put the file back from a copy, or remove it and its rows and write it again"
                )
            self._checked.add((number, extension))
        return data

    def close(self) -> None:
        """Let go of the file. Views that were given out stay valid."""
        self._map = None
        if self._file is not None:
            self._file.close()

    def _columns(self, extension: str) -> tuple[Any, ...]:
        if extension not in SAFE_EXTENSIONS:
            raise ValueError(
                f"shard {self.uri} has members of type .{extension}, which is not read: only "
                f"{', '.join(SAFE_EXTENSIONS)} are, since none of them can run code"
            )
        columns = (self.table.column(f"{extension}.{name}") for name in COLUMNS)
        return tuple(column.combine_chunks().fill_null(0).to_numpy(zero_copy_only=False) for column in columns)

    def _open_tar(self, workspace: Workspace) -> None:
        self._file: Any = None
        self._map: Any = None
        found = workspace.fs.get_file_info(workspace.path(self.uri)).size
        if found != self.size_bytes:
            raise ValueError(
                f"shard {self.uri} is damaged: its index says {self.size_bytes} bytes, the file has {found}; put it "
                "back from a copy, or remove it and its rows and write it again"
            )
        if workspace.is_local:
            with workspace.local_path(self.uri).open("rb") as file:
                # Copied on writing, so that tensors may lie on it; nobody can change the file.
                self._map = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
        else:
            self._file = workspace.fs.open_input_file(workspace.path(self.uri))

    def _bytes(self, offset: int, size: int) -> memoryview:
        if self._map is not None:
            return self._map[offset : offset + size]
        return memoryview(self._file.read_at(size, offset))


def _check(members: Sequence[TarMember]) -> None:
    for member in members:
        if not KEY_PATTERN.fullmatch(member.key):
            raise ValueError(f"member key {member.key!r} needs 1 to 80 letters, digits, - or _, and nothing else")
        unknown = sorted(member.files.keys() - set(SAFE_EXTENSIONS))
        if unknown or not member.files:
            raise ValueError(
                f"member {member.key} has files of type {', '.join(unknown) or 'none'}; "
                f"shards hold {', '.join(SAFE_EXTENSIONS)}"
            )
    keys = [member.key for member in members]
    if len(set(keys)) < len(keys):
        twice = sorted({key for key in keys if keys.count(key) > 1})
        raise ValueError(f"a shard holds each key once, but {', '.join(twice)} was given more often")


def _tar_info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o444, 0
    info.uname = info.gname = "dailies"
    return info


def _index_bytes(rows: list[dict[str, Any]], metadata: dict[str, str]) -> bytes:
    extensions = sorted({name.rpartition(".")[0] for row in rows for name in row if "." in name})
    places = [pa.field(f"{extension}.{name}", pa.int64()) for extension in extensions for name in COLUMNS]
    schema = pa.schema([pa.field("key", pa.string(), False), pa.field("facts", pa.string(), False), *places], metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    return sink.getvalue().to_pybytes()


def _open_index(workspace: Workspace, uri: str, sha256: str | None) -> pa.Table:
    path = workspace.path(index_path(uri))
    try:
        if workspace.is_local:
            source: Any = pa.memory_map(path)
        else:
            source = workspace.fs.open_input_file(path)
        data = source.read_buffer()
    except FileNotFoundError as error:
        raise ValueError(
            f"shard {uri} has no index {index_path(uri)}: an older Dailies wrote it, or the file was removed; write "
            "the shard again, since its members cannot be found without"
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256:
        raise ValueError(
            f"index {index_path(uri)} is damaged: its record says sha256 {sha256}, the file has {found}; put it back "
            "from a copy, or remove the shard and its rows and write it again"
        )
    try:
        table = pa.ipc.open_file(pa.BufferReader(data)).read_all()
    except pa.ArrowInvalid as error:
        raise ValueError(f"index {index_path(uri)} is damaged: {error}") from error
    if (table.schema.metadata or {}).get(b"format") != FORMAT.encode():
        raise ValueError(f"index {index_path(uri)} is of another format than {FORMAT!r}; write the shard again")
    return table
