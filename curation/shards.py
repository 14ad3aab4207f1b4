"""WebDataset shards: written once, the same bytes from the same members, read back with their digest checked.

    shards/<stage>/<shard_id>.tar      <clip_id>.json, <clip_id>.mp4, <clip_id>.json, ...
    shards/<stage>/<shard_id>.arrow    its index (curation.shard_index)
    shards/<stage>/current.json        which shards the last `pack` of this stage consists of

A shard's id is the content id of what was planned into it, so packing again after people changed their minds writes new
shards beside the old ones and moves the pointer; what an earlier training run read stays readable.
This is the only file that imports webdataset.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from curation.records import Shard, ShardMember
from curation.shard_index import IndexedTar, TarMember, to_json, write_tar
from curation.tables import Workspace

VIDEO, META = "mp4", "json"
CURRENT = "current.json"


@dataclass(frozen=True)
class ShardItem:
    """One member of a shard: the encoded video and its JSON facts (caption, scores, source span)."""

    clip_id: str
    video: bytes
    meta: dict[str, Any]


def shard_path(stage: str, shard_id: str) -> tuple[str, str, str]:
    return "shards", stage, f"{shard_id}.tar"


def write_shard(
    workspace: Workspace, stage: str, shard_id: str, bucket: str, items: Sequence[ShardItem]
) -> tuple[Shard, list[ShardMember]]:
    """Write one tar, whole or not at all; returns its record and one record per member.

    Its index is written beside it. Equal items give equal bytes.
    """
    uri = "/".join(shard_path(stage, shard_id))
    files = [
        TarMember(item.clip_id, {VIDEO: item.video, META: to_json(item.meta).encode()}, item.meta) for item in items
    ]
    tar = write_tar(workspace, uri, files)
    shard = Shard(shard_id, stage, uri, tar.count, tar.size_bytes, tar.sha256, bucket, tar.index_sha256)
    members = []
    for index, (item, offset) in enumerate(zip(items, tar.header_offsets, strict=True)):
        by = (str(item.meta["caption_by"]), str(item.meta["kept_by"]))
        part = (item.meta.get("window", 0), item.meta.get("member_start_s"), item.meta.get("member_end_s"))
        members.append(ShardMember(item.clip_id, stage, shard_id, index, offset, *by, *part))
    return shard, members


def open_shard(workspace: Workspace, shard: Shard) -> IndexedTar:
    """A shard's members by number, without reading the tar.

    Raises:
        ValueError: the shard or its index is damaged or missing, each named.
    """
    return IndexedTar(workspace, shard.uri, shard.index_sha256 or None)


def read_shard(workspace: Workspace, shard: Shard) -> Iterator[ShardItem]:
    """The members of a shard in order; only mp4 and json members are ever looked at, nothing is unpickled.

    Raises:
        ValueError: the file's sha256 is not the index's, or a member has no video or no facts.
    """
    from webdataset.tariterators import group_by_keys, tar_file_expander

    data = workspace.read_bytes(shard.uri)
    found = hashlib.sha256(data).hexdigest()
    if found != shard.sha256:
        raise ValueError(
            f"shard {shard.uri} is damaged: the index says sha256 {shard.sha256}, the file has {found}; "
            f"remove its rows or run `dailies pack` into a fresh workspace"
        )
    files = tar_file_expander([{"stream": io.BytesIO(data), "url": shard.uri}])
    for sample in group_by_keys(files):
        if VIDEO not in sample or META not in sample:
            raise ValueError(f"shard {shard.uri}: {sample['__key__']} needs .{VIDEO} and .{META}, has {sorted(sample)}")
        yield ShardItem(sample["__key__"], sample[VIDEO], json.loads(sample[META]))


def point_to(workspace: Workspace, stage: str, shard_ids: Sequence[str], plan: str = "") -> None:
    """Make these shards the stage's current ones; `plan` names the rows of `pack_fates` that led to them."""
    text = json.dumps({"stage": stage, "shard_ids": list(shard_ids), "plan": plan}, indent=1)
    workspace.write_bytes(text.encode(), "shards", stage, CURRENT)


def current_shards(workspace: Workspace, stage: str) -> list[Shard]:
    """The shards of the last `pack` of a stage, in order; empty if it was never packed."""
    shard_ids = _pointer(workspace, stage).get("shard_ids", [])
    by_id = {shard.shard_id: shard for shard in workspace.table("shards").records()}
    return [by_id[shard_id] for shard_id in shard_ids]


def current_plan(workspace: Workspace, stage: str) -> str:
    """Which rows of `pack_fates` say what the last `pack` of a stage did; empty if it was never packed."""
    return _pointer(workspace, stage).get("plan", "")


def _pointer(workspace: Workspace, stage: str) -> dict[str, Any]:
    if not workspace.exists("shards", stage, CURRENT):
        return {}
    return json.loads(workspace.read_bytes("shards", stage, CURRENT))
