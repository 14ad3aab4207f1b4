"""Footage rendered once per test session, since 23 forms of the same shots take about 8 s to encode."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.footage import Cuts, hard_file


@pytest.fixture(scope="session")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Cuts]:
    """The file of a form of `tests.footage.HARD_NAMES`, rendered when first asked for."""
    folder = tmp_path_factory.mktemp("hard")
    made: dict[str, Cuts] = {}

    def get(name: str) -> Cuts:
        if name not in made:
            made[name] = hard_file(folder, name)
        return made[name]

    return get


@pytest.fixture(scope="session")
def real_footage() -> Path:
    """The folder of real footage beside the project; tests that need it skip where it is absent."""
    folder = Path(__file__).resolve().parents[2].parent / "shared" / "videos"
    if not folder.is_dir():
        pytest.skip(f"no real footage in {folder}")
    return folder
