"""Reading the index of files of weights, and one tensor at a time; every kind of damage is told by name."""

import json
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from model.weight_files import DTYPES, open_weights

TENSORS = {"a.weight": torch.randn(3, 4), "b": torch.arange(5, dtype=torch.bfloat16), "c": torch.tensor(7.0)}


class RunsCode:
    """What an attacker would put into a checkpoint: unpickled freely, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.folder,)


def _rewritten(path: Path, change: Any) -> Path:
    """The same safetensors file with a changed header."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_file(TENSORS, tmp_path / "model.safetensors", metadata={"format": "pt"})
    return tmp_path / "model.safetensors"


def test_safetensors_are_read_as_the_library_wrote_them(file: Path) -> None:
    weights = open_weights(file)
    assert set(weights.tensors) == set(TENSORS) and weights.metadata == {"format": "pt"}
    for name, tensor in TENSORS.items():
        read = weights.read(name)
        assert read.dtype == tensor.dtype and torch.equal(read, tensor)
    assert weights.num_bytes == 12 * 4 + 5 * 2 + 4


@pytest.mark.parametrize("kind", sorted(DTYPES))
def test_every_type_is_read(tmp_path: Path, kind: str) -> None:
    tensor = torch.tensor([[0, 1], [1, 0], [1, 1]]).to(DTYPES[kind])
    save_file({"x": tensor, "none": tensor[:0]}, tmp_path / "x.safetensors")
    torch.save({"x": tensor, "none": tensor[:0].clone()}, tmp_path / "x.pt")
    for path in (tmp_path / "x.safetensors", tmp_path / "x.pt"):
        weights = open_weights(path)
        assert torch.equal(weights.read("x").to(torch.float32), tensor.to(torch.float32))
        assert weights.read("x").dtype == DTYPES[kind] and weights.read("none").shape == (0, 2)


def test_views_in_a_pickle_are_read_as_what_they_show(tmp_path: Path) -> None:
    whole = torch.randn(6, 4)
    state = {"rows": whole[2:4], "turned": whole.t(), "every_other": whole[:, ::2], "whole": whole}
    torch.save(state, tmp_path / "x.pt")
    weights = open_weights(tmp_path / "x.pt")
    for name, tensor in state.items():
        assert torch.equal(weights.read(name), tensor) and weights.read(name).is_contiguous()


@pytest.mark.parametrize("wrappers", [(), ("module",), ("state_dict",), ("ema", "model")])
def test_wrappers_are_opened(tmp_path: Path, wrappers: tuple[str, ...]) -> None:
    state: dict[str, Any] = TENSORS
    for name in reversed(wrappers):
        state = {name: state, "step": 3}
    torch.save(state, tmp_path / "x.pt")
    weights = open_weights(tmp_path / "x.pt")
    assert weights.wrapper == wrappers and torch.equal(weights.read("a.weight"), TENSORS["a.weight"])


def test_of_average_and_plain_weights_one_is_chosen(tmp_path: Path) -> None:
    torch.save({"module": {"a": torch.zeros(2)}, "ema": {"a": torch.ones(2)}}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"holds several sets of weights: module, ema; choose one as the branch"):
        open_weights(tmp_path / "x.pt")
    for branch, value in (("module", 0.0), ("ema", 1.0)):
        assert open_weights(tmp_path / "x.pt", branch).read("a").tolist() == [value] * 2
    with pytest.raises(ValueError, match=r"several sets"):
        open_weights(tmp_path / "x.pt", "model")
    torch.save({"module": {"a": torch.zeros(2)}}, tmp_path / "y.pt")
    with pytest.raises(ValueError, match=r"has no branch 'ema'; it has module"):
        open_weights(tmp_path / "y.pt", "ema")


@pytest.mark.parametrize("depth", ["top", "inside"])
def test_a_pickle_that_wants_to_run_code_is_refused(tmp_path: Path, depth: str) -> None:
    code = RunsCode(tmp_path / "made")
    torch.save(code if depth == "top" else {"module": {"a": torch.zeros(2), "b": code}}, tmp_path / "x.pt")
    with pytest.raises(
        ValueError, match=r"wants more than tensors \(posix.mkdir\) and could run code; it is not opened"
    ):
        open_weights(tmp_path / "x.pt")
    assert not (tmp_path / "made").exists()
    torch.load(tmp_path / "x.pt", weights_only=False)
    assert (tmp_path / "made").exists(), "the pickle does run code where it may"


def test_what_is_no_dict_of_tensors_is_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(2)], tmp_path / "list.pt")
    with pytest.raises(ValueError, match=r"holds list, expected a dict of tensors by name"):
        open_weights(tmp_path / "list.pt")
    torch.save({"a": torch.zeros(2), "epoch": 3}, tmp_path / "mixed.pt")
    with pytest.raises(ValueError, match=r"entry 'epoch' is of type int, expected a tensor"):
        open_weights(tmp_path / "mixed.pt")


