"""Two real processes that share one sample, as torchrun starts them; and a process by itself."""

import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from curation.records import UserError
from curation.tables import Workspace
from jobs.generate import generate
from jobs.processes import from_first, joined_processes
from tests.jobs.trained import context

ROOT = Path(__file__).resolve().parents[2]


def test_a_process_by_itself_needs_no_group():
    with joined_processes(0) as rank:
        assert rank == 0 and from_first([1]) == [1]


def test_another_number_of_processes_than_asked_for_is_refused_with_the_command():
    with (
        pytest.raises(UserError, match=r"needs 3 processes, 1 started; run it as torchrun --nproc-per-node 3 -m jobs"),
        joined_processes(3),
    ):
        pass


@pytest.mark.slow
def test_two_processes_make_the_sample_of_one_and_write_it_once(trained_workspace: Workspace, tmp_path):
    (sample,) = generate(context(trained_workspace, prompt=["a disc for two"]))
    one = frames(trained_workspace.local_path(sample.uri))
    trained_workspace.table("samples").remove(sample.sample_id)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[generate]\nnum_frames = 5\nsteps = 2\n[train]\nthreads = 1\n")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "jobs"]
    command += ["generate", "--recipe", str(recipe), "--workspace", trained_workspace.uri]
    command += ["--prompt", "a disc for two", "--sequence-parallel", "2", "--out", str(tmp_path / "two.mp4")]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("(made)") == 1, "the first process alone speaks"
    assert [row.sample_id for row in trained_workspace.table("samples").having("sample_id", [sample.sample_id])]
    difference = np.abs(one.astype(int) - frames(tmp_path / "two.mp4"))
    assert difference.max() <= 2, "1e-5 of the latent is at most a step of a pixel, and of its encoding"


def frames(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
