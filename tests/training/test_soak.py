"""A run killed again and again, and a run that goes on with another number of processes. The long form is soak.py."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.training.soak import KINDS, Run, soak

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Run:
    """A run on one process, from its first step to its last."""
    run = Run(tmp_path_factory.mktemp("one"))
    run.finish()
    return run


def steps(run: Run, stage: str) -> list[dict[str, Any]]:
    return [row for row in run.outcome()[0] if row["kind"] == "step" and row["stage"] == stage]


def copied(run: Run, folder: Path, num_ranks: int, without: tuple[str, ...]) -> Run:
    """The run in another folder, as if the stages named had not begun."""
    shutil.copytree(run.folder, folder)
    again = object.__new__(Run)
    again.folder, again.num_ranks, again.loader_workers = folder, num_ranks, 0
    for stage in without:
        for path in folder.glob(f"checkpoints/*/{stage}"):
            shutil.rmtree(path)
    return again


def test_two_processes_see_the_same_samples_and_the_same_losses_as_one(finished, tmp_path):
    two = copied(finished, tmp_path / "two", 2, without=("flow", "distill"))
    two.finish()
    for one, both in zip(steps(finished, "flow"), steps(two, "flow"), strict=True):
        assert (one["samples"], one["tokens"]) == (both["samples"], both["tokens"])
    one, both = steps(finished, "flow")[0], steps(two, "flow")[0]
    assert both["loss"] == pytest.approx(one["loss"], abs=1e-6)
    assert both["gradient_norm"] == pytest.approx(one["gradient_norm"], rel=1e-5)
    assert both["noise"] == pytest.approx(one["noise"], abs=1e-6)
    # AdamW's first steps turn gradients that are mere rounding into whole steps, so later losses only stay close
    assert steps(two, "flow")[-1]["loss"] == pytest.approx(steps(finished, "flow")[-1]["loss"], abs=0.02)


def test_a_run_of_two_processes_is_continued_by_one_with_the_same_order_of_samples(finished, tmp_path):
    run = copied(finished, tmp_path / "mixed", 2, without=("flow", "distill"))
    assert run.start("flow:7").wait() != 0
    run.num_ranks = 1
    run.finish()
    assert [row["step"] for row in steps(run, "flow")] == list(range(1, 13))
    for one, both in zip(steps(finished, "flow"), steps(run, "flow"), strict=True):
        assert (one["samples"], one["tokens"]) == (both["samples"], both["tokens"])
        assert one["noise"].keys() == both["noise"].keys()  # which times were drawn follows from the samples
    states = [each.outcome()[1]["flow"] for each in (finished, run)]
    assert states[0]["planner"] == states[1]["planner"]


def test_kills_of_the_process_in_a_checkpoint_and_of_a_loader_worker_change_no_bit(tmp_path):
    hits = soak(3, seed=3, num_ranks=1, kinds=KINDS, scratch=tmp_path)
    assert sum(hits.values()) == 3
