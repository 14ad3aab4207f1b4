"""Opening a workspace: proven writable, or said what is wrong."""

import pytest

from curation.records import UserError
from jobs.storage import open_workspace


def test_a_new_folder_is_made_and_marked(tmp_path):
    workspace = open_workspace(str(tmp_path / "new/ws"))
    assert workspace.exists("WORKSPACE")


@pytest.mark.parametrize("uri", ["gopher://host/ws", "/proc/nowhere/ws"])
def test_what_cannot_be_written_is_refused_with_what_would_work(uri):
    with pytest.raises(UserError, match=rf"cannot write to workspace {uri}.*give a folder or s3://bucket/prefix"):
        open_workspace(uri)


def test_a_workspace_to_be_read_is_not_made_nor_written_to(tmp_path):
    with pytest.raises(UserError, match="is no workspace yet; give the folder or s3://bucket/prefix"):
        open_workspace(str(tmp_path / "ws"), writable=False)
    assert not (tmp_path / "ws").exists()
    open_workspace(str(tmp_path / "ws"))
    before = (tmp_path / "ws/WORKSPACE").stat().st_mtime_ns
    assert open_workspace(str(tmp_path / "ws"), writable=False).exists("WORKSPACE")
    assert (tmp_path / "ws/WORKSPACE").stat().st_mtime_ns == before
