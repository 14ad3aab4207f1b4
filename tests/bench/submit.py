"""How long does a person wait for Submit while others submit too, on SQLite and on PostgreSQL?

    DAILIES_POSTGRES_PASSWORD=... python -m tests.bench.submit --database postgresql://user@127.0.0.1:5432/name

Two embedded servers, one after the other. As many simulated annotators as asked for, each with an account, a token and
a thread of its own, answer tasks of their own as fast as the server lets them; a person would take breaks. The last
line is JSON for programs: seconds at the median and at the 95th percentile, and the two databases' ratio there.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from annotation.accounts import SIMULATED_PREFIX
from annotation.client import Client, OpenTask
from annotation.connection import connect, stop_server
from annotation.project import FAST, AnnotationSettings
from annotation.results import to_result
from annotation.server import ServerSettings
from annotation.tasks import to_task
from curation.records import Caption
from curation.tables import Workspace
from tests.annotation.footage import clip
from tests.bench.label_studio import VENV

DRAFT = Caption("any", "draft:facts", "1", "A street.")


def waits_s(settings: AnnotationSettings, num_people: int, answers_each: int) -> np.ndarray:
    """Seconds of every answer of everybody; all answers are on the server afterwards, or it fails."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(folder)
        try:
            with connect(workspace, settings) as connection:
                project, count = connection.project, num_people * answers_each
                connection.client.push(project, [to_task(FAST, clip(f"s{at}"), DRAFT) for at in range(count)])
                open_tasks = connection.client.open_tasks(project)
                people = [connection.as_member(f"{SIMULATED_PREFIX}{at}@localhost") for at in range(num_people)]
                shares = [open_tasks[at::num_people] for at in range(num_people)]
                with ThreadPoolExecutor(num_people) as threads:
                    waited = np.concatenate([*threads.map(_answer, people, shares)])
                assert len(connection.client.pull_all(project)) == count, "an answer was lost"
        finally:
            stop_server(workspace)
    return waited


def _answer(person: Client, tasks: Sequence[OpenTask]) -> list[float]:
    waited = []
    with person:
        for task in tasks:
            started_s = time.perf_counter()
            person.answer(task, to_result(FAST, {"verdict": "keep"}))
            waited.append(time.perf_counter() - started_s)
    return waited


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.submit", description=__doc__)
    parser.add_argument("--database", default="", help="of PostgreSQL, empty and for this only; without: SQLite alone")
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--answers", type=int, default=10, help="of each")
    options = parser.parse_args(arguments)
    found: dict[str, float] = {}
    for name, database in (("sqlite", ""), ("postgres", options.database)):
        if name == "postgres" and not database:
            continue
        server = ServerSettings(venv=str(VENV), database=database)
        waited = waits_s(AnnotationSettings(title="Submit", server=server), options.people, options.answers)
        found |= {f"{name}_p50_s": float(np.median(waited)), f"{name}_p95_s": float(np.quantile(waited, 0.95))}
    if "postgres_p95_s" in found:
        found["p95_ratio"] = found["postgres_p95_s"] / found["sqlite_p95_s"]
    print(json.dumps({name: round(value, 2) for name, value in found.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
