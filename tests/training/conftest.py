"""Workspaces with packed moving shapes."""

import pytest
import torch

from curation.tables import Workspace
from tests.training.moving_shapes import pack_shapes


@pytest.fixture(autouse=True)
def one_thread():
    """Few, small matrices: one thread is fastest, and sums do not depend on the machine's cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def shapes(tmp_path) -> Workspace:
    """8 images of 64 px and 4 clips of 5 frames, which show the same shapes as the first images."""
    workspace = Workspace(str(tmp_path / "workspace"))
    pack_shapes(workspace, "image", count=8)
    pack_shapes(workspace, "video", count=4, num_frames=5)
    return workspace
