"""The embedded server's data in one private file: made while it runs, put back while it does not.

    data/label_studio.sqlite3 --SQLite's online copy--+
    PostgreSQL ----------------------pg_dump----------+--> one .tar, mode 0600 --restore--> the same places
    data/.env (its secret key), accounts/, port ------+

The copy is of one moment: an answer that comes while it is made is in it whole or not at all, and waits for as long as
the copying takes at most. Clips are not in it, the workspace has them. What a restore replaces is backed up first, so a
restore can itself be undone. A backup of one kind of database is not put into the other.

The server is a desk, not the archive: what `collect` has pulled is in `annotations` whatever happens here. Answers that
were given after the backup are gone from a restored server, and a full collect will mark them so.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from annotation.server import POSTGRES_PASSWORD_VARIABLE, ServerSettings, held
from curation.records import UserError

SQLITE, POSTGRES = "SQLite", "PostgreSQL"
DATABASE, DUMP, MANIFEST = "data/label_studio.sqlite3", "database.dump", "manifest.json"
PRIVATE = ("data/.env", "accounts", "port")  # below the private folder, beside the database
BESIDE_SQLITE = ("-journal", "-wal", "-shm")  # of the database that is replaced; they would be played into the new one


@dataclass(frozen=True)
class Backup:
    """A backup, as it describes itself."""

    database: str  # SQLITE or POSTGRES
    made_at: str  # ISO 8601


def back_up(home: Path, settings: ServerSettings, file: Path) -> Backup:
    """Write the server's data, whether it runs or not, into `file`, which is there whole or not at all.

    Args:
        home: the server's private folder.

    Raises:
        UserError: there is no server's data, the file is there already, or pg_dump is missing or refused.
    """
    if not settings.database and not (home / DATABASE).exists():
        raise UserError(f"there is nothing to back up: no Label Studio has run in {home} yet")
    if file.exists():
        raise UserError(f"{file} is there already; name another file")
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    backup = Backup(_kind(settings), datetime.now(UTC).isoformat(timespec="seconds"))
    with tempfile.TemporaryDirectory(prefix="backup-", dir=home) as name:
        folder = Path(name)
        (folder / MANIFEST).write_text(json.dumps(asdict(backup)))
        if settings.database:
            _postgres("pg_dump", settings.database, ["--format=custom", "--no-owner", f"--file={folder / DUMP}"])
        else:
            (folder / DATABASE).parent.mkdir()
            _copy_sqlite(home / DATABASE, folder / DATABASE)
        members = [(folder, MANIFEST), (folder, DUMP if settings.database else DATABASE)]
        _pack([*members, *((home, path) for path in PRIVATE if (home / path).exists())], file)
    return backup


def restore(home: Path, settings: ServerSettings, file: Path, before: Path) -> Backup:
    """Put a backup in the place of the server's data; the server must not run, and cannot start meanwhile.

    Args:
        home: the server's private folder, made if it is not there.
        before: file for a backup of what is replaced; not made where there is nothing.

    Raises:
        UserError: the server runs, the file is no backup or of another kind of database, or pg_restore refused.
    """
    with held(home), tempfile.TemporaryDirectory(prefix="restore-", dir=home) as name:
        folder = Path(name)
        backup = _unpack(file, folder)
        if backup.database != _kind(settings):
            raise UserError(
                f"{file} holds a {backup.database} database, and annotation.server.database makes this server's "
                f"{_kind(settings)}; set it to what it was when the backup was made"
            )
        if settings.database or (home / DATABASE).exists():
            back_up(home, settings, before)
        if settings.database:
            options = ["--clean", "--if-exists", "--no-owner", "--single-transaction"]
            _postgres("pg_restore", settings.database, [*options, str(folder / DUMP)])
        for path in (*PRIVATE, *([] if settings.database else [DATABASE])):
            _replace(folder / path, home / path)
    return backup


def _kind(settings: ServerSettings) -> str:
    return POSTGRES if settings.database else SQLITE


def _copy_sqlite(database: Path, copy: Path) -> None:
    """All pages under one read lock; it waits for a writer, and a transaction that a crash cut off is undone first."""
    source, target = sqlite3.connect(f"{database.absolute().as_uri()}?mode=rw", uri=True), sqlite3.connect(copy)
    with closing(source), closing(target):
        source.backup(target)


def _postgres(program: str, database: str, options: Sequence[str]) -> None:
    """Run one of PostgreSQL's programs on the database; the password goes by the environment alone."""
    found = shutil.which(program)
    if found is None:
        raise UserError(f"{program} is not on the PATH; install PostgreSQL's client, e.g. Debian's postgresql-client")
    parts = urlsplit(database)
    where = [f"--host={parts.hostname}", f"--port={parts.port or 5432}", f"--username={parts.username}"]
    name = [f"--dbname={parts.path[1:]}"]
    environment = {**os.environ, "PGPASSWORD": os.environ.get(POSTGRES_PASSWORD_VARIABLE, "")}
    done = subprocess.run(
        [found, "--no-password", *where, *name, *options], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UserError(f"{program} on {database} failed: {done.stderr.strip()}")


def _pack(members: Sequence[tuple[Path, str]], file: Path) -> None:
    """Write the members, each a path below a folder, as a tar that only its owner may read."""
    aside = file.with_name(f"{file.name}.aside")
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream, tarfile.open(fileobj=stream, mode="w") as tar:
        for folder, path in members:
            tar.add(folder / path, path)
    aside.replace(file)


def _unpack(file: Path, folder: Path) -> Backup:
    try:
        with tarfile.open(file) as tar:
            tar.extractall(folder, filter="data")
        backup = Backup(**json.loads((folder / MANIFEST).read_text()))
        if backup.database == SQLITE:
            with closing(sqlite3.connect(folder / DATABASE)) as database:
                database.execute("pragma schema_version").fetchone()
    except (OSError, tarfile.TarError, ValueError, TypeError, sqlite3.DatabaseError) as error:
        raise UserError(f"{file} is not a backup that `dailies backup` made, or it is damaged: {error}") from error
    return backup


def _replace(new: Path, place: Path) -> None:
    """Bring a file or folder to its place; what the backup lacks is not there afterwards either."""
    if place.is_dir():
        shutil.rmtree(place)
    for path in (place, *(place.with_name(place.name + suffix) for suffix in BESIDE_SQLITE)):
        path.unlink(missing_ok=True)
    if new.is_dir():
        new.chmod(0o700)  # a tar that is unpacked with care forgets it
    if new.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        new.replace(place)
