"""The script for a GPU, whole and at tiny size on a CPU: every bucket, checkpointing, offload and compiling."""

import json

import pytest
import torch

from tests.bench.dit_gpu import SMALL
from tests.bench.train_gpu import main, runs


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler
def test_every_run_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert main(["--device", "cpu", "--preset", "tiny", "--rounds", "1"]) == 0
    finally:
        torch.set_num_threads(threads)
    *rows, results = map(json.loads, capsys.readouterr().out.splitlines())
    assert [row["run"] for row in rows] == [run.name for run in runs(SMALL)]
    assert len({row["run"] for row in rows}) == len(rows)
    assert all("left_out" not in row and row["mfu_of_measured_peak"] > 0 for row in rows), rows
    assert all(f"mfu_{row['run']}" in results for row in rows)


def test_a_spent_budget_is_named_for_everything_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--device", "cpu", "--preset", "tiny", "--budget", "0"]) == 0
    *rows, results = map(json.loads, capsys.readouterr().out.splitlines())
    assert rows and all("budget of 0 s" in row["left_out"] for row in rows)
    assert results == {}
