"""What tests of several rooms share: the one Label Studio of a test run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from annotation.connection import stop_server
from curation.tables import Workspace

LABEL_STUDIO_VENV = Path(__file__).resolve().parents[1] / ".venv-labelstudio"


@pytest.fixture(scope="session")
def label_studio_workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A workspace whose embedded server the first test that connects starts; tests keep apart by project title."""
    if not (LABEL_STUDIO_VENV / "bin" / "label-studio").exists():
        pytest.skip(f"Label Studio is not installed in {LABEL_STUDIO_VENV}; `make install-labelstudio` installs it")
    workspace = Workspace(str(tmp_path_factory.mktemp("people") / "ws"))
    yield workspace
    stop_server(workspace)
