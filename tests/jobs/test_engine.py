"""The engine's promise: every input ends in exactly one of {result, failures}, whatever the workers do.

Each fault is a real one in a real Ray actor: SIGKILL, a hang, an exception, a crash that repeats.
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from curation.records import Score, UserError
from curation.tables import Workspace
from jobs.cluster import capacity
from jobs.engine import EngineSettings, Item, Job, Outcome, Tally, run
from tests.jobs.faults import killing

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("local_ray")]

SETTINGS = EngineSettings(memory_gib_per_worker=0.2, items_per_part=4, item_time_limit_s=3)


@dataclass(frozen=True)
class Behaviour:
    """Writes one score per input; inputs named for a fault commit it. `log` counts the attempts across processes."""

    log: str

    def __call__(self, item: Item) -> Outcome:
        rows, failures = [], []
        for key in item.inputs:
            with Path(self.log).open("a") as log:
                log.write(f"{key}\n")
            if key.startswith("raises"):
                raise RuntimeError(f"{key} cannot be read")
            if key.startswith("refuses"):
                failures.append((key, "not a video", "it is text"))
                continue
            if key.startswith("kills"):
                os.kill(os.getpid(), signal.SIGKILL)
            if key.startswith("hangs"):
                signal.pause()
            if key.startswith("slow"):
                time.sleep(0.3)
            rows.append(Score(key, "length", "1", float(len(key)), None))
        return Outcome({"scores": rows}, failures)


def finished(workspace: Workspace) -> set[str]:
    return {clip_id for (clip_id,) in workspace.table("scores").distinct("clip_id")}


def job_of(workspace: Workspace, log: Path, items: list[Item]) -> Job:
    return Job(
        name="measure",
        unit="clips",
        digest="d1",
        tables=("scores",),
        items=items,
        make_worker=partial(Behaviour, str(log)),
        finished=partial(finished, workspace),
    )


def singles(*keys: str) -> list[Item]:
    return [Item(f"{key}.mp4", {key: None}) for key in keys]


def failures(workspace: Workspace) -> dict[str, str]:
    return {row.input_id: row.reason for row in workspace.table("failures").records()}


def test_every_kind_of_fault_ends_in_failures_and_neighbours_survive(tmp_path):
    workspace, log = Workspace(str(tmp_path / "ws")), tmp_path / "log"
    good = [f"good{i}" for i in range(10)]
    items = singles(*good, "raises1", "refuses1", "kills1", "hangs1")
    tally = run(job_of(workspace, log, items), workspace, SETTINGS)
    assert finished(workspace) == set(good)
    assert failures(workspace) == {
        "raises1": "RuntimeError",
        "refuses1": "not a video",
        "kills1": "worker died",
        "hangs1": "time limit",
    }
    assert (tally.inputs, tally.results, tally.pending, tally.holds) == (14, 10, 0, True)
    assert str(tally).startswith("measure: 14 clips = 10 results + 4 failures (1 RuntimeError, 1 not a video, ")


def test_a_second_run_adds_nothing_and_calls_nobody(tmp_path):
    workspace, log = Workspace(str(tmp_path / "ws")), tmp_path / "log"
    items = singles("good1", "good2", "raises1")
    run(job_of(workspace, log, items), workspace, SETTINGS)
    attempts, parts = log.read_text(), workspace.table("scores").stems()
    tally = run(job_of(workspace, log, items), workspace, SETTINGS)
    assert (log.read_text(), workspace.table("scores").stems()) == (attempts, parts)
    assert (tally.new_results, tally.results) == (0, 2)


def test_one_poisonous_input_of_a_shared_item_is_found_and_its_siblings_survive(tmp_path):
    workspace, log = Workspace(str(tmp_path / "ws")), tmp_path / "log"
    item = Item("film.mp4", {"good1": None, "kills1": None, "good2": None})
    tally = run(job_of(workspace, log, [item]), workspace, SETTINGS)
    assert finished(workspace) == {"good1", "good2"}
    assert failures(workspace) == {"kills1": "worker died"}
    assert tally.holds


def test_workers_killed_in_the_middle_lose_and_repeat_nothing(tmp_path):
    workspace, log = Workspace(str(tmp_path / "ws")), tmp_path / "log"
    keys = [f"slow{i:02d}" for i in range(24)]

    def some_are_done(kills: int) -> bool:
        return log.exists() and log.read_text().count("\n") >= 4 * (kills + 1)

    with killing(2, some_are_done) as killed:
        tally = run(job_of(workspace, log, singles(*keys)), workspace, SETTINGS)
    assert len(killed) == 2
    assert finished(workspace) == set(keys)
    assert workspace.table("scores").read().num_rows == len(keys)
    assert (tally.results, tally.failures, tally.holds) == (24, {}, True)


def test_an_interrupted_writer_leaves_nothing_half_done(tmp_path):
    workspace, log = Workspace(str(tmp_path / "ws")), tmp_path / "log"
    (tmp_path / "ws/scores/_aside").mkdir(parents=True)
    (tmp_path / "ws/scores/_aside/torn.parquet").write_bytes(b"PAR1 torn")
    tally = run(job_of(workspace, log, singles("good1")), workspace, SETTINGS)
    assert tally.results == 1
    assert not (tmp_path / "ws/scores/_aside").exists() or not list((tmp_path / "ws/scores/_aside").iterdir())


def test_a_plan_that_does_not_fit_is_refused_with_the_numbers(local_ray):
    with pytest.raises(UserError, match=r"needs 1000 workers x 1 CPUs .* the cluster has .*lower engine\.workers"):
        capacity(1000, 1.0, 0.1)
    with pytest.raises(UserError, match=r"0\.1 CPUs and 9999 GiB, the cluster has"):
        capacity(1, 0.1, 9999)
    with pytest.raises(UserError, match=r"0\.1 GiB and 1000 GPUs, the cluster has .* GPUs, enough for 0"):
        capacity(1, 0.1, 0.1, gpus_per_worker=1000)


@pytest.mark.parametrize(
    ("tally", "holds", "exit_code"),
    [
        (Tally("split", "videos", 3, 2, {"empty file": 1}, 0, 0, 2), True, 0),
        (Tally("split", "videos", 3, 1, {"empty file": 1}, 1, 0, 1), True, 1),
        (Tally("split", "videos", 3, 1, {"empty file": 1}, 0, 0, 1), False, 1),
        (Tally("split", "videos", 3, 3, {"empty file": 1}, 0, 1, 3), False, 1),
    ],
)
def test_the_equation_decides_the_exit_code(tally, holds, exit_code):
    assert (tally.holds, tally.exit_code) == (holds, exit_code)
    assert ("DOES NOT HOLD" in str(tally)) is not holds


STALLING = """
import sys
from pathlib import Path
from curation.tables import Workspace
from jobs.cluster import joined
from jobs.engine import EngineSettings, run
from tests.jobs.test_engine import job_of, singles

settings = EngineSettings(memory_gib_per_worker=0.2, item_time_limit_s=600, stall_limit_s=4)
workspace = Workspace(sys.argv[1])
with joined():
    run(job_of(workspace, Path(sys.argv[2]), singles("hangs1")), workspace, settings)
"""


def test_a_run_in_which_nothing_moves_is_ended_from_outside_and_says_what_it_waited_for(tmp_path):
    command = [sys.executable, "-c", STALLING, str(tmp_path / "ws"), str(tmp_path / "log")]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert outcome.returncode == 75
    assert "(stall_limit_s = 4), in hand: hangs1.mp4; ending the run" in outcome.stderr
