"""What stands in the way of a connection is said in words."""

import pytest

from annotation.connection import connect, stop_server
from annotation.project import API_KEY_VARIABLE, AnnotationSettings
from curation.records import UserError
from curation.tables import Workspace


def test_a_server_that_is_not_ours_needs_its_key_in_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv(API_KEY_VARIABLE, raising=False)
    with pytest.raises(UserError, match=API_KEY_VARIABLE):
        connect(Workspace(str(tmp_path)), AnnotationSettings(url="http://127.0.0.1:9"))


def test_a_workspace_without_a_local_folder_is_refused_with_the_reason(tmp_path):
    elsewhere = Workspace(str(tmp_path))
    elsewhere.fs = object()  # anything but a local file system
    with pytest.raises(UserError, match="local folder"):
        connect(elsewhere, AnnotationSettings())
    assert not stop_server(elsewhere)


def test_stopping_where_nothing_runs_does_nothing(tmp_path):
    assert not stop_server(Workspace(str(tmp_path)))
