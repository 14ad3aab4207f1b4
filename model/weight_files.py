"""Weights as they lie in files: an index of names, types and shapes first, one tensor at a time after that.

    one .safetensors, a folder of shards, or a .pt  --open_weights-->  StoredWeights  --read-->  Tensor

Opening reads headers only, so a file of 26 GB costs what its list of names costs, and `read` costs one tensor. Nothing
is mapped into memory. A `.pt` file is unpickled with torch's weights-only reader and tensors without data, which tells
where the data of each lies in the file: a pickle that asks for any other object, and so could run code, is refused.

Format of safetensors: eight bytes with the header's length (little endian), the header (JSON: name to dtype, shape and
byte range), the data. ValueError says what was wrong with which file or tensor.
"""

import json
import pickle
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
INDEX_SUFFIX = ".safetensors.index.json"
PICKLE_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")
WRAPPERS = ("module", "ema", "model", "state_dict")


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies: `start` is the byte of its first element; `stride` in elements, None for contiguous."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    path: Path
    start: int
    stride: tuple[int, ...] | None = None

    @property
    def num_bytes(self) -> int:
        """Bytes of the values."""
        return prod(self.shape) * self.dtype.itemsize

    def read(self) -> Tensor:
        """The values, contiguous, in memory of their own."""
        if not prod(self.shape):
            return torch.empty(self.shape, dtype=self.dtype)
        stride = self.stride or _contiguous(self.shape)
        span = 1 + sum((size - 1) * step for size, step in zip(self.shape, stride, strict=True))
        buffer = bytearray(span * self.dtype.itemsize)
        with self.path.open("rb") as file:
            file.seek(self.start)
            if file.readinto(buffer) != len(buffer):
                raise ValueError(f"{self.path} ends within tensor '{self.name}': it is truncated, fetch it again")
        flat = torch.frombuffer(buffer, dtype=self.dtype)
        return torch.as_strided(flat, self.shape, stride).contiguous()


