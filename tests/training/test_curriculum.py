"""Runs over real shards: exact resume, killed processes, accounting of clips, refusals."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from curation.records import UserError
from curation.tables import Workspace
from tests.training.moving_shapes import pack_shapes
from training.curriculum import TrainingRun
from training.stages import StageSettings, TrainSettings
from training.trained import find_trained, load_trained, newest_run

VAE = StageSettings(
    name="vae", objective="vae", shards={"image": 1, "video": 1}, steps=6, batch=2, crop_px=16, crop_frames=5,
    log_every=2, checkpoint_every=3, warmup_steps=2, learning_rate=2e-4,
)  # fmt: skip
MIXED = StageSettings(
    name="mixed", shards={"video": 3, "image": 1}, steps=6, batch=4, log_every=4, checkpoint_every=3, warmup_steps=2,
    learning_rate=1e-3,
)  # fmt: skip
SETTINGS = TrainSettings(threads=1, stages=(VAE, MIXED))


def train_all(workspace: Workspace, settings: TrainSettings = SETTINGS, stop_after: int | None = None) -> TrainingRun:
    """Walk the stages; an exception ends the walk after so many steps in all, as a kill would."""
    run = TrainingRun(workspace, settings)
    done = 0

    def count(step: int, loss: float | None) -> None:
        nonlocal done
        done += 1
        if done == stop_after:
            raise InterruptedError

    for stage in settings.stages:
        run.train(stage, count)
    return run


def trace(run: TrainingRun) -> list[dict]:
    """The metrics rows as they lie in the file, without what the clock says."""
    lines = run.workspace.read_bytes("checkpoints", run.run_id, "metrics.jsonl").decode().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "speed"} for line in lines]


def weights(run: TrainingRun) -> dict[str, torch.Tensor]:
    tensors = {}
    for stage in run.settings.stages:
        for stem, group in run.store(stage).load(stage.steps).tensors.items():
            tensors |= {f"{stage.name}/{stem}/{name}": value for name, value in group.items()}
    return tensors


def assert_same_bits(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> TrainingRun:
    torch.set_num_threads(1)
    workspace = Workspace(str(tmp_path_factory.mktemp("undisturbed")))
    pack_shapes(workspace, "image", count=8)
    pack_shapes(workspace, "video", count=4, num_frames=5)
    return train_all(workspace)


@pytest.mark.parametrize("stop_after", [3, 5, 9, 11])
def test_a_stopped_run_continues_with_the_same_bits(shapes, undisturbed, stop_after):
    with pytest.raises(InterruptedError):
        train_all(shapes, stop_after=stop_after)
    resumed = train_all(shapes)
    assert trace(resumed) == trace(undisturbed)
    assert_same_bits(weights(resumed), weights(undisturbed))


@pytest.mark.slow
def test_a_run_in_an_object_store_resumes_with_the_same_bits(object_store, undisturbed):
    pack_shapes(object_store, "image", count=8)
    pack_shapes(object_store, "video", count=4, num_frames=5)
    with pytest.raises(InterruptedError):
        train_all(object_store, stop_after=10)
    resumed = train_all(object_store)
    assert trace(resumed) == trace(undisturbed)
    assert_same_bits(weights(resumed), weights(undisturbed))
    found = find_trained(object_store, newest_run(object_store))
    assert found.weights_sha256 == find_trained(undisturbed.workspace, undisturbed.run_id).weights_sha256
    assert load_trained(object_store, found).text.width == 128


def test_a_finished_stage_is_not_trained_again(undisturbed):
    before = undisturbed.workspace.read_bytes("checkpoints", undisturbed.run_id, "metrics.jsonl")

    def refuse(step: int, loss: float | None) -> None:
        raise AssertionError("trained again")

    again = TrainingRun(undisturbed.workspace, SETTINGS)
    results = [again.train(stage, refuse) for stage in SETTINGS.stages]
    assert [result.began_at_step for result in results] == [6, 6]
    assert results[0].after is not None
    assert undisturbed.workspace.read_bytes("checkpoints", undisturbed.run_id, "metrics.jsonl") == before


def test_held_out_loss_is_measured_before_and_after_and_falls(undisturbed):
    for stage in SETTINGS.stages:
        rows = undisturbed.metrics.held_out(stage.name)
        assert [row["step"] for row in rows] == [0, 6]
        assert rows[1]["loss"] < rows[0]["loss"]
    assert set(undisturbed.metrics.held_out("mixed")[0]["parts"]) == {f"noise_{s}" for s in (0.1, 0.3, 0.5, 0.7, 0.9)}


def test_every_packed_clip_is_trained_on_or_held_out_and_the_table_can_tell(undisturbed):
    for stage in SETTINGS.stages:
        result = undisturbed.train(stage, lambda step, loss: None)
        reads = undisturbed.reads(stage)
        assert result.num_packed == 12 == result.num_trainable + result.num_held_out
        assert sum(read.times for read in reads) == stage.steps * stage.batch
        assert all(1 <= read.first_step <= read.last_step <= stage.steps for read in reads)
        assert undisturbed.held_out_ids.isdisjoint(read.clip_id for read in reads)


def test_changed_settings_or_changed_shards_are_a_new_run(undisturbed, shapes):
    assert TrainingRun(shapes, SETTINGS).run_id == undisturbed.run_id
    assert TrainingRun(shapes, SETTINGS.model_copy(update={"seed": 1})).run_id != undisturbed.run_id
    pack_shapes(shapes, "image", count=7)
    assert TrainingRun(shapes, SETTINGS).run_id != undisturbed.run_id


def test_a_stage_without_shards_is_refused_by_name(tmp_path):
    with pytest.raises(UserError, match=r"curation stage 'image'.*\[pack.stages.image\].*dailies pack"):
        TrainingRun(Workspace(str(tmp_path)), SETTINGS)


def test_a_recipe_without_stages_or_with_an_unknown_preset_is_refused(shapes):
    with pytest.raises(UserError, match=r"no \[\[train.stages\]\]"):
        TrainingRun(shapes, TrainSettings())
    with pytest.raises(UserError, match=r"train.vae = 'huge' is no preset; there are full, .*tiny"):
        TrainingRun(shapes, SETTINGS.model_copy(update={"vae": "huge"}))


def test_a_loss_that_is_not_a_number_stops_the_run_and_names_the_last_good_checkpoint(shapes):
    wild = VAE.model_copy(update={"learning_rate": 1e30, "warmup_steps": 1000, "weight_decay": 1e9, "steps": 1000})
    with pytest.raises(UserError, match=r"stage 'vae', step \d+: loss (nan|inf).*last good checkpoint|no checkpoint"):
        train_all(shapes, TrainSettings(threads=1, stages=(wild,)))


def test_a_shard_that_is_damaged_while_it_is_read_stops_the_run_and_names_the_last_good_checkpoint(tmp_path):
    workspace = Workspace(str(tmp_path))
    pack_shapes(workspace, "image", count=8)
    stage = VAE.model_copy(update={"shards": {"image": 1}, "steps": 6, "checkpoint_every": 2})
    run = TrainingRun(workspace, TrainSettings(threads=1, stages=(stage,), cache_mb=0))

    def damage(step: int, loss: float | None) -> None:
        if step == 3:
            (path,) = tmp_path.rglob("*.tar")
            data = bytearray(path.read_bytes())
            for place in range(1000, len(data), 700):
                data[place] ^= 0x55
            path.write_bytes(bytes(data))

    with pytest.raises(
        UserError, match=r"stage 'vae': clip \w+ of shard .*tar.*; the last good checkpoint is step [24] in "
    ):
        run.train(stage, damage)


KILLED = """
import sys, os, signal
from curation.tables import Workspace
from tests.training.test_curriculum import SETTINGS
from training.curriculum import TrainingRun
import torch

torch.set_num_threads(1)
run = TrainingRun(Workspace(sys.argv[1]), SETTINGS)
remaining = int(sys.argv[2])

def count(step, loss):
    global remaining
    remaining -= 1
    if remaining == 0:
        os.kill(os.getpid(), signal.SIGKILL)

for stage in SETTINGS.stages:
    run.train(stage, count)
"""


@pytest.mark.slow
def test_a_killed_process_is_continued_with_the_same_bits(shapes, undisturbed):
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    for steps_until_kill in (4, 4):
        command = [sys.executable, "-c", KILLED, shapes.uri, str(steps_until_kill)]
        outcome = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
        assert outcome.returncode == -signal.SIGKILL, outcome.stderr
    resumed = train_all(shapes)
    assert trace(resumed) == trace(undisturbed)
    assert_same_bits(weights(resumed), weights(undisturbed))
