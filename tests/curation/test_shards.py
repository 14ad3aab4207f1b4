"""Shards: deterministic bytes, honest digests, nothing unpickled."""

import dataclasses
import hashlib
import io
import tarfile

import pytest

from curation.shards import ShardItem, current_shards, point_to, read_shard, write_shard
from curation.tables import Workspace

ITEMS = [
    ShardItem(f"clip{i}", bytes([i]) * (100 + i), {"clip_id": f"clip{i}", "caption_by": "people", "kept_by": "gates"})
    for i in range(3)
]


def test_what_is_written_is_read_back_in_order(tmp_path):
    workspace = Workspace(str(tmp_path))
    shard, members = write_shard(workspace, "video", "s1", "64x64x9@8", ITEMS)
    assert list(read_shard(workspace, shard)) == ITEMS
    assert [member.index_in_shard for member in members] == [0, 1, 2]
    assert (shard.count, shard.uri) == (3, "shards/video/s1.tar")


def test_the_same_members_give_the_same_bytes_anywhere(tmp_path):
    first, _ = write_shard(Workspace(str(tmp_path / "a")), "video", "s1", "b", ITEMS)
    second, _ = write_shard(Workspace(str(tmp_path / "b")), "video", "s1", "b", ITEMS)
    assert first.sha256 == second.sha256


def test_offsets_point_at_each_members_first_header(tmp_path):
    workspace = Workspace(str(tmp_path))
    shard, members = write_shard(workspace, "video", "s1", "b", ITEMS)
    data = workspace.read_bytes(shard.uri)
    for member in members:
        with tarfile.open(fileobj=io.BytesIO(data[member.offset_bytes :]), mode="r|") as tar:
            header = tar.next()
        assert header is not None
        assert header.name.startswith(f"{member.clip_id}.")


def test_a_flipped_byte_is_refused_with_both_digests(tmp_path):
    workspace = Workspace(str(tmp_path))
    shard, _ = write_shard(workspace, "video", "s1", "b", ITEMS)
    path = tmp_path / "shards/video/s1.tar"
    data = bytearray(path.read_bytes())
    data[700] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=f"s1.tar is damaged: the index says sha256 {shard.sha256}"):
        list(read_shard(workspace, shard))


def test_a_member_without_facts_is_named(tmp_path):
    workspace = Workspace(str(tmp_path))
    shard, _ = write_shard(workspace, "video", "s1", "b", ITEMS[:1])
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        info = tarfile.TarInfo("lonely.mp4")
        tar.addfile(info)
    (tmp_path / "shards/video/s1.tar").write_bytes(sink.getvalue())
    forged = dataclasses.replace(shard, sha256=hashlib.sha256(sink.getvalue()).hexdigest())
    with pytest.raises(ValueError, match=r"lonely needs \.mp4 and \.json"):
        list(read_shard(workspace, forged))


def test_the_pointer_moves_and_old_shards_stay_readable(tmp_path):
    workspace = Workspace(str(tmp_path))
    assert current_shards(workspace, "video") == []
    old, _ = write_shard(workspace, "video", "old", "b", ITEMS[:2])
    new, _ = write_shard(workspace, "video", "new", "b", ITEMS)
    workspace.table("shards").append("one", [old])
    workspace.table("shards").append("two", [new])
    point_to(workspace, "video", ["old"])
    point_to(workspace, "video", ["new"])
    assert current_shards(workspace, "video") == [new]
    assert len(list(read_shard(workspace, old))) == 2