def test_a_pickle_cut_short_or_of_the_old_format_is_refused(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "x.pt")
    data = (tmp_path / "x.pt").read_bytes()
    (tmp_path / "x.pt").write_bytes(data[: len(data) // 2])
    (tmp_path / "old.pt").write_bytes(pickle.dumps({"a": 1}))
    for name in ("x.pt", "old.pt"):
        with pytest.raises(ValueError, match=r"no checkpoint of torch 1.6 or later, or is truncated"):
            open_weights(tmp_path / name)


def test_a_truncated_file_names_the_tensor_that_is_cut(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:-1])
    last = list(open_weights_order(data))[-1]
    with pytest.raises(
        ValueError, match=rf"is truncated: tensor '{last}' ends at byte {len(data)}, .* {len(data) - 1}"
    ):
        open_weights(file)
    file.write_bytes(data[:20])
    with pytest.raises(ValueError, match=r"is no safetensors file or is truncated: 20 bytes"):
        open_weights(file)
    file.write_bytes(data + b"x")
    with pytest.raises(ValueError, match=r"has 1 bytes after its last tensor"):
        open_weights(file)


def open_weights_order(data: bytes) -> list[str]:
    """Names by place in a safetensors file."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    header.pop("__metadata__")
    return sorted(header, key=lambda name: header[name]["data_offsets"])


def test_a_file_that_shrinks_while_it_is_read_is_noticed(file: Path) -> None:
    weights = open_weights(file)
    file.write_bytes(file.read_bytes()[:-4])
    last = list(weights.tensors)[-1]
    with pytest.raises(ValueError, match=rf"ends within tensor '{last}'"):
        weights.read(last)


def test_a_header_that_contradicts_itself_is_refused(file: Path) -> None:
    _rewritten(file, lambda header: header["a.weight"].update(shape=[3, 5]))
    with pytest.raises(ValueError, match=r"tensor 'a.weight' should take 60 bytes from byte"):
        open_weights(file)
    _rewritten(file, lambda header: header["a.weight"].update(shape=[3, 4], dtype="F4"))
    with pytest.raises(ValueError, match=r"tensor 'a.weight' has type F4; known are F64, F32"):
        open_weights(file)
    file.write_bytes(struct.pack("<Q", 4) + b"oops")
    with pytest.raises(ValueError, match=r"its header is not JSON"):
        open_weights(file)


def _sharded(folder: Path) -> Path:
    where = {}
    for i, (name, tensor) in enumerate(TENSORS.items()):
        save_file({name: tensor}, folder / f"model-{i}.safetensors")
        where[name] = f"model-{i}.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    return folder


def test_a_folder_of_shards_reads_as_one(tmp_path: Path) -> None:
    folder = _sharded(tmp_path)
    (folder / "config.json").write_text('{"_class_name": "X"}')
    for path in (folder, folder / "model.safetensors.index.json"):
        weights = open_weights(path)
        assert {name: weights.read(name).tolist() for name in TENSORS} == {k: v.tolist() for k, v in TENSORS.items()}
        assert len(weights.files) == 3 and weights.config == {"_class_name": "X"}


def test_shards_that_do_not_fit_their_index_are_refused(tmp_path: Path) -> None:
    folder = _sharded(tmp_path)
    save_file({"b": TENSORS["b"], "d": TENSORS["b"].clone()}, folder / "model-1.safetensors")
    with pytest.raises(ValueError, match=r"shard model-1.safetensors holds tensor 'd', of which .*index.json does not"):
        open_weights(folder)
    save_file({"x": TENSORS["b"]}, folder / "model-1.safetensors")
    with pytest.raises(ValueError, match=r"shard model-1.safetensors holds tensor 'b', which is not in it"):
        open_weights(folder)
    (folder / "model-1.safetensors").unlink()
    with pytest.raises(ValueError, match=r"shard model-1.safetensors of .* is missing; it holds tensor 'b' and 0 more"):
        open_weights(folder)
    (folder / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ValueError, match=r"names no shards"):
        open_weights(folder)
    (folder / "model.safetensors.index.json").write_text("{")
    with pytest.raises(ValueError, match=r"is not JSON"):
        open_weights(folder)


def test_a_path_that_says_too_little_is_refused(tmp_path: Path, file: Path) -> None:
    with pytest.raises(ValueError, match=r"no file or folder of weights at .*nowhere"):
        open_weights(tmp_path / "nowhere")
    save_file(TENSORS, tmp_path / "other.safetensors")
    (tmp_path / "vae").mkdir()
    with pytest.raises(
        ValueError, match=r"several sets of weights \(model.safetensors, other.safetensors\).*folders: vae"
    ):
        open_weights(tmp_path)
    with pytest.raises(ValueError, match=r"holds no weights; name one file"):
        open_weights(tmp_path / "vae")
    (tmp_path / "x.gguf").touch()
    with pytest.raises(ValueError, match=r"x.gguf has no ending that says what it is; known are .safetensors"):
        open_weights(tmp_path / "x.gguf")
