"""Writing weights one tensor at a time: what is known beforehand is only names, types and shapes.

    TensorSpec, ...   --header--> file.safetensors.aside   --tensors, one by one-->   --rename--> file.safetensors

Memory holds one tensor, whatever the size of the file. A folder of shards is written beside its name and renamed as a
whole, so that a killed writer leaves nothing that looks finished. The same tensors give the same bytes.

A `.pt` file is made by torch itself with room instead of data (`torch.serialization.skip_data`) and then filled, so it
needs no more memory either. The room is address space, not memory: where the machine refuses to promise that much
(vm.overcommit_memory = 2), write safetensors. Checksums inside such a file are not those of the data: torch does not
look at them, an unzip tool would complain.
"""

import json
import shutil
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from model.weight_files import DTYPES, INDEX_SUFFIX, open_weights, raw_bytes

NAMES_OF_DTYPES = {dtype: name for name, dtype in DTYPES.items()}
HEADER_MULTIPLE = 8  # bytes; spaces fill the header, so that the data begins aligned


class Writable(Protocol):
    """What can be written into: a file, an upload, something that takes a digest as well."""

    def write(self, data: bytes | memoryview, /) -> Any:
        """Take these bytes."""
        ...


@dataclass(frozen=True)
class TensorSpec:
    """A tensor to come."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        """Bytes of the values."""
        return prod(self.shape) * self.dtype.itemsize


def shares_of(specs: Sequence[TensorSpec], shard_bytes: int) -> list[list[TensorSpec]]:
    """Consecutive tensors of at most `shard_bytes` together; a larger one is alone."""
    shares: list[list[TensorSpec]] = []
    room = 0
    for spec in specs:
        if not shares or spec.num_bytes > room:
            shares.append([])
            room = shard_bytes
        shares[-1].append(spec)
        room -= spec.num_bytes
    return shares


def write_safetensors(
    path: Path, specs: Sequence[TensorSpec], tensors: Iterable[Tensor], metadata: Mapping[str, str]
) -> None:
    """Write one file; `tensors` come in the order of `specs` and are asked for one at a time.

    Raises:
        ValueError: something is there already, or the disk has too little room.
    """
    with aside(path, specs) as target, target.open("wb") as file:
        write_tensors(file, specs, iter(tensors), metadata)


def write_folder(
    folder: Path,
    stem: str,
    specs: Sequence[TensorSpec],
    tensors: Iterable[Tensor],
    metadata: Mapping[str, str],
    shard_bytes: int,
    config: Mapping[str, Any] | None = None,
) -> None:
    """Write `<stem>.safetensors`, or shards of at most `shard_bytes` and the index that Hugging Face's libraries read.

    `config` becomes `config.json`. Raises as `write_safetensors`.
    """
    shares, stream = shares_of(specs, shard_bytes), iter(tensors)
    names = [f"{stem}-{i + 1:05d}-of-{len(shares):05d}.safetensors" for i in range(len(shares))]
    if len(shares) == 1:
        names = [f"{stem}.safetensors"]
    with aside(folder, specs) as target:
        target.mkdir()
        for name, share in zip(names, shares, strict=True):
            with (target / name).open("wb") as file:
                write_tensors(file, share, stream, metadata)
        if len(shares) > 1:
            where = {spec.name: name for name, share in zip(names, shares, strict=True) for spec in share}
            total = {"total_size": sum(spec.num_bytes for spec in specs)}
            _write_json(target / f"{stem}{INDEX_SUFFIX}", {"metadata": total, "weight_map": where})
        if config is not None:
            _write_json(target / "config.json", config)


def write_pickle(path: Path, specs: Sequence[TensorSpec], tensors: Iterable[Tensor], wrapper: str) -> None:
    """Write a `.pt` file of `{wrapper: {name: tensor}}`, as the released one is. Raises as `write_safetensors`."""
    stream = iter(tensors)
    with aside(path, specs) as target:
        # through an open file, since torch would write the name of a path into the archive
        with torch.serialization.skip_data(), target.open("wb") as file:
            torch.save({wrapper: {spec.name: torch.empty(spec.shape, dtype=spec.dtype) for spec in specs}}, file)
        places = open_weights(target, wrapper).tensors
        with target.open("r+b") as file:
            for spec in specs:
                file.seek(places[spec.name].start)
                _write_tensor(file, spec, next(stream))


@contextmanager
def aside(path: Path, specs: Sequence[TensorSpec]) -> Iterator[Path]:
    """A place beside `path` that takes its name when the block ends well, and goes when it does not."""
    if path.exists():
        raise ValueError(f"{path} is there already; nothing is overwritten, remove it or name another place")
    if not path.parent.is_dir():
        raise ValueError(f"there is no folder {path.parent} to write {path.name} into; make it")
    needed, free = sum(spec.num_bytes for spec in specs), shutil.disk_usage(path.parent).free
    if needed > free:
        raise ValueError(f"{path} needs {needed:,} bytes, {path.parent} has {free:,} free; make room")
    target = path.with_name(f".aside-{path.name}")
    _remove(target)  # of a killed writer
    try:
        yield target
        target.rename(path)
    finally:
        _remove(target)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_tensors(
    file: Writable, specs: Sequence[TensorSpec], tensors: Iterator[Tensor], metadata: Mapping[str, str]
) -> None:
    """Write the safetensors format into an open file or an upload; it is only written to."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **metadata}}
    reached = 0
    for spec in specs:
        place = [reached, reached + spec.num_bytes]
        header[spec.name] = {"dtype": NAMES_OF_DTYPES[spec.dtype], "shape": list(spec.shape), "data_offsets": place}
        reached = place[1]
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % HEADER_MULTIPLE)
    file.write(struct.pack("<Q", len(text)) + text)
    for spec in specs:
        _write_tensor(file, spec, next(tensors))


def _write_tensor(file: Writable, spec: TensorSpec, tensor: Tensor) -> None:
    assert (tensor.dtype, tuple(tensor.shape)) == (spec.dtype, spec.shape), f"{spec.name} is not what was announced"
    file.write(raw_bytes(tensor))


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
