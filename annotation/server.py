"""The embedded Label Studio: one server per workspace, hardened, on loopback, in its own virtual environment.

    <workspace>/media/                 the only folder the server may show (proxies of clips, nothing else)
    <workspace>/label_studio/  0700    everything private: data/ (SQLite, its secret key), accounts/, server.log

`ensure` starts the server or finds the one that runs; it outlives the verb that started it, because people answer
between `route` and `collect`. The server process inherits an exclusive lock on `server.lock`, which the kernel drops
when the process ends, however it ends: so "the lock is taken" means "it runs, or is just starting", two verbs cannot
start two servers, and a file left by a crash can never name a stranger's process.

Measured: a first start takes 26 s (it creates the database; 200 s on 2 cores shared by 14 busy processes), a later one
3 s; 365 MB of memory when idle.
Hardened, because Label Studio's defaults are open: it would listen on every interface, let anyone sign up, send
telemetry, allow every origin, and serve local files from `/`. Its variables are also read without their prefix (a stray
`PORT` or `DEBUG` counts), so it gets a clean environment rather than ours.
"""

import fcntl
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, Field, field_validator

from annotation.accounts import ADMIN, credentials
from annotation.reserved_networks import WAKE_HOST, one_exception
from curation.records import UserError

POSTGRES_PASSWORD_VARIABLE = "DAILIES_POSTGRES_PASSWORD"
POLL_S = 0.25
LOG_TAIL_LINES = 15


class ServerSettings(BaseModel, frozen=True, extra="forbid"):
    """The Label Studio that Dailies starts itself; unused where `annotation.url` names another one."""

    venv: str = Field(
        default=".venv-labelstudio",
        description="virtual environment that holds label-studio; a relative path is below the working directory",
    )
    port: int = Field(
        default=0, ge=0, le=65535, description="loopback port; 0 takes a free one and the same one again later"
    )
    database: str = Field(
        default="",
        description="postgresql://user@host:port/name for more than a handful of people at once, its password in the "
        f"environment variable {POSTGRES_PASSWORD_VARIABLE}; empty: SQLite below the server's private folder",
    )
    webhooks: bool = Field(
        default=False,
        description=f"let the server call {WAKE_HOST}, where `dailies collect --webhook` listens, and no other address "
        "of a private network; read when the server starts",
    )
    start_timeout_s: float = Field(
        default=600.0,
        gt=0,
        description="how long the server may take to answer /health; a first start takes 26 s on an idle machine",
    )

    @field_validator("database")
    @classmethod
    def _is_postgres_without_password(cls, database: str) -> str:
        parts = urlsplit(database)
        if database and (parts.scheme != "postgresql" or not (parts.username and parts.hostname and parts.path[1:])):
            raise ValueError(f"{database!r} is not like postgresql://user@host:5432/name")
        if parts.password:
            raise ValueError(f"the database's password belongs into {POSTGRES_PASSWORD_VARIABLE}, not into a recipe")
        return database


@dataclass(frozen=True)
class Server:
    """A running embedded server."""

    pid: int
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def ensure(home: Path, media: Path, settings: ServerSettings, on_wait: Callable[[float], None] | None = None) -> Server:
    """The workspace's server, started if it does not run; returns when it answers /health.

    Args:
        home: private folder of the server, made with mode 0700 if it is not there.
        media: the only folder whose files the server may show.
        on_wait: called with the seconds waited so far, a few times a second while the server comes up.

    Raises:
        UserError: label-studio is not installed in `settings.venv`, or the port is taken.
        RuntimeError: the server ended or did not answer in time; the message carries the end of its log.
    """
    lock = _try_lock(home)
    if lock is not None:
        try:
            _start(home, media, settings, lock)
        finally:
            os.close(lock)  # the server holds its own copy
    return _wait_until_healthy(home, settings.start_timeout_s, on_wait)


def running(home: Path) -> Server | None:
    """The server that runs (or is coming up) for this workspace, if any."""
    if not _locked(home):
        return None
    try:
        return Server(**json.loads((home / "server.json").read_text()))
    except FileNotFoundError:  # locked by a starter that has not come that far
        return None


def stop(home: Path, timeout_s: float = 20.0) -> bool:
    """End the workspace's server, by its pid. Returns whether there was one.

    Raises:
        RuntimeError: the process is still there `timeout_s` after SIGKILL.
    """
    server = running(home)
    if server is None:
        return False
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(server.pid, number)
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            _reap(server.pid)
            if not _locked(home):
                return True
            time.sleep(POLL_S)
    raise RuntimeError(f"Label Studio (pid {server.pid}) did not end within {timeout_s:g} s of SIGKILL")


@contextmanager
def held(home: Path) -> Iterator[None]:
    """Keep the workspace's server from starting inside the block.

    Raises:
        UserError: it runs.
    """
    lock = _try_lock(home)
    if lock is None:
        raise UserError(
            "Label Studio runs on this data; `dailies collect --stop-server` pulls what people answered and ends it"
        )
    try:
        yield
    finally:
        os.close(lock)


