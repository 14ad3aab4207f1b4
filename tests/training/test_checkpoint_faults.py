"""What can go wrong with checkpoints: the run continues to the bit, or stops with the cause and the last good step."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from curation.records import UserError
from curation.tables import Workspace
from tests.training.checkpoint_worker import ROOT, STEPS, equal, launch_pair, values, walk
from training.checkpoint import CheckpointStore

KILLS = 20
FILES = ("model.rank-00000.safetensors", "optimizer.rank-00000.safetensors", "state.json")


def zeros() -> dict[str, dict[str, torch.Tensor]]:
    return {stem: {name: torch.zeros_like(value) for name, value in named.items()} for stem, named in values(0).items()}


@pytest.fixture
def store(tmp_path) -> CheckpointStore:
    store = CheckpointStore(Workspace(str(tmp_path)), "run", "dit", keep_last=3)
    for step in (5, 10, 15):
        store.save(step, values(step), {"position": step}, wait=True)
    return store


def flip_first(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def flip_middle(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :]


def flip_last(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 128])


def truncate(data: bytes) -> bytes:
    return data[: len(data) // 2]


def nothing(data: bytes) -> bytes:
    return data[:0]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [flip_first, flip_middle, flip_last, truncate, nothing])
def test_damage_is_named_and_what_the_message_says_to_do_continues_the_run(
    store: CheckpointStore, name: str, damage: Callable[[bytes], bytes]
) -> None:
    path = store.workspace.local_path("run", "dit", "step-000015", name)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=rf"step-000015/{name} is damaged.*continues from step 10") as caught:
        store.load_into(15, zeros())
    folder = re.search(r"remove (\S+) and", str(caught.value))
    assert folder
    assert Path(folder[1]) == path.parent
    shutil.rmtree(folder[1])
    assert store.steps() == [5, 10]
    found = zeros()
    store.load_into(10, found)
    assert equal(found, 10)


@pytest.mark.parametrize("name", FILES[:2])
def test_a_missing_file_is_named(store: CheckpointStore, name: str) -> None:
    store.workspace.local_path("run", "dit", "step-000015", name).unlink()
    with pytest.raises(UserError, match=rf"step-000015/{name} is damaged.*no such file.*continues from step 10"):
        store.load_into(15, zeros())


def test_a_changed_number_in_the_state_is_noticed(store: CheckpointStore) -> None:
    path = store.workspace.local_path("run", "dit", "step-000015", "state.json")
    path.write_text(path.read_text().replace('"position": 15', '"position": 16'))
    with pytest.raises(UserError, match=r"state.json is damaged.*continues from step 10"):
        store.state(15)


def test_a_step_that_is_called_good_is_good(store: CheckpointStore) -> None:
    for step in (10, 15):
        store.workspace.local_path("run", "dit", f"step-0000{step}", FILES[0]).write_bytes(b"")
    with pytest.raises(UserError, match="continues from step 5, which is whole"):
        store.load_into(15, zeros())
    store.workspace.local_path("run", "dit", "step-000005", FILES[1]).write_bytes(b"")
    with pytest.raises(UserError, match="the stage starts again"):
        store.load_whole(15, "model")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB, where this user may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_stops_the_run_with_the_last_good_step_and_room_lets_it_go_on(small_disk: Path) -> None:
    store = CheckpointStore(Workspace(str(small_disk)), "run", "dit", keep_last=5)
    large = {"model": {"weights": torch.arange(100_000, dtype=torch.float32)}}
    store.save(1, large, {})
    store.save(2, large, {})
    store.save(3, large, {})
    with pytest.raises(UserError, match=r"step 3 could not be written.*No space left.*last good checkpoint is step 2"):
        store.wait()
    assert store.steps() == [1, 2]
    assert not (small_disk / "run" / "dit" / "step-000003").exists()
    with pytest.raises(UserError, match="No space left"):
        store.save_result(3, large["model"], {})
    shutil.rmtree(small_disk / "run" / "dit" / "step-000001")
    store.save(3, large, {}, wait=True)
    found = {"model": {"weights": torch.zeros(100_000)}}
    store.load_into(3, found)
    assert torch.equal(found["model"]["weights"], large["model"]["weights"])


@pytest.mark.slow
def test_two_processes_share_a_checkpoint_and_one_that_ends_takes_nothing_with_it(tmp_path: Path) -> None:
    store = CheckpointStore(Workspace(str(tmp_path)), "run", "pair", keep_last=3)
    store.save(1, values(1), {}, wait=True)
    (first, second), codes = launch_pair(tmp_path)
    assert first["from_one_process"]
    assert second["from_one_process"]
    assert first["along_another_dimension"]
    assert second["along_another_dimension"]
    stems = [f"{stem}.rank-0000{rank}" for stem in ("model", "optimizer") for rank in (0, 1)]
    assert first["files"] == ["average", *stems]

    assert first["full_disk"] == second["full_disk"]
    assert re.search(r"step 3 .*process 1: .*File too large.*last good checkpoint is step 2", first["full_disk"])
    assert first["steps_after_full_disk"] == [1, 2]
    assert first["steps"] == [1, 2, 4]

    assert codes[1] < 0, "the kernel was to end the second process"
    assert re.search(r"step 5 .*another process ended.*last good checkpoint is step 4", first["killed"])
    assert store.steps() == [1, 2, 4]
    assert equal({stem: store.load_whole(2, stem) for stem in ("model", "optimizer")}, 2)
    assert torch.equal(store.load_whole(2, "average")["matrix"], values(2)["model"]["matrix"])
    alone = {"model": {"wide": torch.zeros(2000)}}
    store.load_into(4, alone)
    assert torch.equal(alone["model"]["wide"], torch.arange(2000.0))
    store.save(5, alone, {}, wait=True)
    assert store.steps() == [2, 4, 5]


@pytest.mark.slow
def test_kills_in_the_middle_of_writing_change_no_loss(tmp_path: Path) -> None:
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    for folder in (killed, undisturbed):
        folder.mkdir()
    command = [sys.executable, "-m", "tests.training.checkpoint_worker", "soak", str(killed), str(KILLS)]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    assert json.loads((killed / "torn.json").read_text())["torn"] > 0, "no kill fell into the writing of a checkpoint"

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        walk(CheckpointStore(Workspace(str(undisturbed)), "run", "soak"), undisturbed / "losses")
    finally:
        torch.set_num_threads(threads)
    assert len((killed / "losses").read_text().splitlines()) == STEPS
    assert (killed / "losses").read_text() == (undisturbed / "losses").read_text()
    states = [CheckpointStore(Workspace(str(folder)), "run", "soak").state(STEPS) for folder in (killed, undisturbed)]
    assert states[0] == states[1]
