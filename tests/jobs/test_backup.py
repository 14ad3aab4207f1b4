"""The verb that backs up the embedded Label Studio and brings it back."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from annotation.backup import DATABASE
from annotation.connection import HOME
from jobs.cli import main


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    """The arguments of the verb, for a workspace whose server was used once."""
    (tmp_path / "recipe.toml").write_text("")
    database = tmp_path / "ws" / HOME / DATABASE
    database.parent.mkdir(parents=True)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("create table answers (text)")
    return ["backup", "--recipe", str(tmp_path / "recipe.toml"), "--workspace", str(tmp_path / "ws")]


def test_one_command_backs_up_and_one_restores(given, tmp_path, capsys):
    assert main(given) == 0
    (file,) = (tmp_path / "ws" / "backups").iterdir()
    assert f"SQLite, secret key and accounts in {file}" in capsys.readouterr().out
    database = tmp_path / "ws" / HOME / DATABASE
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("drop table answers")
    assert main([*given, "--restore", str(file)]) == 0
    out = capsys.readouterr().out
    assert "backup: Label Studio is as it was at 20" in out and "-replaced.tar" in out and "their rows stay" in out
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("select count(*) from answers").fetchone() == (0,)
    assert len(list((tmp_path / "ws" / "backups").iterdir())) == 2


def test_a_backup_goes_where_it_is_told(given, tmp_path):
    assert main([*given, "--to", str(tmp_path / "elsewhere" / "b.tar")]) == 0
    assert (tmp_path / "elsewhere" / "b.tar").stat().st_mode & 0o777 == 0o600
    with pytest.raises(SystemExit):
        main([*given, "--to", "a.tar", "--restore", "b.tar"])


def test_a_server_of_ones_own_is_not_ours_to_back_up(given, capsys):
    assert main([*given, "--set", "annotation.url=https://labels.example"]) == 2
    assert "https://labels.example is a server of your own" in capsys.readouterr().err
