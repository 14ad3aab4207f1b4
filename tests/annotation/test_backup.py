"""Backups of the embedded server: of one moment, private, and put back without losing what they replace."""

import sqlite3
import stat
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from annotation.accounts import ADMIN, credentials
from annotation.backup import DATABASE, back_up, restore
from annotation.connection import HOME, connect, stop_server
from annotation.project import FAST, AnnotationSettings
from annotation.results import to_result
from annotation.server import ServerSettings, held
from annotation.tasks import to_task
from curation.records import Caption, UserError
from curation.tables import Workspace
from tests.annotation.footage import clip
from tests.conftest import LABEL_STUDIO_VENV

SETTINGS = ServerSettings(venv=str(LABEL_STUDIO_VENV))


def open_database(home: Path) -> sqlite3.Connection:
    (home / DATABASE).parent.mkdir(parents=True, exist_ok=True)
    return sqlite3.connect(home / DATABASE)


def answers_in(home: Path) -> list[str]:
    with closing(open_database(home)) as database:
        return [text for (text,) in database.execute("select text from answers order by text")]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A private folder with one account and a database of one answer."""
    folder = tmp_path / "ws" / HOME
    with closing(open_database(folder)) as database, database:
        database.execute("create table answers (text)")
        database.execute("insert into answers values ('first')")
    (folder / "data" / ".env").write_text("SECRET_KEY=old")
    credentials(folder, ADMIN)
    return folder


def test_a_backup_made_in_the_middle_of_a_transaction_has_what_was_committed(home, tmp_path):
    with closing(open_database(home)) as writer:
        writer.execute("insert into answers values ('half')")
        back_up(home, SETTINGS, tmp_path / "b.tar")
        writer.commit()
    elsewhere = tmp_path / "other" / HOME
    restore(elsewhere, SETTINGS, tmp_path / "b.tar", tmp_path / "none.tar")
    assert answers_in(elsewhere) == ["first"] and answers_in(home) == ["first", "half"]
    assert not (tmp_path / "none.tar").exists(), "nothing was replaced"


def test_only_the_owner_may_read_a_backup_and_what_it_brings_back(home, tmp_path):
    back_up(home, SETTINGS, tmp_path / "b.tar")
    elsewhere = tmp_path / "other" / HOME
    restore(elsewhere, SETTINGS, tmp_path / "b.tar", tmp_path / "none.tar")
    assert credentials(elsewhere, ADMIN) == credentials(home, ADMIN)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "b.tar", elsewhere, elsewhere / "accounts")]
    assert modes == [0o600, 0o700, 0o700]
    assert not list(home.glob("backup-*")) and not list(elsewhere.glob("restore-*"))


def test_a_restore_brings_back_everything_and_can_be_undone(home, tmp_path):
    old = credentials(home, ADMIN)
    back_up(home, SETTINGS, tmp_path / "b.tar")
    with closing(open_database(home)) as database, database:
        database.execute("insert into answers values ('later')")
    (home / "data" / ".env").write_text("SECRET_KEY=new")
    credentials(home, "later@localhost")
    (home / "accounts" / f"{ADMIN}.json").unlink()

    restore(home, SETTINGS, tmp_path / "b.tar", tmp_path / "before.tar")
    assert answers_in(home) == ["first"] and (home / "data" / ".env").read_text() == "SECRET_KEY=old"
    assert credentials(home, ADMIN) == old and len(list((home / "accounts").iterdir())) == 1
    restore(home, SETTINGS, tmp_path / "before.tar", tmp_path / "again.tar")
    assert answers_in(home) == ["first", "later"] and (home / "data" / ".env").read_text() == "SECRET_KEY=new"
    assert [path.name for path in (home / "accounts").iterdir()] == ["later@localhost.json"]


def test_a_restore_is_refused_where_it_would_do_harm_and_changes_nothing(home, tmp_path):
    back_up(home, SETTINGS, tmp_path / "b.tar")
    with closing(open_database(home)) as database, database:
        database.execute("insert into answers values ('later')")
    (tmp_path / "torn.tar").write_bytes((tmp_path / "b.tar").read_bytes()[:5000])
    with tarfile.open(tmp_path / "strange.tar", "w") as tar:
        tar.add(home / DATABASE, "something")

    def refused(settings: ServerSettings, name: str, why: str) -> None:
        with pytest.raises(UserError, match=why):
            restore(home, settings, tmp_path / name, tmp_path / "before.tar")
        assert answers_in(home) == ["first", "later"]

    for name in ("torn.tar", "strange.tar", "nowhere.tar"):
        refused(SETTINGS, name, "is not a backup that `dailies backup` made, or it is damaged")
    refused(ServerSettings(database="postgresql://ann@db/labels"), "b.tar", "holds a SQLite database")
    with held(home):
        refused(SETTINGS, "b.tar", "--stop-server")


def test_a_backup_overwrites_nothing_and_needs_something_to_back_up(home, tmp_path):
    (tmp_path / "b.tar").write_text("precious")
    with pytest.raises(UserError, match="is there already"):
        back_up(home, SETTINGS, tmp_path / "b.tar")
    with pytest.raises(UserError, match="nothing to back up"):
        back_up(tmp_path / "nobody", SETTINGS, tmp_path / "c.tar")
    assert (tmp_path / "b.tar").read_text() == "precious" and not (tmp_path / "c.tar").exists()


@pytest.mark.slow
@pytest.mark.live
def test_a_running_server_is_backed_up_and_its_answers_are_found_where_it_is_restored(label_studio_workspace, tmp_path):
    settings = AnnotationSettings(title="Backup test", server=SETTINGS)
    draft = Caption("any", "draft:facts", "1", "A street.")
    with connect(label_studio_workspace, settings) as connection:
        client, home = connection.client, label_studio_workspace.local_path(HOME)
        client.push(connection.project, [to_task(FAST, clip(clip_id), draft) for clip_id in ("a", "b")])
        tasks = client.open_tasks(connection.project)
        client.answer(tasks[0], to_result(FAST, {"verdict": "keep"}))
        given = client.pull_all(connection.project)
        back_up(home, SETTINGS, tmp_path / "b.tar")
        client.answer(tasks[1], to_result(FAST, {"verdict": "keep"}))
        with pytest.raises(UserError, match="--stop-server"):
            restore(home, SETTINGS, tmp_path / "b.tar", tmp_path / "before.tar")

    elsewhere = Workspace(str(tmp_path / "ws"))
    restore(elsewhere.local_path(HOME), SETTINGS, tmp_path / "b.tar", tmp_path / "before.tar")
    try:
        with connect(elsewhere, settings) as connection:
            assert connection.client.pull_all(connection.project) == given
            assert connection.client.present(connection.project, ["a", "b", "c"]) == {"a", "b"}
    finally:
        stop_server(elsewhere)
