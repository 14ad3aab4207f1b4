"""Listing: sorted, honest ids, and clear words about a path that gives nothing."""

import os

import pytest

from curation.records import UserError
from jobs.footage import FootageSettings, list_footage


def test_everything_below_with_a_known_ending_is_listed_in_order(tmp_path):
    (tmp_path / "deep/er").mkdir(parents=True)
    for name in ("b.MP4", "a.mkv", "notes.txt", "deep/er/c.webm"):
        (tmp_path / name).write_bytes(b"x")
    files = list_footage(FootageSettings(path=str(tmp_path)))
    assert [file.uri.removeprefix(f"{tmp_path}/") for file in files] == ["a.mkv", "b.MP4", "deep/er/c.webm"]


def test_a_file_replaced_under_its_old_name_is_new_work(tmp_path):
    settings, file = FootageSettings(path=str(tmp_path)), tmp_path / "a.mp4"
    file.write_bytes(b"one")
    os.utime(file, ns=(1, 1))
    (before,) = list_footage(settings)
    assert list_footage(settings) == [before]
    file.write_bytes(b"two")
    os.utime(file, ns=(2, 2))
    (after,) = list_footage(settings)
    assert after.input_id != before.input_id


@pytest.mark.parametrize(
    ("path", "message"),
    [("", "footage.path is not set"), ("{}/nowhere", "does not exist"), ("{}", "holds no file that ends in .mp4")],
)
def test_a_path_that_gives_nothing_is_refused(tmp_path, path, message):
    with pytest.raises(UserError, match=message):
        list_footage(FootageSettings(path=path.format(tmp_path)))
