"""Shards opened on demand: bounded, in any process, refused by name."""

import os

import pytest

from curation.records import UserError
from curation.shards import current_shards
from tests.training.moving_shapes import pack_shapes
from training.open_shards import OpenShards


def opened(workspace, stage: str, limit: int = 256) -> tuple[OpenShards, list[tuple[str, str]]]:
    shards = current_shards(workspace, stage)
    rows = workspace.table("shard_members").records()
    uris = {shard.shard_id: shard.uri for shard in shards}
    members = [(uris[row.shard_id], row.clip_id) for row in rows if row.shard_id in uris]
    return OpenShards(workspace, {shard.uri: shard.index_sha256 for shard in shards}, limit), members


def test_more_shards_than_may_be_open_are_all_read_and_views_outlive_their_shard(shapes):
    pack_shapes(shapes, "many", count=24)
    few, members = opened(shapes, "many", limit=1)
    whole, _ = opened(shapes, "many")
    views = [few.read(uri, key, "mp4") for uri, key in members]
    assert len({uri for uri, _ in members}) == 3 and len(views) == 24
    assert [bytes(view) for view in views] == [bytes(whole.read(uri, key, "mp4")) for uri, key in members]


def test_a_forked_process_reads_an_object_store_that_its_parent_has_open(object_store):
    pack_shapes(object_store, "image", count=2)
    shards, members = opened(object_store, "image")
    before = [bytes(shards.read(uri, key, "mp4")) for uri, key in members]
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        same = [bytes(shards.read(uri, key, "mp4")) for uri, key in members] == before
        os.write(writer, b"same" if same else b"different")
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        assert answer.read() == b"same"
    os.waitpid(child, 0)


def test_what_is_not_there_is_named(shapes):
    shards, [(uri, key), *_] = opened(shapes, "image")
    with pytest.raises(UserError, match=f"shard {uri} has no member nobody"):
        shards.read(uri, "nobody", "mp4")
    with pytest.raises(UserError, match=f"{uri}: {key} has no .npy"):
        shards.read(uri, key, "npy")
    path = shapes.local_path(uri).with_suffix(".arrow")
    path.unlink()
    with pytest.raises(UserError, match=f"shard {uri} has no index"):
        opened(shapes, "image")[0].read(uri, key, "mp4")
