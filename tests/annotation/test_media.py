"""Where the browser gets a proxy from, and that a presigned address plays from a real S3 protocol."""

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from annotation.media import media_addresses, media_advice, presigned
from annotation.preflight import PreflightSettings, check_addresses
from annotation.routing import RoutingSettings
from curation.records import UserError
from curation.tables import Workspace
from tests.flaky_store import flaky_store
from tests.footage import moving_texture


def test_each_way_has_its_address(tmp_path: Path):
    workspace = Workspace(str(tmp_path))
    assert media_addresses(workspace, ["a"], RoutingSettings()) == {"a": "/data/local-files/?d=clips/a.mp4"}
    served = RoutingSettings.model_validate({"media": "serve", "serve": {"port": 9000}})
    assert media_addresses(workspace, ["a"], served) == {"a": "http://127.0.0.1:9000/clips/a.mp4"}


def test_a_presigned_address_plays_without_a_login_and_holds_no_secret(tmp_path: Path, monkeypatch):
    clip = moving_texture(tmp_path / "a.mp4", seconds=0.5, size=(160, 96))
    with flaky_store(0.0, 0) as (uri, _):
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
        workspace = Workspace(f"{uri}/deep/ws")
        workspace.write_bytes(clip.read_bytes(), "media", "clips", "a.mp4")
        settings = RoutingSettings(media="presigned", presigned_hours=2)
        addresses = media_addresses(workspace, ["a", "b"], settings)
        parts = urlsplit(addresses["a"])
        assert parts.path == "/footage/deep/ws/media/clips/a.mp4" and "very-secret" not in addresses["a"]
        assert parse_qs(parts.query)["X-Amz-Expires"] == ["7200"]
        page = "http://labels.example"
        advice = media_advice(workspace, page, settings)
        said = check_addresses(addresses, page, PreflightSettings(), advice)
    assert said["a"] == "" and "the server answered 404" in said["b"] and "Signature" not in said["b"]
    assert said["b"].endswith(
        f"see that your keys may read the bucket and that its CORS rules let {page} GET with Range"
    )


def test_region_and_endpoint_of_the_uri_count(monkeypatch):
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    uri = "s3://bucket/ws?endpoint_override=127.0.0.1:9&scheme=http&region=eu-west-1"
    address = presigned(uri, ["a"], 60)["a"]
    assert address.startswith("http://127.0.0.1:9/bucket/ws/media/clips/a.mp4?")
    credential = parse_qs(urlsplit(address).query)["X-Amz-Credential"][0]
    assert credential.startswith("key/") and "/eu-west-1/s3/" in credential


def test_what_cannot_be_is_said(tmp_path: Path, monkeypatch):
    with pytest.raises(UserError, match="media to local-files or serve"):
        media_addresses(Workspace(str(tmp_path)), ["a"], RoutingSettings(media="presigned"))
    with flaky_store(0.0, 0) as (uri, _), pytest.raises(UserError, match="media to presigned"):
        media_addresses(Workspace(f"{uri}/ws"), ["a"], RoutingSettings(media="serve"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(UserError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        presigned("s3://bucket/ws", ["a"], 60)
