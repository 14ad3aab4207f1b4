"""Kills a training run again and again and holds what comes out of it to the run that nobody disturbed.

    python -m tests.training.soak --kills 30

Kills are drawn from a seed: the process at any moment, the process while a checkpoint is half written, a worker of the
loader (which must not end the run), and, on two processes, one rank at any moment. After each the same command is given
again. A run that got through is compared - every loss, every held-out measurement, the sha256 of every checkpoint file
- and the next one begins. Prints one line per kill and a summary; exits with 1 where anything differs.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import psutil

from curation.tables import Workspace
from tests.training.moving_shapes import pack_shapes
from tests.training.soak_worker import STAGES

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("process", "checkpoint", "loader worker")
POLL_S = 0.01


class Run:
    """One run in a folder of its own."""

    def __init__(self, folder: Path, num_ranks: int = 1, loader_workers: int = 1) -> None:
        self.folder, self.num_ranks, self.loader_workers = folder, num_ranks, loader_workers
        workspace = Workspace(str(folder))
        pack_shapes(workspace, "image", count=8)
        pack_shapes(workspace, "video", count=6, num_frames=5)

    def start(self, *end: str) -> subprocess.Popen:
        worker = ["tests.training.soak_worker", str(self.folder), str(self.loader_workers), *end]
        launch = ["-m", *worker]
        if self.num_ranks > 1:
            launch = ["-m", "torch.distributed.run", "--nproc-per-node", str(self.num_ranks), "--standalone", *launch]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        with (self.folder / "errors.txt").open("ab") as errors:
            return subprocess.Popen(
                [sys.executable, *launch],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )

    def finish(self) -> None:
        process = self.start()
        if process.wait() != 0:
            raise SystemExit(f"the run ended with {process.returncode}: {self.errors()}")

    def errors(self) -> str:
        return (self.folder / "errors.txt").read_text()[-2000:]

    def outcome(self) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Every row but what the clock says, and what each stage's last checkpoint is made of."""
        (metrics,) = self.folder.glob("checkpoints/*/metrics.jsonl")
        rows = [json.loads(line) for line in metrics.read_text().splitlines()]
        states = {}
        for stage in STAGES:
            (state,) = metrics.parent.glob(f"{stage.name}/step-{stage.steps:06d}/state.json")
            states[stage.name] = json.loads(state.read_text())
        return [{name: value for name, value in row.items() if name != "speed"} for row in rows], states

    def half_checkpoints(self) -> list[Path]:
        """Folders of checkpoints that were begun and are not committed."""
        folders = self.folder.glob("checkpoints/*/*/step-*")
        return [folder for folder in folders if not (folder / "state.json").exists()]


def children(process: subprocess.Popen) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def ranks_of(process: subprocess.Popen) -> list[psutil.Process]:
    """The training processes among torchrun's children."""
    found = []
    for child in children(process):
        try:
            if "tests.training.soak_worker" in child.cmdline() and child.ppid() == process.pid:
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def kill_once(run: Run, kind: str, rng: random.Random, longest_s: float) -> str:
    """Start the run and kill something of it. Returns what became of it: killed, survived or finished."""
    process = run.start()
    deadline = time.monotonic() + rng.uniform(0.25, 1.0) * longest_s
    victim: psutil.Process | None = None
    while process.poll() is None and victim is None:
        now = time.monotonic()
        if kind == "process" and now > deadline:
            victim = psutil.Process(process.pid)
        elif kind == "rank" and now > deadline and (ranks := ranks_of(process)):
            victim = rng.choice(ranks)
        elif kind == "checkpoint" and now > deadline - 0.6 * longest_s and run.half_checkpoints():
            victim = psutil.Process(process.pid)
        elif kind == "loader worker" and now > deadline - 0.6 * longest_s:
            workers = [child for child in children(process) if child.ppid() == process.pid]
            victim = rng.choice(workers) if workers else None
        time.sleep(POLL_S)
    if victim is not None:
        try:
            victim.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            victim = None
    code = process.wait()
    if kind == "rank":  # torchrun ends the others; nobody may be left holding the folder
        psutil.wait_procs(ranks_of(process))
    if victim is None or code == 0:
        if code != 0:
            raise SystemExit(f"the run ended by itself with {code}: {run.errors()}")
        return "survived" if victim is not None else "finished"
    return "killed"


def soak(kills: int, seed: int, num_ranks: int, kinds: Sequence[str], scratch: Path) -> Counter[str]:
    """Kill `kills` times; returns how often each kind hit. Raises SystemExit where a run came out different."""
    rng, hits, runs = random.Random(seed), Counter[str](), 0
    straight = Run(scratch / "undisturbed", num_ranks, loader_workers=0)
    began_s = time.monotonic()
    straight.finish()
    longest_s, expected = time.monotonic() - began_s, straight.outcome()
    print(f"undisturbed: {len(expected[0])} rows in {longest_s:.1f} s", flush=True)
    while sum(hits.values()) < kills:
        runs += 1
        run, done = Run(scratch / f"run{runs}", num_ranks), False
        while not done and sum(hits.values()) < kills:
            kind = rng.choice(list(kinds))
            became = kill_once(run, kind, rng, longest_s)
            done = became != "killed"
            if became != "finished":
                hits[kind] += 1
                print(f"kill {sum(hits.values())}: {kind}, {became} (run {runs})", flush=True)
        if not done:
            run.finish()
        if run.outcome() != expected:
            raise SystemExit(
                f"run {runs} came out different: {difference(run.outcome(), expected)}; it lies in {run.folder}, the "
                f"undisturbed one in {straight.folder}"
            )
        print(f"run {runs}: {len(expected[0])} rows and every checkpoint file as undisturbed", flush=True)
    return hits


def difference(found: tuple[list[dict[str, Any]], Any], expected: tuple[list[dict[str, Any]], Any]) -> str:
    """The first row that is another, or that only the checkpoints are."""
    for ours, theirs in zip_longest(found[0], expected[0]):
        if ours != theirs:
            return f"row {ours} for {theirs}"
    return "checkpoint files"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    on_two = arguments.kills // 4
    scratch = Path(tempfile.mkdtemp(prefix="soak-"))  # stays where a run came out different
    hits = soak(arguments.kills - on_two, arguments.seed, 1, KINDS, scratch / "one")
    if on_two:
        hits += soak(on_two, arguments.seed, 2, ("rank", "process"), scratch / "two")
    shutil.rmtree(scratch)
    print(json.dumps({"kills": sum(hits.values()), "by_kind": dict(hits), "different": 0}))


if __name__ == "__main__":
    main()
