"""Two Ray nodes of one CPU each: the actor pool spreads over both, and the tables are those of one node, byte by byte.

The nodes are two raylets on this machine, in a process of their own so that the Ray of the other tests stays alone.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import pytest
import ray

from curation.score import ScoreSettings
from curation.split import SplitSettings
from curation.tables import Workspace
from jobs.curate import CurateWorker
from jobs.engine import EngineSettings, Item, Job, Outcome, run
from jobs.footage import FootageSettings, list_footage
from jobs.split import split_job
from tests.footage import shots

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SPLIT, SCORE = SplitSettings(), ScoreSettings(scorers=("sharpness", "motion"))
ENGINE = EngineSettings(workers=2, memory_gib_per_worker=0.2, items_per_part=1, item_time_limit_s=120)
TABLES = ("clips", "videos", "sources", "crops", "embeddings", "scores")
NUM_FILMS = 6


class Probe(CurateWorker):
    """Notes each item under the node it is done on; the first ones wait until both nodes are at work."""

    def __init__(self, notes: Path) -> None:
        super().__init__(SPLIT, SCORE)
        self.notes = notes

    def __call__(self, item: Item) -> Outcome:
        mine = self.notes / ray.get_runtime_context().get_node_id()
        mine.mkdir(parents=True, exist_ok=True)
        (mine / item.label).touch()
        while len(list(self.notes.iterdir())) < 2:  # the engine's time limit ends a wait for a node that never works
            time.sleep(0.05)
        return super().__call__(item)


def job_of(footage: Path, workspace: Workspace, worker: partial[CurateWorker]) -> Job:
    files = list_footage(FootageSettings(path=str(footage)))
    return split_job(files, workspace, SPLIT, worker, ("crops", "embeddings", "scores"))


TWO_NODES = """
import os, sys
from functools import partial
from pathlib import Path
from ray.cluster_utils import Cluster
from curation.tables import Workspace
from jobs.cluster import joined
from jobs.engine import report, run
from tests.jobs.test_two_nodes import ENGINE, Probe, job_of

footage, workspace, notes = Path(sys.argv[1]), Workspace(sys.argv[2]), Path(sys.argv[3])
node = {"num_cpus": 1, "object_store_memory": 100 * 1024**2}
cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
cluster.add_node(**node)
os.environ["RAY_ADDRESS"] = cluster.address
try:
    with joined():
        code = report(run(job_of(footage, workspace, partial(Probe, notes)), workspace, ENGINE))
finally:
    cluster.shutdown()
sys.exit(code)
"""


def contents(workspace: Workspace) -> dict[str, bytes]:
    return {
        f"{name}/{stem}": workspace.read_bytes(name, f"{stem}.parquet")
        for name in TABLES
        for stem in workspace.table(name).stems()
    }


@pytest.mark.usefixtures("local_ray")
def test_two_nodes_share_the_work_and_write_the_bytes_of_one(tmp_path):
    footage, notes = tmp_path / "footage", tmp_path / "notes"
    for number in range(NUM_FILMS):
        shots(footage / f"film{number}.mp4", num_shots=2, seed=number)
    one, two = Workspace(str(tmp_path / "one")), Workspace(str(tmp_path / "two"))
    assert run(job_of(footage, one, partial(CurateWorker, SPLIT, SCORE)), one, ENGINE).results == NUM_FILMS

    folder = tempfile.mkdtemp(prefix="dly", dir="/tmp")  # short: socket paths end at 107 characters
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    environment = {**kept, "RAY_AUTH_MODE": "disabled", "RAY_TMPDIR": folder}
    command = [sys.executable, "-c", TWO_NODES, str(footage), two.uri, str(notes)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    shutil.rmtree(folder, ignore_errors=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"split: {NUM_FILMS} videos = {NUM_FILMS} results + 0 failures + 0 pending" in done.stdout

    by_node = [{note.name for note in node.iterdir()} for node in notes.iterdir()]
    assert len(by_node) == 2 and all(by_node)
    assert sorted(label for labels in by_node for label in labels) == [
        f"film{number}.mp4" for number in range(NUM_FILMS)
    ]
    assert contents(one) == contents(two)
    assert len(contents(one)) == len(TABLES) * NUM_FILMS
