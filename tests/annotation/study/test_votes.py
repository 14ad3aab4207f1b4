"""Some of the answers are a study of their own, with the names of the whole."""

import numpy as np
import pytest

from annotation.study.axes import ALL_AXES
from annotation.study.votes import PairVotes
from tests.annotation.study.passing import pass_study


def pair_study():
    generator = np.random.default_rng(0)
    first, prompt, judge = (generator.integers(size, size=50).astype(np.int32) for size in (3, 10, 5))
    answers = generator.integers(3, size=(50, 4)).astype(np.int8)
    systems, prompts, judges = (tuple(f"{name}{place}" for place in range(10)) for name in "spj")
    return PairVotes(systems, prompts, judges, ALL_AXES, first, first + 1, prompt, judge, answers)


@pytest.mark.parametrize(
    "votes", [pair_study(), pass_study(np.random.default_rng(0), prompts=10)], ids=["pair", "pass"]
)
def test_chosen_answers_keep_their_columns_together_and_their_names(votes):
    mask = votes.judge_N == 2
    for rows in (mask, np.flatnonzero(mask)):
        found = votes.chosen(rows)
        assert len(found) == mask.sum() and 0 < len(found) < len(votes)
        for name, column in vars(votes).items():
            if isinstance(column, np.ndarray):
                np.testing.assert_array_equal(getattr(found, name), column[mask])
            else:
                assert getattr(found, name) == column
