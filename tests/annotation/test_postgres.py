"""Label Studio on PostgreSQL: a throw-away server of Debian's, many people at once, a restart, a restored backup."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import ValidationError

from annotation.backup import back_up, restore
from annotation.connection import HOME, connect, stop_server
from annotation.project import FAST, AnnotationSettings
from annotation.results import to_result
from annotation.server import ServerSettings, environment
from annotation.tasks import to_task
from curation.records import Caption
from curation.tables import Workspace
from tests.annotation.footage import clip
from tests.conftest import LABEL_STUDIO_VENV

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
NUM_PEOPLE, ANSWERS_EACH = 4, 3


@pytest.fixture
def database() -> Iterator[str]:
    """The address of an empty database, in a cluster of the test's own."""
    if not PROGRAMS or not shutil.which("runuser"):
        pytest.skip("no PostgreSQL server below /usr/lib/postgresql; `apt-get install postgresql` brings it")
    programs = PROGRAMS[-1]
    folder = Path(tempfile.mkdtemp())  # not pytest's, whose parents another run may close to all but us at any time
    as_owner: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL does not run as root
        shutil.chown(folder, "nobody")
        as_owner = ["runuser", "-u", "nobody", "--"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = str(folder / "data")
    subprocess.run([*as_owner, programs / "initdb", "-D", data, "-U", "people", "--auth=trust"], check=True)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder}"
    control = [*as_owner, programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log"]
    subprocess.run([*control, "-o", options, "start"], check=True)
    try:
        create = [programs / "createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "people", "labels"]
        subprocess.run([*as_owner, *create], check=True)
        yield f"postgresql://people@127.0.0.1:{port}/labels"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True)
        shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.live
def test_answers_of_several_people_at_once_survive_a_restart_and_come_back_from_a_backup(database, tmp_path):
    workspace, size = Workspace(str(tmp_path / "ws")), NUM_PEOPLE * ANSWERS_EACH
    home = workspace.local_path(HOME)
    settings = AnnotationSettings(server=ServerSettings(venv=str(LABEL_STUDIO_VENV), database=database))
    draft = Caption("any", "draft:facts", "1", "A street.")
    try:
        with connect(workspace, settings) as connection:
            connection.client.push(connection.project, [to_task(FAST, clip(f"c{at}"), draft) for at in range(size)])
            tasks = connection.client.open_tasks(connection.project)
            people = [connection.as_member(f"simulated-{at}@localhost") for at in range(NUM_PEOPLE)]

            def answer(at: int) -> None:
                with people[at] as person:
                    for task in tasks[at::NUM_PEOPLE]:
                        person.answer(task, to_result(FAST, {"verdict": "keep"}))

            with ThreadPoolExecutor(NUM_PEOPLE) as threads:
                list(threads.map(answer, range(NUM_PEOPLE)))
            back_up(home, settings.server, tmp_path / "b.tar")
            for raw in connection.client.pull_all(connection.project)[:2]:
                connection.client.delete(raw)
        stop_server(workspace)
        assert not list(workspace.local_path("label_studio", "data").glob("*.sqlite3"))
        restore(home, settings.server, tmp_path / "b.tar", tmp_path / "before.tar")
        assert (tmp_path / "before.tar").exists()
        with connect(workspace, settings) as connection:
            raws = connection.client.pull_all(connection.project)
            assert len({(raw.clip_id, raw.annotator) for raw in raws}) == len(raws) == size
    finally:
        stop_server(workspace)


def test_the_database_is_named_without_its_password(tmp_path, monkeypatch):
    for wrong in ("sqlite:///x.db", "postgresql://host/name", "postgresql://user@host"):
        with pytest.raises(ValidationError, match="is not like postgresql://user@host:5432/name"):
            ServerSettings(database=wrong)
    with pytest.raises(ValidationError, match="DAILIES_POSTGRES_PASSWORD"):
        ServerSettings(database="postgresql://user:secret@host/name")
    monkeypatch.setenv("DAILIES_POSTGRES_PASSWORD", "secret")
    given = environment(tmp_path, tmp_path / "media", "postgresql://ann@db:5433/labels")
    assert given["POSTGRE_PASSWORD"] == "secret" and given["POSTGRE_PORT"] == "5433"
    assert "POSTGRE_USER" not in environment(tmp_path, tmp_path / "media")
