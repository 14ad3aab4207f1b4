"""The script for a GPU, whole and at tiny size on a CPU: every network, backend, compiler and recomputation."""

import json

import pytest
import torch

from tests.bench.dit_gpu import SMALL, main, variants


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler and of diffusers, which are only compared with
def test_every_path_runs_and_answers_alike(capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert main(["--device", "cpu", "--preset", "tiny", "--rounds", "1"]) == 0
    finally:
        torch.set_num_threads(threads)
    peak, *rows, ratios = map(json.loads, capsys.readouterr().out.splitlines())
    assert peak["peak_tflop_per_s"] > 0
    assert [(row["bucket"], row["variant"]) for row in rows] == [
        (bucket.name, variant.name) for bucket in SMALL for variant in variants(cuda=False)
    ]
    assert all("left_out" not in row and row["error"] < 1e-4 for row in rows), rows
    assert all(
        f"ratio_{bucket.name}_{rival}" in ratios for bucket in SMALL for rival in ("diffusers", "diffusers_compiled")
    )


def test_a_spent_budget_is_named_for_everything_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--device", "cpu", "--preset", "tiny", "--budget", "0"]) == 0
    _, *rows, ratios = map(json.loads, capsys.readouterr().out.splitlines())
    assert rows and all("budget of 0 s" in row["left_out"] for row in rows)
    assert ratios == {}
