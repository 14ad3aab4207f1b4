"""Addresses of all kinds, and an object store that fails now and then."""

import random
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import fs as pafs

from curation.filesystem import located
from curation.records import UserError
from curation.tables import Workspace
from tests.flaky_store import flaky_store


def test_a_path_is_local_with_and_without_a_scheme(tmp_path: Path) -> None:
    (tmp_path / "a file.bin").write_bytes(b"content")
    for uri in (str(tmp_path / "a file.bin"), f"file://{tmp_path}/a%20file.bin"):
        filesystem, path = located(uri)
        with filesystem.open_input_file(path) as file:
            assert file.read() == b"content"


def test_unknown_schemes_and_options_are_refused() -> None:
    with pytest.raises(pa.ArrowInvalid):
        located("ftp://host/file")
    with pytest.raises(UserError, match="unknown option speed; an S3 address has region, scheme, endpoint_override"):
        located("s3://bucket/prefix?speed=9")


@pytest.fixture
def flaky() -> Iterator[tuple[str, list[int]]]:
    with flaky_store(failing_share=0.05, seed=0) as (uri, failed):
        yield uri, failed


def test_a_store_that_fails_one_request_in_twenty_loses_nothing(flaky: tuple[str, list[int]]) -> None:
    uri, failed = flaky
    workspace = Workspace(f"{uri}/ws")
    contents = {f"{number:03d}.bin": random.Random(number).randbytes(2000) for number in range(80)}
    for name, content in contents.items():
        workspace.write_bytes(content, "files", name)
    assert workspace.file_names("files") == set(contents)
    assert {name: workspace.read_bytes("files", name) for name in contents} == contents
    assert len(failed) > 5


def test_an_s3_address_carries_its_options() -> None:
    filesystem, path = located("s3://bucket/some/prefix?region=eu-west-1&endpoint_override=127.0.0.1:1")
    assert isinstance(filesystem, pafs.S3FileSystem) and filesystem.region == "eu-west-1"
    assert path == "bucket/some/prefix"


@pytest.mark.parametrize("start", ["s3://mykey:se%2Fcret", "s3://mykey", "gs://mykey:se%2Fcret"])
def test_keys_in_an_address_are_refused_without_saying_them(start: str) -> None:
    with pytest.raises(UserError, match="AWS_SECRET_ACCESS_KEY") as caught:
        located(f"{start}@bucket/some/prefix")
    assert "se%2Fcret" not in str(caught.value) and "mykey" not in str(caught.value)
