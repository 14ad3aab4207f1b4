"""Checkpoints: whole or not there, kept in number, checked on load."""

import pytest
import torch

from curation.records import UserError
from curation.tables import Workspace
from training.checkpoint import Checkpoint, CheckpointStore


def checkpoint(step: int) -> Checkpoint:
    tensors = {"model": {"w": torch.full((2, 3), float(step))}, "average": {"w": torch.zeros(2, 3).T}}
    return Checkpoint(step, tensors, {"stream": {"image": {"epoch": 1, "position": step}}})


@pytest.fixture
def store(tmp_path) -> CheckpointStore:
    return CheckpointStore(Workspace(str(tmp_path)), "run", "vae", keep_last=2)


def test_what_was_saved_is_loaded(store):
    store.save(checkpoint(3))
    loaded = store.load(3)
    assert loaded.state["stream"] == {"image": {"epoch": 1, "position": 3}}
    assert loaded.tensors.keys() == {"model", "average"}
    assert torch.equal(loaded.tensors["model"]["w"], torch.full((2, 3), 3.0))
    assert loaded.tensors["average"]["w"].shape == (3, 2)
    assert store.load(3, ("average",)).tensors.keys() == {"average"}


def test_equal_states_give_equal_bytes(store, tmp_path):
    other = CheckpointStore(Workspace(str(tmp_path / "other")), "run", "vae")
    for each in (store, other):
        each.save(checkpoint(1))
    assert store.state(1) == other.state(1)


def test_only_the_last_ones_are_kept(store):
    for step in (5, 10, 15, 20):
        store.save(checkpoint(step))
    assert store.steps() == [15, 20]
    assert {path.name for path in store.workspace.local_path("run", "vae").iterdir()} == {"step-000015", "step-000020"}


def test_what_a_killed_writer_left_is_not_read_and_goes_with_the_next_save(store):
    store.save(checkpoint(5))
    torn = store.workspace.local_path("run", "vae", "step-000010")
    torn.mkdir()
    (torn / "model.safetensors").write_bytes(b"half")
    assert store.steps() == [5]
    store.save(checkpoint(10))
    assert torch.equal(store.load(10).tensors["model"]["w"], torch.full((2, 3), 10.0))


def test_a_flipped_byte_is_refused_and_the_last_good_step_named(store):
    store.save(checkpoint(5))
    store.save(checkpoint(10))
    path = store.workspace.local_path("run", "vae", "step-000010", "average.safetensors")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    assert store.load(10, ("model",)).step == 10
    with pytest.raises(UserError, match=r"step-000010/average.safetensors is damaged.*continues from step 5"):
        store.load(10)
    path.unlink()
    with pytest.raises(UserError, match=r"remove .*step-000010 and"):
        store.load(10)


def test_without_an_earlier_step_the_stage_starts_again(store):
    store.save(checkpoint(5))
    store.workspace.local_path("run", "vae", "step-000005", "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="the stage starts again"):
        store.load(5)
