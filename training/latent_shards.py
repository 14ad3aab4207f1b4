"""Latent shards: what the frozen encoders make of packed clips, as plain WebDataset tars that are read in place.

    latents/<key>/key.json                     what the encoders were: see training.encoding.EncodeKey
                  empty.safetensors            states of the empty text, for images and for videos: once for all
                  <shard_id>-<group>.tar       <clip_id>.safetensors, <clip_id>.json, ... of up to 16 clips
                  <shard_id>-<group>.arrow     its index (curation.shard_index)
                  <shard_id>-<group>.json      the commit, written last: which clips, of which packed shard

A member is one safetensors file: `mean` and `logvar` [C, T, H, W] of the posterior, unscaled, and `states.N` [L, width]
(valid tokens alone) and `pooled.N` [width] of each *different* text; the metadata says which text each caption variant
is. Nothing is compressed and nothing pickled: a tensor is a view of the memory map, whatever its dtype, and one range
read brings all of a clip from an object store. The JSON beside it names the texts and the clip's size.

A packed shard of clips has one latent shard per group of its clips, and more where a killed worker's clips were encoded
alone later, so nothing is ever written again. Any number of writers may work at once: each file has one.
"""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from curation.records import content_id
from curation.shard_index import TarMember, write_tar
from curation.tables import Workspace
from model.text import Kind, TextState

LATENTS = "latents"
KEY, EMPTY, MEMBER, META = "key.json", "empty.safetensors", "safetensors", "json"
KINDS: tuple[Kind, ...] = ("image", "video")
READERS = 16  # commits read at once: an object store answers each after some 20 ms
_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}


@dataclass(frozen=True)
class Encoding:
    """A clip as it is stored: the posterior's mean and logvar [C, T, H, W], unscaled, and its different texts.

    `variants[i]` says which of `texts` caption variant i is.
    """

    mean: Tensor
    logvar: Tensor
    texts: tuple[TextState, ...]
    variants: tuple[int, ...]


@dataclass(frozen=True)
class LatentShard:
    """The commit of one latent shard: of which packed shard, which clips of it, and where they lie."""

    shard_uri: str
    shard_sha256: str
    uri: str
    index_sha256: str
    sha256: str
    size_bytes: int
    clip_ids: tuple[str, ...]


class StoredTensors:
    """Tensors of a safetensors file that lies in memory, as views of it. Do not write into them."""

    def __init__(self, data: memoryview | bytearray) -> None:
        length = int.from_bytes(data[:8], "little")
        self._header = _parsed(bytes(data[8 : 8 + length]))
        self._data, self._start = data, 8 + length

    @property
    def metadata(self) -> dict[str, str]:
        return self._header.get("__metadata__", {})

    def __getitem__(self, name: str) -> Tensor:
        facts = self._header[name]
        begin, end = facts["data_offsets"]
        dtype = _DTYPES[facts["dtype"]]
        flat = torch.frombuffer(
            self._data, dtype=dtype, count=(end - begin) // dtype.itemsize, offset=self._start + begin
        )
        return flat.view(facts["shape"])

    def text(self, name: object) -> TextState:
        return TextState(self[f"states.{name}"], self[f"pooled.{name}"])

    def variant(self, number: int) -> TextState:
        """The text of a caption variant."""
        return self.text(self.metadata["variants"].split(",")[number])


@lru_cache(maxsize=4096)
def _parsed(header: bytes) -> dict[str, Any]:
    """The header of a file; clips of one size with texts of one length have the same."""
    return json.loads(header)


def to_member(clip_id: str, encoding: Encoding, facts: Mapping[str, Any]) -> TarMember:
    """One clip as the files of a shard's member."""
    tensors = {"mean": encoding.mean, "logvar": encoding.logvar, **_named(dict(enumerate(encoding.texts)))}
    data = save(tensors, {"variants": ",".join(map(str, encoding.variants))})
    return TarMember(clip_id, {MEMBER: data, META: json.dumps(dict(facts), sort_keys=True).encode()}, facts)


def write_latent_shard(
    workspace: Workspace, key_id: str, shard_id: str, shard: tuple[str, str], members: Sequence[TarMember]
) -> LatentShard:
    """Write some clips of a packed shard, whole or not at all; the same clips give the same bytes.

    Args:
        shard: uri and sha256 of the packed shard.
    """
    clip_ids = tuple(sorted(member.key for member in members))
    stem = _stem(shard_id, clip_ids)
    tar = write_tar(workspace, f"{LATENTS}/{key_id}/{stem}.tar", sorted(members, key=lambda member: member.key))
    written = LatentShard(*shard, tar.uri, tar.index_sha256, tar.sha256, tar.size_bytes, clip_ids)
    workspace.write_bytes(json.dumps(asdict(written), indent=1).encode(), LATENTS, key_id, f"{stem}.json")
    return written


def is_written(workspace: Workspace, key_id: str, shard_id: str, clip_ids: Sequence[str]) -> bool:
    """Whether there is a latent shard of just these clips."""
    return workspace.exists(LATENTS, key_id, f"{_stem(shard_id, clip_ids)}.json")


def _stem(shard_id: str, clip_ids: Sequence[str]) -> str:
    return f"{shard_id}-{content_id(*sorted(clip_ids))[:8]}"


def read_latent_shards(workspace: Workspace, key_id: str) -> list[LatentShard]:
    """All that were written under a key, by uri."""
    found = workspace.file_names(LATENTS, key_id)
    names = sorted(name for name in found if name.endswith(".json") and name != KEY and name[0] != ".")

    def read(name: str) -> LatentShard:
        facts = json.loads(workspace.read_bytes(LATENTS, key_id, name))
        return LatentShard(**{**facts, "clip_ids": tuple(facts["clip_ids"])})

    with ThreadPoolExecutor(READERS) as threads:
        return list(threads.map(read, names))


def write_empty(workspace: Workspace, key_id: str, empty: Mapping[Kind, TextState]) -> None:
    """Keep the states of the empty text of each kind."""
    workspace.write_bytes(save(_named(empty)), LATENTS, key_id, EMPTY)


def read_empty(workspace: Workspace, key_id: str) -> dict[Kind, TextState]:
    """The states of the empty text of each kind."""
    stored = StoredTensors(bytearray(workspace.read_bytes(LATENTS, key_id, EMPTY)))
    return {kind: stored.text(kind) for kind in KINDS}


def _named(texts: Mapping[Any, TextState]) -> dict[str, Tensor]:
    named = {}
    for name, text in texts.items():
        named |= {f"states.{name}": text.states.clone(), f"pooled.{name}": text.pooled.clone()}  # they may be shared
    return named
