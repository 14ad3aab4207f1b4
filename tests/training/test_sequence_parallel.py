"""Two and four processes that share one row of tokens, against each of them alone."""

from typing import Any

import pytest

from tests.training.sequence_parallel_worker import DEGREES, launch


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return launch(tmp_path_factory.mktemp("processes"))


@pytest.mark.slow
@pytest.mark.parametrize("degree", DEGREES)
@pytest.mark.parametrize("row", ["alone", "packed"])
def test_processes_that_share_a_row_answer_as_one(found: list[dict[str, Any]], degree: int, row: str) -> None:
    ranks = [rank[str(degree)][row] for rank in found[:degree]]
    assert max(rank["forward"] for rank in ranks) <= 1e-5
    assert max(rank["gradients"] for rank in ranks) <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("degree", DEGREES)
def test_sampling_runs_unchanged_on_every_process(found: list[dict[str, Any]], degree: int) -> None:
    assert max(rank[str(degree)]["sample"] for rank in found[:degree]) <= 1e-5


@pytest.mark.slow
def test_every_process_holds_its_share_of_the_tokens(found: list[dict[str, Any]]) -> None:
    assert [rank["4"]["alone"]["tokens"] for rank in found] == [12, 11, 11, 11]
    assert [rank["2"]["alone"]["tokens"] for rank in found[:2]] == [23, 22]
