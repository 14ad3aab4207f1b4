"""Checkpoints: whole or not there, kept in number, written beside the training, checked on load."""

import threading

import pytest
import torch

from curation.records import UserError
from curation.tables import Workspace
from model.weight_files import open_weights
from tests.flaky_store import flaky_store
from tests.training.checkpoint_worker import equal, values
from training.checkpoint import CheckpointStore


class GatedWorkspace(Workspace):
    """A workspace whose small files wait for a gate."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self.gate = threading.Event()

    def write_bytes(self, data: bytes, *parts: str) -> None:
        assert self.gate.wait(timeout=60)
        super().write_bytes(data, *parts)


@pytest.fixture
def store(tmp_path) -> CheckpointStore:
    return CheckpointStore(Workspace(str(tmp_path)), "run", "vae", keep_last=2)


def save(store: CheckpointStore, *steps: int) -> None:
    for step in steps:
        store.save(step, values(step), {"stream": {"image": {"epoch": 1, "position": step}}}, wait=True)


def empty() -> dict[str, dict[str, torch.Tensor]]:
    return {
        stem: {name: torch.zeros_like(tensor) for name, tensor in named.items()} for stem, named in values(0).items()
    }


def test_what_was_saved_is_loaded_in_place_with_its_types_and_scalars(store):
    save(store, 3)
    found = empty()
    store.load_into(3, found)
    assert equal(found, 3)
    assert found["optimizer"]["step"].shape == ()
    assert store.state(3)["stream"] == {"image": {"epoch": 1, "position": 3}}
    assert equal({stem: store.load_whole(3, stem) for stem in found}, 3)


def test_some_stems_and_names_can_be_loaded_alone(store):
    save(store, 3)
    found = {"model": {"matrix": torch.zeros(7, 5)}}
    store.load_into(3, found)
    assert torch.equal(found["model"]["matrix"], values(3)["model"]["matrix"])


def test_a_tensor_that_is_not_there_or_has_another_shape_is_refused(store):
    save(store, 3)
    with pytest.raises(RuntimeError, match="model/other"):
        store.load_into(3, {"model": {"other": torch.zeros(2)}})
    with pytest.raises(ValueError, match="Size mismatch"):
        store.load_into(3, {"model": {"matrix": torch.zeros(5, 7)}})


def test_equal_states_give_equal_bytes(store, tmp_path):
    other = CheckpointStore(Workspace(str(tmp_path / "other")), "run", "vae")
    save(store, 1)
    save(other, 1)
    assert store.state(1) == other.state(1)


def test_the_training_goes_on_and_changes_its_weights_while_they_are_written(tmp_path):
    workspace = GatedWorkspace(str(tmp_path))
    store = CheckpointStore(workspace, "run", "vae")
    tensors, facts = values(1), {"losses": [0.5]}
    store.save(1, tensors, facts)
    facts["losses"].append(0.4)
    for named in tensors.values():
        for tensor in named.values():
            tensor.zero_()
    assert store.steps() == []
    workspace.gate.set()
    store.wait()
    assert store.steps() == [1]
    assert store.state(1)["losses"] == [0.5]
    assert equal({stem: store.load_whole(1, stem) for stem in tensors}, 1)


def test_a_second_checkpoint_waits_for_the_first(store):
    for step in (1, 2, 3):
        store.save(step, values(step), {})
        assert store.steps() == list(range(1, step))[-2:]
    store.wait()
    assert store.steps() == [2, 3]


def test_only_the_last_ones_are_kept(store):
    save(store, 5, 10, 15, 20)
    assert store.steps() == [15, 20]
    assert {path.name for path in store.workspace.local_path("run", "vae").iterdir()} == {"step-000015", "step-000020"}


def test_what_a_killed_writer_left_is_not_read_and_goes_with_the_next_save(store):
    save(store, 5)
    torn = store.workspace.local_path("run", "vae", "step-000010")
    torn.mkdir()
    (torn / "model.rank-00007.safetensors").write_bytes(b"half")
    assert store.steps() == [5]
    save(store, 10)
    assert sorted(path.name for path in torn.iterdir()) == [
        "model.rank-00000.safetensors",
        "optimizer.rank-00000.safetensors",
        "state.json",
    ]


def test_the_result_is_one_file_of_whole_tensors(store):
    average = {"b": torch.arange(6.0).reshape(2, 3).T, "a": torch.arange(3, dtype=torch.uint8)}
    store.save_result(9, average, {"result": {"network": "vae"}})
    path = store.workspace.local_path(*store.file_parts(9, "average"))
    stored = open_weights(path)
    assert list(stored.tensors) == ["b", "a"]
    for name, tensor in average.items():
        assert torch.equal(stored.read(name), tensor)
        assert torch.equal(store.load_whole(9, "average")[name], tensor)
    assert list(store.state(9)["sha256"]) == ["average"]


def test_facts_that_json_cannot_hold_are_refused_before_anything_is_written(store):
    with pytest.raises(TypeError, match="set"):
        store.save(1, values(1), {"seen": {1, 2}})
    assert not store.workspace.exists("run")


def test_an_object_store_holds_checkpoints_too():
    with flaky_store(0.0, seed=1) as (bucket, _):
        store = CheckpointStore(Workspace(f"{bucket}/ws"), "run", "vae", keep_last=1)
        save(store, 1, 2)
        assert store.steps() == [2]
        assert equal({stem: store.load_whole(2, stem) for stem in values(2)}, 2)
        with store.workspace.fs.open_output_stream(
            store.workspace.path(*store.file_parts(2, "model.rank-00000"))
        ) as file:
            file.write(b"other")
        with pytest.raises(UserError, match=r"model.rank-00000.safetensors is damaged.*the stage starts again"):
            store.load_into(2, empty())
