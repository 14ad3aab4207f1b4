"""Everything that can be wrong with footage, storage and machine at once: nothing hangs, nothing is lost.

The corpus is made in `tests/damaged.py`. Two files stand for what no file here did to this decoder: one at which it
never comes back, one at which it crashes; there the worker does so itself.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from curation.curate import curate_video
from curation.records import UserError
from curation.score import ScoreSettings, load_judges
from curation.split import SplitSettings, split_video
from curation.tables import Workspace
from jobs.curate import CurateWorker
from jobs.engine import EngineSettings, Item, Outcome, run
from jobs.footage import FootageSettings, list_footage
from jobs.score import rows_of
from jobs.split import split_job
from tests.damaged import damaged_files
from tests.flaky_store import flaky_store
from tests.footage import shots

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("local_ray")]

ROOT = Path(__file__).resolve().parents[2]
SPLIT, SCORE = SplitSettings(), ScoreSettings(scorers=("sharpness", "motion"))
TABLES = ("crops", "embeddings", "scores")
WORDS = {
    "not a video",
    "no video stream",
    "no decodable frame",
    "codec not supported",
    "empty file",
    "time limit",
    "worker died",
}


class Trap(CurateWorker):
    """Hangs and crashes at the files that say so, as a decoder may."""

    def __call__(self, item: Item) -> Outcome:
        if "hangs" in item.label:
            multiprocessing.Event().wait()
        if "crashes" in item.label:
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().__call__(item)


def curate_job(folder: Path, workspace: Workspace, worker: type[CurateWorker] = CurateWorker):
    files = list_footage(FootageSettings(path=str(folder)))
    return split_job(files, workspace, SPLIT, partial(worker, SPLIT, SCORE), TABLES)


def test_every_damaged_file_ends_as_clips_or_as_a_failure_with_a_plain_reason(tmp_path):
    footage, workspace = tmp_path / "footage", Workspace(str(tmp_path / "ws"))
    damaged = damaged_files(footage)
    assert len(damaged) >= 300
    neighbours = [shots(footage / f"neighbour-{number}.mp4", num_shots=3 + number).path for number in range(4)]
    for name in ("hangs.mp4", "crashes.mp4"):
        (footage / name).write_bytes(neighbours[0].read_bytes() + bytes([0, 0, 0, 9]) + b"free" + name[:1].encode())
    engine = EngineSettings(memory_gib_per_worker=0.3, items_per_part=8, item_time_limit_s=10)
    tally = run(curate_job(footage, workspace, Trap), workspace, engine)
    assert (tally.inputs, tally.pending, tally.in_both) == (len(damaged) + 6, 0, 0) and tally.holds
    assert set(tally.failures) <= WORDS and tally.failures["time limit"] == tally.failures["worker died"] == 1
    assert tally.results > 100 and sum(tally.failures.values()) > 100
    clips = workspace.table("clips").records()
    scored = {clip_id for (clip_id,) in workspace.table("scores").distinct("clip_id")}
    for path in neighbours:
        expected = {clip.clip_id for clip in split_video(str(path), SPLIT)[1]}
        assert len(expected) >= 3 and expected <= {clip.clip_id for clip in clips} and expected <= scored
    for failure in workspace.table("failures").records():
        assert failure.label and failure.detail and "Traceback" not in failure.detail
    assert run(curate_job(footage, workspace), workspace, engine).new_results == 0


def test_footage_and_results_in_a_store_that_fails_one_request_in_twenty_cost_nothing(tmp_path):
    films = [shots(tmp_path / f"film{number}.mp4", num_shots=2 + number).path for number in range(2)]
    recipe, judges, local = tmp_path / "recipe.toml", load_judges(SCORE), Workspace(str(tmp_path / "ws"))
    answers = [answer for film in films for answer in curate_video(str(film), SPLIT, judges).answers]
    with flaky_store(failing_share=0.05, seed=1) as (uri, failed):
        raw = Workspace(f"{uri}/raw")
        for film in films:
            raw.write_bytes(film.read_bytes(), film.name)
        recipe.write_text(
            f'[footage]\npath = "{raw.uri}"\n[engine]\nmemory_gib_per_worker = 0.3\nitems_per_part = 1\n'
            '[score]\nscorers = ["sharpness", "motion"]\n'
        )
        workspace, so_far = Workspace(f"{uri}/ws"), len(failed)
        command = ["-m", "jobs", "curate", "--recipe", str(recipe), "--workspace", workspace.uri]
        done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        lines = ("split: 2 videos = 2 results + 0 failures", "score: 5 clips = 5 results + 0 failures")
        assert all(f"{line} + 0 pending" in done.stdout for line in lines)
        assert len(failed) > so_far
        for name, rows in rows_of(answers).items():
            local.table(name).append("all", rows)
            assert local.table(name).read().equals(workspace.table(name).read())


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 200 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no small file system can be mounted here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_the_run_with_a_reason_and_leaves_nothing_half_done(tmp_path, small_disk):
    for number in range(3):
        shots(tmp_path / f"footage/film{number}.mp4", num_shots=2 + number)
    engine = EngineSettings(memory_gib_per_worker=0.3, items_per_part=1)
    workspace = Workspace(str(small_disk / "ws"))
    filler = small_disk / "filler"
    filler.write_bytes(bytes(190_000))
    with pytest.raises(UserError, match=r"split: results cannot be written to .*No space left on device.*run it again"):
        run(curate_job(tmp_path / "footage", workspace), workspace, engine)
    filler.unlink()
    tally = run(curate_job(tmp_path / "footage", workspace), workspace, engine)
    assert tally.holds and (tally.results, tally.failures, tally.pending) == (3, {}, 0)


DRIVER = """
import sys
from pathlib import Path
from curation.tables import Workspace
from jobs.cluster import joined
from jobs.engine import EngineSettings, run
from tests.jobs.test_damage import curate_job

workspace = Workspace(sys.argv[2])
settings = EngineSettings(memory_gib_per_worker=0.3, items_per_part=1)
with joined():
    run(curate_job(Path(sys.argv[1]), workspace), workspace, settings)
"""


def test_a_killed_driver_leaves_whole_parts_and_the_next_run_goes_on(tmp_path):
    footage, workspace = tmp_path / "footage", Workspace(str(tmp_path / "ws"))
    first = shots(footage / "film00.mp4", seconds_each=3).path.read_bytes()
    for number in range(1, 10):
        (footage / f"film{number:02d}.mp4").write_bytes(first + bytes([0, 0, 0, 9]) + b"free" + bytes([number]))
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(footage), workspace.uri], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    while len(workspace.table("sources").stems()) < 2 and driver.poll() is None:
        time.sleep(0.05)
    driver.kill()
    driver.wait()
    engine = EngineSettings(memory_gib_per_worker=0.3, items_per_part=1)
    done = workspace.table("sources").read().num_rows
    tally = run(curate_job(footage, workspace), workspace, engine)
    assert 0 < done < 10 and tally.holds and (tally.results, tally.failures, tally.pending) == (10, {}, 0)
    assert workspace.table("clips").read().num_rows == 40
    assert len(workspace.table("scores").distinct("clip_id")) == 40
