"""How close do push and pull come to what the server itself can do?

    python -m tests.bench.label_studio [--tasks 4000] [--url http://... with DAILIES_LABEL_STUDIO_API_KEY]

The ceiling is the barest client in the same run: one HTTP call after the other with the same tasks in the same chunks,
nothing asked before and nothing checked afterwards; for the pull, one snapshot downloaded and thrown away. Ours asks
what is there, pushes, and pulls every answer, checked against the screen. Ceiling, ours and ceiling again take turns
in projects of their own; a ratio is the mean ceiling's time by ours. Without `--url` on an embedded server (SQLite).
The last line is JSON for programs.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

from annotation.client import PUSH_CHUNK, Client, Project
from annotation.connection import connect, stop_server
from annotation.project import FULL, AnnotationSettings
from annotation.results import to_annotation, to_result
from annotation.server import ServerSettings
from annotation.tasks import Task, to_task
from curation.records import Caption
from curation.tables import Workspace
from tests.annotation.answers import kept
from tests.annotation.footage import clip

VENV = Path(__file__).resolve().parents[2] / ".venv-labelstudio"
DRAFT = Caption("any", "draft:facts", "1", "A street in the rain.", dense="A street in the rain, seen from a bridge.")


class Bare:
    """The calls and nothing else."""

    def __init__(self, client: Client) -> None:
        self._http = client._sdk._client_wrapper
        self.url = client.url

    def post(self, path: str, payload: Any) -> httpx.Response:
        headers = self._http.get_headers()
        return httpx.post(f"{self.url}/api/{path}", json=payload, headers=headers, timeout=600).raise_for_status()

    def push(self, project: Project, payloads: Sequence[dict[str, Any]]) -> None:
        for start in range(0, len(payloads), PUSH_CHUNK):
            self.post(f"projects/{project.project_id}/import", payloads[start : start + PUSH_CHUNK])

    def pull(self, project: Project) -> int:
        base = f"projects/{project.project_id}/exports"
        number = self.post(f"{base}/", {"title": "bare"}).json()["id"]
        address = f"{self.url}/api/{base}/{number}/download?exportType=JSON"
        return len(httpx.get(address, headers=self._http.get_headers(), timeout=600).raise_for_status().content)


def timed(work: Callable[[], Any]) -> float:
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


def ratio(name: str, count: int, ceiling: Callable[[], Any], ours: Callable[[], Any]) -> float:
    first_s, ours_s, second_s = timed(ceiling), timed(ours), timed(ceiling)
    ceiling_s = (first_s + second_s) / 2
    print(f"{name:22} ceiling {count / ceiling_s:7.0f}/s, ours {count / ours_s:7.0f}/s", file=sys.stderr, flush=True)
    return ceiling_s / ours_s


def measure(settings: AnnotationSettings, workspace: Workspace, num_tasks: int) -> dict[str, float]:
    plain = [Task(f"p{number}", to_task(FULL, clip(f"p{number}"), DRAFT).data, []) for number in range(num_tasks)]
    drafted = [to_task(FULL, clip(f"p{number}"), DRAFT) for number in range(num_tasks)]
    answered = [_answered(task) for task in drafted]
    with connect(workspace, settings) as connection:
        client, bare, made = connection.client, Bare(connection.client), iter(range(100))

        def project() -> Project:
            media = workspace.local_path("media", "clips")
            return client.open_project(f"{settings.title} {next(made)}", "<View/>", 1, "", media)

        found = {}
        for name, tasks in (("push", plain), ("push_with_drafts", drafted)):
            payloads = [task.payload() for task in tasks]
            targets = [project() for _ in range(3)]
            found[f"{name}_ratio"] = ratio(
                name,
                num_tasks,
                lambda targets=targets, payloads=payloads: bare.push(targets.pop(), payloads),
                lambda targets=targets, tasks=tasks: client.push(targets.pop(), tasks),
            )
        full = project()
        bare.push(full, answered)
        assert len(client.pull_all(full)) == num_tasks

        def pull() -> None:
            rows = [to_annotation(FULL, "embedded", full.title, raw) for raw in client.pull_all(full)]
            assert len(rows) == num_tasks

        found["pull_ratio"] = ratio("pull", num_tasks, lambda: bare.pull(full), pull)
    return found


def _answered(task: Task) -> dict[str, Any]:
    given = to_result(FULL, kept("A street.", segment_start_s=0.5, camera_movement="pan left"))
    return {**task.payload(), "annotations": [{"result": given, "lead_time": 9.5}]}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.label_studio", description=__doc__)
    parser.add_argument("--tasks", type=int, default=4000)
    parser.add_argument("--url", default="", help="a server that is there already; empty: an embedded one")
    options = parser.parse_args(arguments)
    settings = AnnotationSettings(
        title=f"Bench {int(time.time())}", fast_pass=False, url=options.url, server=ServerSettings(venv=str(VENV))
    )
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(folder)
        try:
            found = measure(settings, workspace, options.tasks)
        finally:
            stop_server(workspace)
    print(json.dumps({name: round(value, 3) for name, value in found.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
