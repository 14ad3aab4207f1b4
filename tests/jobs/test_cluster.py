"""The same verbs on a cluster: a real head node, a real `ray job submit`, the working directory shipped by Ray."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from curation.tables import Workspace
from tests.footage import broken_files, shots

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Head:
    dashboard: str
    environment: dict[str, str]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """A head node of our own: own ports, own temporary folder (short: socket paths end at 107 characters)."""
    folder = tempfile.mkdtemp(prefix="dly", dir="/tmp")
    port, dashboard = free_port(), free_port()
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    environment = {**kept, "RAY_AUTH_MODE": "disabled", "PATH": f"{BIN}:{os.environ['PATH']}"}
    command = [
        *(str(BIN / "ray"), "start", "--head", "--block", "--disable-usage-stats"),
        *("--node-ip-address", "127.0.0.1", "--port", str(port), "--temp-dir", folder, "--num-cpus", "2"),
        *("--dashboard-host", "127.0.0.1", "--dashboard-port", str(dashboard)),
        *("--dashboard-agent-listen-port", str(free_port())),  # the default may be another cluster's
        *("--object-store-memory", str(200 * 1024**2)),
    ]
    with (Path(folder) / "head.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    url = f"http://127.0.0.1:{dashboard}"
    for _ in range(240):
        if answers(f"{url}/api/version") or process.poll() is not None:
            break
        signal.sigtimedwait([], 0.5)
    assert process.poll() is None, (Path(folder) / "head.log").read_text()
    yield Head(url, environment)
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(timeout=60)
    shutil.rmtree(folder, ignore_errors=True)


def submit(head: Head, *verb: str) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "ray"), "job", "submit", "--address", head.dashboard, "--working-dir", ".", "--", *verb]
    for _ in range(60):  # the head answers before its agent does, which takes the jobs
        outcome = subprocess.run(command, cwd=ROOT, env=head.environment, capture_output=True, text=True, check=False)
        if "No available agent to submit job" not in outcome.stderr:
            break
        signal.sigtimedwait([], 1.0)
    return outcome


def test_a_submitted_job_splits_and_accounts_and_a_wrong_recipe_fails_it(head, tmp_path):
    footage = tmp_path / "footage"
    footage.mkdir()
    shots(footage / "two_shots.mp4")
    broken_files(footage)
    num_files = len(list(footage.glob("*")))
    flags = ("--recipe", "jobs/recipes/smoke.toml", "--workspace", str(tmp_path / "ws"))
    outcome = submit(head, "dailies", "split", *flags, "--set", f"footage.path={footage}")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert f"split: {num_files} videos = " in outcome.stdout
    workspace = Workspace(str(tmp_path / "ws"))
    assert workspace.table("sources").read().num_rows + workspace.table("failures").read().num_rows == num_files
    assert workspace.table("clips").read().num_rows >= 2

    wrong = submit(head, "dailies", "split", *flags, "--set", "split.treshold=3")
    assert wrong.returncode != 0
    assert "split.treshold: unknown setting; known here:" in wrong.stdout