@dataclass(frozen=True)
class StoredWeights:
    """The index of a file or folder of weights.

    `wrapper` names the levels of a pickle that were opened (`module`, ...), `config` is what a `config.json` beside
    the weights says, `metadata` what a safetensors header says.
    """

    path: Path
    tensors: dict[str, StoredTensor]
    files: tuple[Path, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    wrapper: tuple[str, ...] = ()
    config: Mapping[str, Any] | None = None

    def read(self, name: str) -> Tensor:
        """One tensor."""
        return self.tensors[name].read()

    @property
    def num_bytes(self) -> int:
        """Bytes of all values."""
        return sum(tensor.num_bytes for tensor in self.tensors.values())


def open_weights(path: str | Path, branch: str | None = None) -> StoredWeights:
    """Read the index of a safetensors file, a folder of them, or a `.pt` file.

    `branch` chooses among the state dicts that a `.pt` file wraps (`module`, `ema`, `model`, `state_dict`).

    Raises:
        ValueError: nothing there, a damaged or truncated file, a missing shard, a pickle that wants to run code, or
            several branches and none chosen.
    """
    path = Path(path)
    if path.is_dir():
        return _open_folder(path, branch)
    if not path.is_file():
        raise ValueError(f"no file or folder of weights at {path}")
    config = _read_json(path.parent / "config.json") if (path.parent / "config.json").is_file() else None
    if path.suffix in PICKLE_SUFFIXES:
        return _open_pickle(path, branch, config)
    if path.name.endswith(INDEX_SUFFIX):
        return _open_shards(path, config)
    if path.suffix != ".safetensors":
        known = ", ".join((".safetensors", INDEX_SUFFIX, *PICKLE_SUFFIXES))
        raise ValueError(f"{path} has no ending that says what it is; known are {known}")
    tensors, metadata = read_header(path)
    return StoredWeights(path, tensors, (path,), metadata, config=config)


def read_header(path: Path) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    """Index and metadata of one safetensors file, by name in file order; every byte of the file accounted for."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise ValueError(
                f"{path} is no safetensors file or is truncated: {size} bytes, header of {length} expected"
            )
        try:
            header = json.loads(file.read(length))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is no safetensors file: its header is not JSON ({error})") from error
    metadata = header.pop("__metadata__", {})
    tensors, reached = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        if entry["dtype"] not in DTYPES:
            raise ValueError(f"{path}: tensor '{name}' has type {entry['dtype']}; known are {', '.join(DTYPES)}")
        stored = StoredTensor(name, DTYPES[entry["dtype"]], tuple(entry["shape"]), path, 8 + length + begin)
        if begin != reached or end - begin != stored.num_bytes:
            raise ValueError(
                f"{path}: tensor '{name}' should take {stored.num_bytes} bytes from byte {reached} on, "
                f"the header says {begin} to {end}"
            )
        if 8 + length + end > size:
            raise ValueError(
                f"{path} is truncated: tensor '{name}' ends at byte {8 + length + end}, the file has {size}; "
                f"fetch it again"
            )
        tensors[name], reached = stored, end
    if 8 + length + reached != size:
        raise ValueError(f"{path} has {size - 8 - length - reached} bytes after its last tensor; fetch it again")
    return tensors, metadata


def raw_bytes(tensor: Tensor) -> memoryview:
    """The bytes of a tensor's values, in order."""
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data


def _open_folder(folder: Path, branch: str | None) -> StoredWeights:
    indices = sorted(path for path in folder.iterdir() if path.name.endswith(INDEX_SUFFIX))
    single = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", *PICKLE_SUFFIXES))
    candidates = indices or single
    if len(candidates) == 1:
        return open_weights(candidates[0], branch)
    names = ", ".join(path.name for path in candidates)
    inner = ", ".join(sorted(path.name for path in folder.iterdir() if path.is_dir()))
    found = f"several sets of weights ({names})" if names else "no weights"
    raise ValueError(f"{folder} holds {found}; name one file" + (f", or one of its folders: {inner}" if inner else ""))


def _open_shards(index: Path, config: Mapping[str, Any] | None) -> StoredWeights:
    where: dict[str, str] = _read_json(index).get("weight_map", {})
    shards = sorted(set(where.values()))
    if not shards:
        raise ValueError(f"{index} names no shards: it has no 'weight_map'")
    tensors: dict[str, StoredTensor] = {}
    metadata: dict[str, str] = {}
    for shard in shards:
        held = [name for name, file in where.items() if file == shard]
        if not (index.parent / shard).is_file():
            raise ValueError(
                f"shard {shard} of {index.parent} is missing; it holds tensor '{held[0]}' and {len(held) - 1} more"
            )
        there, said = read_header(index.parent / shard)
        for name in (name for name in held if name not in there):
            raise ValueError(f"{index} says that shard {shard} holds tensor '{name}', which is not in it")
        for name in (name for name in there if where.get(name) != shard):
            raise ValueError(f"shard {shard} holds tensor '{name}', of which {index} does not know")
        tensors |= there
        metadata |= said
    return StoredWeights(
        index.parent, tensors, tuple(index.parent / shard for shard in shards), metadata, config=config
    )


def _open_pickle(path: Path, branch: str | None, config: Mapping[str, Any] | None) -> StoredWeights:
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"{path} is no checkpoint of torch 1.6 or later, or is truncated; fetch it again, or load and save it anew"
        )
    from torch._subclasses.fake_tensor import FakeTensorMode  # brings sympy, which only a pickle needs

    try:
        with FakeTensorMode():  # tensors without data, each knowing its byte in the file
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL ([\w.]+)|class ([\w.]+)", str(error))
        name = (wanted[1] or wanted[2]) if wanted else str(error).splitlines()[0]
        raise ValueError(
            f"{path} is a pickle that wants more than tensors ({name}) and could run code; it is not opened. "
            f"Ask its author for safetensors"
        ) from error
    except (RuntimeError, struct.error) as error:
        raise ValueError(f"{path} is damaged: {str(error).splitlines()[0]}") from error
    state, wrapper = _unwrap(path, loaded, branch, ())
    tensors = {}
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor):
            raise ValueError(f"{path}: entry '{name}' is of type {type(tensor).__name__}, expected a tensor")
        offset = _data_start(tensor)
        tensors[name] = StoredTensor(name, tensor.dtype, tuple(tensor.shape), path, offset, tuple(tensor.stride()))
    return StoredWeights(path, tensors, (path,), wrapper=wrapper, config=config)


def _data_start(tensor: Tensor) -> int:
    """Byte of the file where a tensor without data says that its data begins."""
    storage: Any = tensor.untyped_storage()
    return storage._checkpoint_offset + tensor.storage_offset() * tensor.itemsize


def _unwrap(
    path: Path, loaded: Any, branch: str | None, opened: tuple[str, ...]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Descend to the dict of tensors through wrappers, by the chosen branch where there are several."""
    if not isinstance(loaded, dict):
        raise ValueError(f"{path} holds {type(loaded).__name__}, expected a dict of tensors by name")
    inside = [name for name in WRAPPERS if isinstance(loaded.get(name), dict)]
    if not inside:
        if branch is not None and branch not in opened:
            raise ValueError(f"{path} has no branch '{branch}'; it has {' > '.join(opened) or 'none'}")
        return loaded, opened
    if branch in inside:
        choice = branch
    elif len(inside) == 1:
        choice = inside[0]
    else:
        raise ValueError(f"{path} holds several sets of weights: {', '.join(inside)}; choose one as the branch")
    return _unwrap(path, loaded[choice], branch, (*opened, choice))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(prod(shape[i + 1 :]) for i in range(len(shape)))
