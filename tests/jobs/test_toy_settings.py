"""Sets whose clips the networks could not take are refused when the recipe is read."""

from pathlib import Path

import pytest

from curation.records import UserError
from jobs import toy_settings
from jobs.config import load_recipe

RECIPE = Path(toy_settings.__file__).parent / "recipes" / "tiny.toml"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("toy.sets.long.num_frames=8", r"4n \+ 1 \(1, 5, 9, \.\.\.\), got 8"),
        ("toy.sets.long.size_px=40", "multiple of 16"),
        ("toy.scenes=12", "greater than or equal to 48"),
    ],
)
def test_a_set_that_cannot_be_trained_on_is_refused(override: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        load_recipe(RECIPE, [override])
