"""Every row of the parity table, held to its tolerance."""

import pytest

from tests.model.parity import ROWS, Row


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_difference_is_within_the_tolerance_of(row: Row) -> None:
    assert row.measure() <= row.tolerance
