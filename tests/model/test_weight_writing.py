"""Files written one tensor at a time are what the libraries read; nothing half-written takes a name."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from model.weight_files import open_weights
from model.weight_writing import TensorSpec, shares_of, write_folder, write_pickle, write_safetensors

TENSORS = {
    "wide": torch.randn(5, 3),
    "turned": torch.randn(4, 6).t(),
    "narrow": torch.randn(7).bfloat16(),
    "one": torch.tensor(3.0),
    "none": torch.empty(0, 2),
}
SPECS = [TensorSpec(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in TENSORS.items()]


def _assert_same(found: dict[str, Tensor]) -> None:
    assert set(found) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor), name


def test_the_library_reads_what_is_written(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_safetensors(tmp_path / f"{name}.safetensors", SPECS, TENSORS.values(), {"who": "me"})
    _assert_same(load_file(tmp_path / "a.safetensors"))
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt", "who": "me"}
    data = (tmp_path / "a.safetensors").read_bytes()
    assert data == (tmp_path / "b.safetensors").read_bytes() and int.from_bytes(data[:8], "little") % 8 == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]


def test_torch_reads_the_pickle_that_is_written(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_pickle(tmp_path / f"{name}.pt", SPECS, TENSORS.values(), "module")
    for mmap in (False, True):
        loaded = torch.load(tmp_path / "a.pt", weights_only=True, mmap=mmap)
        assert list(loaded) == ["module"]
        _assert_same(loaded["module"])
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_shards_hold_everything_once_and_none_is_larger_than_asked(tmp_path: Path) -> None:
    assert [[spec.name for spec in share] for share in shares_of(SPECS, 74)] == [
        ["wide"],
        ["turned"],
        ["narrow", "one", "none"],
    ]
    write_folder(tmp_path / "x", "model", SPECS, TENSORS.values(), {}, shard_bytes=74, config={"width": 3})
    index = json.loads((tmp_path / "x" / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in TENSORS.values())
    found: dict[str, Tensor] = {}
    for shard in sorted((tmp_path / "x").glob("model-0000?-of-00003.safetensors")):
        tensors = load_file(shard)
        assert all(index["weight_map"][name] == shard.name for name in tensors)
        found |= tensors
    _assert_same(found)
    weights = open_weights(tmp_path / "x")
    _assert_same({name: weights.read(name) for name in weights.tensors})
    assert weights.config == {"width": 3}


def test_what_fits_one_file_gets_no_index(tmp_path: Path) -> None:
    write_folder(tmp_path / "x", "model", SPECS, TENSORS.values(), {}, shard_bytes=1000)
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize("kind", ["file", "folder", "pickle"])
def test_a_writer_that_fails_leaves_nothing_and_the_next_one_succeeds(tmp_path: Path, kind: str) -> None:
    def broken() -> Iterator[Tensor]:
        yield TENSORS["wide"]
        raise ValueError("the source is gone")

    def write(tensors: Iterator[Tensor]) -> None:
        if kind == "file":
            write_safetensors(tmp_path / "x", SPECS, tensors, {})
        elif kind == "folder":
            write_folder(tmp_path / "x", "model", SPECS, tensors, {}, shard_bytes=74)
        else:
            write_pickle(tmp_path / "x.pt", SPECS, tensors, "module")

    with pytest.raises(ValueError, match="the source is gone"):
        write(broken())
    assert list(tmp_path.iterdir()) == []
    (tmp_path / (".aside-x.pt" if kind == "pickle" else ".aside-x")).touch()  # of a killed writer
    write(iter(TENSORS.values()))
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_text("mine")
    with pytest.raises(ValueError, match=r"x.safetensors is there already; nothing is overwritten"):
        write_safetensors(tmp_path / "x.safetensors", SPECS, TENSORS.values(), {})
    assert (tmp_path / "x.safetensors").read_text() == "mine"
    with pytest.raises(ValueError, match=r"there is no folder .*nowhere to write x into"):
        write_folder(tmp_path / "nowhere" / "x", "model", SPECS, TENSORS.values(), {}, 1000)


def test_a_disk_too_small_is_noticed_before_anything_is_written(tmp_path: Path) -> None:
    vast = [TensorSpec("vast", torch.float32, (10**9, 10**6))]
    with pytest.raises(ValueError, match=r"x.safetensors needs 4,000,000,000,000,000 bytes, .* free; make room"):
        write_safetensors(tmp_path / "x.safetensors", vast, (), {})
    assert list(tmp_path.iterdir()) == []
