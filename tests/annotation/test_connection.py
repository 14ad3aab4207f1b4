"""What stands in the way of a connection is said in words."""

import httpx
import pytest

from annotation.accounts import ADMIN, signed_in
from annotation.connection import HOME, MEDIA, connect, stop_server
from annotation.media import media_addresses
from annotation.preflight import check_addresses
from annotation.project import API_KEY_VARIABLE, FAST, AnnotationSettings
from annotation.routing import RoutingSettings
from annotation.server import ServerSettings
from annotation.tasks import proxy_path, to_task
from curation.records import Caption, UserError
from curation.tables import Workspace
from tests.annotation.footage import clip
from tests.conftest import LABEL_STUDIO_VENV
from tests.flaky_store import flaky_store
from tests.footage import moving_texture


def test_a_server_that_is_not_ours_needs_its_key_in_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv(API_KEY_VARIABLE, raising=False)
    with pytest.raises(UserError, match=API_KEY_VARIABLE):
        connect(Workspace(str(tmp_path)), AnnotationSettings(url="http://127.0.0.1:9"))


def test_a_workspace_without_a_local_folder_is_refused_with_the_reason(tmp_path):
    elsewhere = Workspace(str(tmp_path))
    elsewhere.fs = object()  # anything but a local file system
    with pytest.raises(UserError, match="name a server of your own in annotation"):
        connect(elsewhere, AnnotationSettings())
    assert not stop_server(elsewhere)


@pytest.mark.slow
@pytest.mark.live
def test_presigned_clips_of_an_object_store_need_no_local_folder(label_studio_workspace, tmp_path, monkeypatch):
    own = AnnotationSettings(title="Own server", server=ServerSettings(venv=str(LABEL_STUDIO_VENV)))
    with connect(label_studio_workspace, own) as connection:
        url = connection.client.url
        monkeypatch.setenv(API_KEY_VARIABLE, signed_in(label_studio_workspace.local_path(HOME), url, ADMIN).token)
    video = moving_texture(tmp_path / "a.mp4", seconds=0.5, size=(160, 96)).read_bytes()
    with flaky_store(0.0, 0) as (uri, _):
        remote = Workspace(f"{uri}/ws")
        remote.write_bytes(video, MEDIA, *proxy_path("a").split("/"))
        settings = AnnotationSettings(title="Presigned", url=url, routing=RoutingSettings(media="presigned"))
        with connect(remote, settings) as connection:
            addresses = media_addresses(remote, ["a"], settings.routing)
            assert check_addresses(addresses, url, settings.routing.preflight, "") == {"a": ""}
            task = to_task(FAST, clip("a"), Caption("a", "draft:facts", "1", "A street."), addresses["a"])
            connection.client.push(connection.project, [task])
            (there,) = connection.client.open_tasks(connection.project)
            assert httpx.get(there.data["video"], trust_env=False).content == video, "as the browser gets it"
        elsewhere = settings.model_copy(update={"routing": RoutingSettings()})
        with pytest.raises(UserError, match="set its LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT to"):
            connect(Workspace(str(tmp_path / "other")), elsewhere)
        with pytest.raises(UserError, match=r"routing\.media to presigned"):
            connect(remote, elsewhere)


def test_stopping_where_nothing_runs_does_nothing(tmp_path):
    assert not stop_server(Workspace(str(tmp_path)))
