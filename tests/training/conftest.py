"""Workspaces with packed moving shapes."""

from collections.abc import Iterator

import boto3
import pytest
import torch
from moto.server import ThreadedMotoServer

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


@pytest.fixture
def object_store(tmp_path, monkeypatch) -> Iterator[Workspace]:
    """An empty workspace behind a real S3 protocol."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="training")
    yield Workspace(f"s3://training/{tmp_path.name}?endpoint_override={host}:{port}&scheme=http")
    server.stop()
