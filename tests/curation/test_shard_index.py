"""Tars with an index: any tar reader agrees with it, equal members are equal bytes, damage is named."""

import tarfile

import pytest

from curation.shard_index import IndexedTar, TarMember, index_path, write_tar
from curation.tables import Workspace

URI = "shards/video/one.tar"
MEMBERS = [
    TarMember(
        f"clip{i}", {"npy": bytes([i]) * (700 * i), "json": b"{}"}, {"width": 64 + i, "caption": {"short": "ein Fuß"}}
    )
    for i in range(4)
]


def written(folder, members=MEMBERS):
    workspace = Workspace(str(folder))
    return workspace, write_tar(workspace, URI, members)


def test_every_payload_and_fact_is_found_by_number(tmp_path):
    workspace, tar = written(tmp_path)
    opened = IndexedTar(workspace, URI, tar.index_sha256)
    assert opened.keys == [member.key for member in MEMBERS] and opened.sha256 == tar.sha256
    for number, member in enumerate(MEMBERS):
        assert opened.facts(number) == member.facts
        assert {name: bytes(opened.read(number, name)) for name in opened.extensions} == member.files


def test_the_index_agrees_with_an_independent_tar_reader(tmp_path):
    workspace, written_tar = written(tmp_path)
    table = IndexedTar(workspace, URI).table
    with tarfile.open(workspace.local_path(URI)) as tar:
        infos = {info.name: info for info in tar.getmembers()}
    for row in table.to_pylist():
        for extension in ("json", "npy"):
            info = infos[f"{row['key']}.{extension}"]
            assert (info.offset_data, info.size) == (row[f"{extension}.offset"], row[f"{extension}.size"])
            assert (info.mtime, info.uid, info.uname, info.mode) == (0, 0, "dailies", 0o444)
    assert list(written_tar.header_offsets) == [infos[f"{member.key}.json"].offset for member in MEMBERS]


def test_equal_members_give_equal_bytes_of_tar_and_index(tmp_path):
    reordered = [TarMember(each.key, dict(reversed(list(each.files.items()))), each.facts) for each in MEMBERS]
    assert written(tmp_path / "a")[1] == written(tmp_path / "b", reordered)[1]


def test_what_cannot_be_memory_mapped_is_read_by_ranges(tmp_path):
    _, tar = written(tmp_path)
    remote = Workspace(f"file://{tmp_path}")
    remote.__class__ = type("Remote", (Workspace,), {"is_local": False})
    opened = IndexedTar(remote, URI, tar.index_sha256)
    assert bytes(opened.read(3, "npy")) == MEMBERS[3].files["npy"]
    opened.close()


def test_a_flipped_byte_of_a_payload_names_the_member(tmp_path):
    workspace, tar = written(tmp_path)
    path = workspace.local_path(URI)
    place = IndexedTar(workspace, URI).table.column("npy.offset")[2].as_py()
    data = bytearray(path.read_bytes())
    data[place + 5] ^= 1
    path.write_bytes(bytes(data))
    opened = IndexedTar(workspace, URI, tar.index_sha256)
    assert bytes(opened.read(1, "npy")) == MEMBERS[1].files["npy"]
    with pytest.raises(ValueError, match=r"one\.tar is damaged: clip2\.npy \(1400 bytes at \d+\) is not what was"):
        opened.read(2, "npy")


def test_a_truncated_tar_is_refused_when_it_is_opened(tmp_path):
    workspace, tar = written(tmp_path)
    path = workspace.local_path(URI)
    path.write_bytes(path.read_bytes()[:-512])
    with pytest.raises(ValueError, match=f"its index says {tar.size_bytes} bytes, the file has {tar.size_bytes - 512}"):
        IndexedTar(workspace, URI)


def test_a_damaged_missing_or_foreign_index_is_named(tmp_path):
    workspace, tar = written(tmp_path)
    path = workspace.local_path(index_path(URI))
    data = bytearray(path.read_bytes())
    data[-200] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=f"its record says sha256 {tar.index_sha256}, the file has"):
        IndexedTar(workspace, URI, tar.index_sha256)
    path.write_bytes(b"ARROW1")
    with pytest.raises(ValueError, match=r"index shards/video/one\.arrow is damaged"):
        IndexedTar(workspace, URI)
    path.unlink()
    with pytest.raises(ValueError, match=r"one\.tar has no index shards/video/one\.arrow"):
        IndexedTar(workspace, URI)


@pytest.mark.parametrize("extension", ["pth", "pickle", "pyd", "npz"])
def test_file_types_that_could_run_code_are_neither_written_nor_read(tmp_path, monkeypatch, extension):
    member = TarMember("clip", {extension: b"x"}, {})
    with pytest.raises(ValueError, match=f"files of type {extension}; shards hold json, mp4, npy, safetensors"):
        written(tmp_path, [member])
    with monkeypatch.context() as allowed:
        allowed.setattr("curation.shard_index.SAFE_EXTENSIONS", (extension,))
        workspace, tar = written(tmp_path, [member])
    with pytest.raises(ValueError, match=rf"members of type \.{extension}, which is not read"):
        IndexedTar(workspace, URI, tar.index_sha256)


def test_keys_that_a_tar_reader_would_split_or_mix_up_are_refused(tmp_path):
    for key in ("a.b", "a/b", "", "x" * 81):
        with pytest.raises(ValueError, match="needs 1 to 80 letters"):
            written(tmp_path, [TarMember(key, {"json": b"{}"}, {})])
    with pytest.raises(ValueError, match="clip1 was given more often"):
        written(tmp_path, [MEMBERS[1], MEMBERS[1]])


def test_a_member_without_a_file_that_others_have_says_so(tmp_path):
    workspace, _ = written(tmp_path, [*MEMBERS, TarMember("bare", {"json": b""}, {})])
    opened = IndexedTar(workspace, URI)
    assert bytes(opened.read(4, "json")) == b""
    with pytest.raises(ValueError, match=r"bare has no \.npy, only json, npy"):
        opened.read(4, "npy")
