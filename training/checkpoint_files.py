"""The files of a checkpoint: one safetensors file per kind of tensor and process, and how torch reads and writes them.

    DTensors, tensors --torch's planner--> chunks of this process --ShardWriter--> model.rank-00003.safetensors
    tensors in place <--torch's planner--  chunks of any process  <--ShardReader-- model.rank-*.safetensors

torch.distributed.checkpoint decides who writes and who reads which part of a tensor (a part that several processes have
is written once; reading works on any number of processes). This file is its storage: safetensors on a folder or an
object store. Torch's own storage pickles its index; its Hugging Face storage does not, but knows local paths alone and
takes no digests. The layout is the latter's (a chunk's place in its tensor is in the header, `DCP_SHARDING_INFO`), so
torch's HuggingFaceStorageReader opens such a folder, too.

Every file's digest is taken while it is written. A local file is forced to the disk before its checkpoint counts, which
is also when some file systems first tell that they are full.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner, ReadItem, SavePlan, SavePlanner, WriteItem
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter, WriteResult
from torch.futures import Future

from curation.tables import Workspace
from model.weight_files import DTYPES
from model.weight_writing import TensorSpec, Writable, write_tensors

SUFFIX = ".safetensors"
RANK = ".rank-"
SHARDING = "DCP_SHARDING_INFO"
BLOCK_BYTES = 8 * 1024**2


def stem_of(file_stem: str) -> str:
    """The kind of tensors in a file: `model` of `model.rank-00003`, and of `model`, which is whole."""
    return file_stem.split(RANK)[0]


def digest_of(workspace: Workspace, *path: str) -> str:
    """Sha256 of a file, read in blocks; "" where there is none."""
    if not workspace.exists(*path):
        return ""
    found = hashlib.sha256()
    with workspace.fs.open_input_stream(workspace.path(*path), buffer_size=BLOCK_BYTES) as stream:
        while block := stream.read(BLOCK_BYTES):
            found.update(block)
    return found.hexdigest()


def write_file(
    workspace: Workspace,
    path: Sequence[str],
    specs: Sequence[TensorSpec],
    tensors: Iterable[Tensor],
    metadata: Mapping[str, str],
) -> str:
    """Write tensors, asked for one by one, in the order of `specs`. Returns the file's sha256.

    Raises:
        OSError: the disk is full, or the store cannot be written.
    """
    with _opened(workspace, path) as file:
        hashed = _HashedFile(file)
        write_tensors(hashed, specs, iter(tensors), metadata)
    return hashed.digest.hexdigest()


class _HashedFile:
    """Passes on what is written and takes its digest."""

    def __init__(self, file: Writable) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def write(self, data: bytes | memoryview, /) -> None:
        self.file.write(data)
        self.digest.update(data)


@contextmanager
def _opened(workspace: Workspace, path: Sequence[str]) -> Iterator[Writable]:
    if not workspace.is_local:
        with workspace.fs.open_output_stream(workspace.path(*path)) as stream:
            yield stream
        return
    with workspace.local_path(*path).open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


class ShardWriter(StorageWriter):
    """Writes the chunks of this process, one file per stem; names of tensors are `stem/name`.

    Args:
        folder: the checkpoint's folder within the workspace; it is there.
        commit: called by the first process with every file's digest by its stem, when all processes have written.
        failure: what already went wrong in this process; raised once the others listen, so that all of them stop.
    """

    def __init__(
        self,
        workspace: Workspace,
        folder: Sequence[str],
        commit: Callable[[dict[str, str]], None],
        failure: OSError | None = None,
    ) -> None:
        self.workspace, self.folder, self.commit, self.failure = workspace, tuple(folder), commit, failure
        self.rank = 0

    def reset(self, checkpoint_id: str | os.PathLike | None = None) -> None:
        del checkpoint_id

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        del is_coordinator, args
        self.rank = kwargs["rank"]
        if self.failure is not None:
            raise self.failure

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        return plans

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        by_stem: dict[str, list[WriteItem]] = {}
        for item in plan.items:
            by_stem.setdefault(item.index.fqn.split("/", 1)[0], []).append(item)
        results = []
        for stem, items in sorted(by_stem.items()):
            file_stem = f"{stem}{RANK}{self.rank:05d}"
            digest = self._write(file_stem, items, planner)
            results.append(WriteResult(items[0].index, 0, (file_stem, digest)))
        future: Future[list[WriteResult]] = Future()
        future.set_result(results)
        return future

    def _write(self, file_stem: str, items: list[WriteItem], planner: SavePlanner) -> str:
        # wide types first, so that every tensor begins at a multiple of its element
        items = sorted(items, key=lambda item: (-_spec(item).dtype.itemsize, item.index.fqn))
        places = {_spec(item).name: {"saved_offsets": list(item.index.offset or ())} for item in items}
        data = (planner.resolve_data(item) for item in items)
        tensors = (chunk.detach() for chunk in data if isinstance(chunk, Tensor))
        path = (*self.folder, file_stem + SUFFIX)
        return write_file(self.workspace, path, [*map(_spec, items)], tensors, {SHARDING: json.dumps(places)})

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        del metadata  # each file's header has it
        self.commit(dict(sorted(result.storage_data for of_rank in results for result in of_rank)))

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike) -> bool:
        del checkpoint_id
        return False  # this storage is only ever given, never guessed from a path


def _spec(item: WriteItem) -> TensorSpec:
    assert item.tensor_data is not None, f"{item.index.fqn} is no tensor"
    name = item.index.fqn.split("/", 1)[1]
    return TensorSpec(name, item.tensor_data.properties.dtype, tuple(item.tensor_data.chunk.sizes))


@dataclass(frozen=True)
class _Chunk:
    """Where a part of a tensor lies: the file, the byte of its first element, its type and shape."""

    path: str
    start: int
    dtype: torch.dtype
    shape: tuple[int, ...]


class ShardReader(StorageReader):
    """Reads chunks out of the given files of a checkpoint; their digests were checked before.

    Args:
        folder: the checkpoint's folder within the workspace.
        file_stems: names of the files without their ending.
    """

    def __init__(self, workspace: Workspace, folder: Sequence[str], file_stems: Iterable[str]) -> None:
        self.workspace, self.folder, self.file_stems = workspace, tuple(folder), sorted(file_stems)
        self.chunks: dict[MetadataIndex, _Chunk] = {}

    def reset(self, checkpoint_id: str | os.PathLike | None = None) -> None:
        del checkpoint_id

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        del args, kwargs
        found: dict[str, list[tuple[ChunkStorageMetadata, torch.dtype]]] = {}
        for file_stem in self.file_stems:
            self._read_header(file_stem, found)
        return Metadata({name: _whole(chunks) for name, chunks in found.items()})

    def _read_header(self, file_stem: str, found: dict[str, list[tuple[ChunkStorageMetadata, torch.dtype]]]) -> None:
        path = self.workspace.path(*self.folder, file_stem + SUFFIX)
        with self.workspace.fs.open_input_file(path) as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        metadata = header.pop("__metadata__", {})
        places = json.loads(metadata.get(SHARDING, "{}"))
        for name, row in header.items():
            key, shape, dtype = f"{stem_of(file_stem)}/{name}", tuple(row["shape"]), DTYPES[row["dtype"]]
            offsets = torch.Size(places[name]["saved_offsets"] if places else [0] * len(shape))
            self.chunks[MetadataIndex(key, offsets)] = _Chunk(path, 8 + length + row["data_offsets"][0], dtype, shape)
            found.setdefault(key, []).append((ChunkStorageMetadata(offsets, torch.Size(shape)), dtype))

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        del metadata, is_coordinator, args, kwargs

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        by_path: dict[str, list[tuple[_Chunk, ReadItem]]] = {}
        for item in plan.items:
            chunk = self.chunks[item.storage_index]
            by_path.setdefault(chunk.path, []).append((chunk, item))
        for path, wanted in by_path.items():
            with self.workspace.fs.open_input_file(path) as file:
                for chunk, item in wanted:
                    target = planner.resolve_tensor(item).detach()
                    assert target.dtype == chunk.dtype, f"{item.storage_index.fqn}: {chunk.dtype} into {target.dtype}"
                    target.copy_(_read_part(file, chunk, item))
                    planner.commit_tensor(item, target)
        future: Future[None] = Future()
        future.set_result(None)
        return future

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike) -> bool:
        del checkpoint_id
        return False


def _whole(chunks: list[tuple[ChunkStorageMetadata, torch.dtype]]) -> TensorStorageMetadata:
    ends = [[start + size for start, size in zip(chunk.offsets, chunk.sizes, strict=True)] for chunk, _ in chunks]
    shape = torch.Size(max(of_dimension) for of_dimension in zip(*ends, strict=True))
    return TensorStorageMetadata(TensorProperties(dtype=chunks[0][1]), shape, [chunk for chunk, _ in chunks])


def _read_part(file: Any, chunk: _Chunk, item: ReadItem) -> Tensor:
    """The wanted part of a chunk; of the first dimension no more rows are read than are wanted."""
    if not prod(item.lengths):
        return torch.empty(item.lengths, dtype=chunk.dtype)
    rows = (item.storage_offsets[0], item.lengths[0]) if chunk.shape else (0, 1)
    row_shape = chunk.shape[1:]
    row_bytes = prod(row_shape) * chunk.dtype.itemsize
    buffer = bytearray(rows[1] * row_bytes)
    file.seek(chunk.start + rows[0] * row_bytes)
    if file.readinto(buffer) != len(buffer):
        raise OSError(f"{chunk.path} ends within {item.storage_index.fqn}")
    values = torch.frombuffer(buffer, dtype=chunk.dtype)
    if not chunk.shape:
        return values.reshape(())
    values = values.reshape(rows[1], *row_shape)
    inner = zip(item.storage_offsets[1:], item.lengths[1:], strict=True)
    return values[(slice(None), *(slice(start, start + length) for start, length in inner))]
