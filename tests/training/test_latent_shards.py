"""Latent shards: any tar reader opens them, tensors are views of the file, every dtype comes back bit by bit."""

import io
import tarfile

import pytest
import torch
import webdataset
from safetensors.torch import load

from curation.shard_index import IndexedTar
from curation.tables import Workspace
from model.text import TextState
from training.latent_shards import (
    Encoding,
    StoredTensors,
    read_empty,
    read_latent_shards,
    to_member,
    write_empty,
    write_latent_shard,
)

SHARD = ("shards/video/s.tar", "ab" * 32)


def encoding(dtype: torch.dtype, seed: int = 0) -> Encoding:
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return (torch.randn(shape, generator=generator) * 3).to(dtype)

    texts = tuple(TextState(drawn(length, 8), drawn(6)) for length in (5, 9))
    return Encoding(drawn(16, 2, 4, 4), drawn(16, 2, 4, 4), texts, (0, 1, 0, 1))


def write(workspace: Workspace, dtype: torch.dtype = torch.float16, shard_id: str = "s"):
    members = [to_member(f"clip{i}", encoding(dtype, i), {"clip_id": f"clip{i}", "texts": ["a"]}) for i in (2, 0, 1)]
    return write_latent_shard(workspace, "key", shard_id, SHARD, members)


def same(one: TextState, other: TextState) -> bool:
    return torch.equal(one.states, other.states) and torch.equal(one.pooled, other.pooled)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_every_dtype_comes_back_bit_by_bit_as_a_view_of_the_file(tmp_path, dtype):
    workspace = Workspace(str(tmp_path))
    tar = IndexedTar(workspace, write(workspace, dtype).uri)
    assert tar.keys == ["clip0", "clip1", "clip2"]
    for number in range(3):
        data, expected = tar.read(number, "safetensors"), encoding(dtype, number)
        stored = StoredTensors(data)
        assert torch.equal(stored["mean"], expected.mean) and torch.equal(stored["logvar"], expected.logvar)
        assert stored["mean"].dtype == dtype
        assert all(same(stored.variant(i), expected.texts[expected.variants[i]]) for i in range(4))
        start = torch.frombuffer(data, dtype=torch.uint8).data_ptr()
        assert start < stored["mean"].data_ptr() < start + len(data)


def test_a_write_into_a_view_never_reaches_the_file(tmp_path):
    workspace = Workspace(str(tmp_path))
    shard = write(workspace)
    before = workspace.read_bytes(shard.uri)
    StoredTensors(IndexedTar(workspace, shard.uri).read(0, "safetensors"))["mean"].zero_()
    assert workspace.read_bytes(shard.uri) == before


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves the file open
def test_other_tools_read_the_same_shards(tmp_path):
    workspace = Workspace(str(tmp_path))
    shard = write(workspace)
    with tarfile.open(fileobj=io.BytesIO(workspace.read_bytes(shard.uri))) as tar:
        assert tar.getnames()[:2] == ["clip0.json", "clip0.safetensors"]
    decode = webdataset.handle_extension("safetensors", load)
    path = str(workspace.local_path(shard.uri))
    for number, sample in enumerate(webdataset.WebDataset([path], shardshuffle=False).decode(decode)):
        assert sample["__key__"] == f"clip{number}" and sample["json"]["texts"] == ["a"]
        assert torch.equal(sample["safetensors"]["mean"], encoding(torch.float16, number).mean)


def test_the_same_clips_give_the_same_bytes_and_a_commit_that_names_them(tmp_path):
    one, two = Workspace(str(tmp_path / "one")), Workspace(str(tmp_path / "two"))
    assert write(one) == write(two)
    shard = write(one)
    assert one.read_bytes(shard.uri) == two.read_bytes(shard.uri)
    assert shard.clip_ids == ("clip0", "clip1", "clip2")
    other = write(one, shard_id="t")
    assert read_latent_shards(one, "key") == [shard, other]
    assert read_latent_shards(one, "another") == []


def test_what_was_being_written_when_its_writer_died_is_no_latent_shard(tmp_path):
    workspace = Workspace(str(tmp_path))
    shard = write(workspace)
    folder = workspace.local_path("latents", "key")
    (folder / ".aside-t-0123.json").write_text("{")
    (folder / "t-0123.tar").write_bytes(b"half")
    assert read_latent_shards(workspace, "key") == [shard]


def test_the_empty_text_is_kept_once_for_each_kind(tmp_path):
    workspace = Workspace(str(tmp_path))
    image, video = encoding(torch.bfloat16).texts
    write_empty(workspace, "key", {"image": image, "video": video})
    empty = read_empty(workspace, "key")
    assert same(empty["image"], image) and same(empty["video"], video)