def environment(home: Path, media: Path, database: str = "", webhooks: bool = False) -> dict[str, str]:
    """The server's whole environment; nothing of ours leaks in but the search path. Holds passwords.

    Args:
        database, webhooks: as of `ServerSettings`.
    """
    admin, parts = credentials(home, ADMIN), urlsplit(database)
    postgres = {
        "DJANGO_DB": "default",
        "POSTGRE_USER": parts.username or "",
        "POSTGRE_PASSWORD": os.environ.get(POSTGRES_PASSWORD_VARIABLE, ""),
        "POSTGRE_HOST": parts.hostname or "",
        "POSTGRE_PORT": str(parts.port or 5432),
        "POSTGRE_NAME": parts.path[1:],
    }
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": str(home / "data"),
        "LABEL_STUDIO_BASE_DATA_DIR": str(home / "data"),
        "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
        "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
        "LABEL_STUDIO_SENTRY_DSN": "",  # unset would mean the vendor's
        "LABEL_STUDIO_FRONTEND_SENTRY_DSN": "",
        "LABEL_STUDIO_FEATURE_FLAGS_OFFLINE": "true",
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "LABEL_STUDIO_CORS_ALLOW_ALL_ORIGINS": "false",
        "LABEL_STUDIO_ALLOWED_HOSTS": "127.0.0.1,localhost",
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(media),
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",  # read when the organization is created; does not expire
        "LABEL_STUDIO_USERNAME": admin.email,
        "LABEL_STUDIO_PASSWORD": admin.password,
        **(postgres if database else {}),
        **(one_exception() if webhooks else {}),
    }


def free_port(wanted: int) -> int:
    """`wanted` if it is free on loopback, or any free port for 0. Label Studio itself would silently take the next one.

    Raises:
        OSError: the port is taken.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", wanted))
        return probe.getsockname()[1]


def _start(home: Path, media: Path, settings: ServerSettings, lock: int) -> None:
    program = Path(settings.venv).absolute() / "bin" / "label-studio"
    if not program.is_file():
        raise UserError(
            f"Label Studio is not installed: {program} is not there. "
            "Run `make install-labelstudio`, or set annotation.server.venv to the environment that holds it."
        )
    (home / "data").mkdir(exist_ok=True)
    (home / "empty").mkdir(
        exist_ok=True
    )  # the working directory: a folder of a certain name there would widen the root
    media.mkdir(parents=True, exist_ok=True)
    port = _choose_port(home, settings.port)
    (home / "server.json").unlink(missing_ok=True)
    log = os.open(home / "server.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(
            [str(program), "start", "-b", "-p", str(port), "--internal-host", "127.0.0.1"],
            env=environment(home, media, settings.database, settings.webhooks),
            cwd=home / "empty",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(lock,),
            start_new_session=True,
        )
    finally:
        os.close(log)
    process.returncode = 0  # it outlives us on purpose: no "still running" warning when this object goes
    _write_whole(home / "server.json", json.dumps(asdict(Server(pid=process.pid, port=port))))
    (home / "port").write_text(str(port))


def _choose_port(home: Path, wanted: int) -> int:
    if wanted:
        try:
            return free_port(wanted)
        except OSError as error:
            raise UserError(
                f"annotation.server.port = {wanted} is taken on 127.0.0.1; name another one, or 0 for any"
            ) from error
    remembered = home / "port"
    try:
        return free_port(int(remembered.read_text()))  # the address people bookmarked
    except (OSError, ValueError):
        return free_port(0)


def _wait_until_healthy(home: Path, timeout_s: float, on_wait: Callable[[float], None] | None) -> Server:
    started_s = time.monotonic()
    with httpx.Client(trust_env=False, timeout=5.0) as http:
        while (waited_s := time.monotonic() - started_s) < timeout_s:
            server = running(home)
            if server is not None:
                _reap(server.pid)
                with suppress(httpx.TransportError):
                    if http.get(f"{server.url}/health").status_code == 200:
                        return server
            if not _locked(home):
                raise RuntimeError(f"Label Studio ended while starting. {_log_tail(home)}")
            if on_wait is not None:
                on_wait(waited_s)
            time.sleep(POLL_S)
    raise RuntimeError(
        f"Label Studio did not answer /health within annotation.server.start_timeout_s = {timeout_s:g} s. "
        f"{_log_tail(home)}"
    )


def _log_tail(home: Path) -> str:
    log = home / "server.log"
    lines = log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:] if log.exists() else []
    return f"The end of {log}:\n" + "\n".join(f"    {line}" for line in lines)


def _try_lock(home: Path) -> int | None:
    """A descriptor that holds the workspace's server lock, or None where another process has it."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    home.chmod(0o700)
    descriptor = os.open(home / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _locked(home: Path) -> bool:
    if not (home / "server.lock").exists():
        return False
    descriptor = _try_lock(home)
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is None


def _reap(pid: int) -> None:
    """Collect the exit status if the process was started by this one; a zombie would look alive."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _write_whole(path: Path, text: str) -> None:
    aside = path.with_suffix(".aside")
    aside.write_text(text)
    aside.replace(path)
