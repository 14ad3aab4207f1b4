"""Degrees of parallelism."""

import pytest
from pydantic import ValidationError

from training.parallel_settings import ParallelSettings


def test_a_samples_tokens_are_shared_by_heads_times_ring():
    assert ParallelSettings(ulysses=4, ring=2).context == 8


@pytest.mark.parametrize("given", [{"ring": 0}, {"precision": "float16"}, {"tensor": 2}])
def test_what_cannot_be_is_refused_by_name(given):
    with pytest.raises(ValidationError, match=next(iter(given))):
        ParallelSettings(**given)
