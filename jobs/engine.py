"""The engine: binds a callable to tables with Ray Data, and lets no input get lost.

    items --minus results, minus failures--> batches --> actor pool --> part files, renamed into place
                       ^                                     |
                       +---------- what is still missing, alone, once more ----------+--> failures

A worker is built once per actor (weights load there) and maps an `Item` to an `Outcome`. Each batch is one part: its
stem is the content id of its inputs, so a batch that Ray runs again after a crash overwrites its own part. Before each
item the actor tells the `Ledger` (one tiny actor) what it is about to do. When a process dies, the retry of its batch
asks the ledger, learns which item was in hand, and after the second death leaves it alone: that is how one poisonous
file neither takes its neighbours along nor keeps the pool busy for ever. A hanging item's process ends itself. A stall
watchdog outside the workers ends a run that makes no progress.

Ray Data's own checkpoint is not used: it records rows when a write task ends, too coarse for hour-long videos.
"""

import faulthandler
import logging
import os
import pickle
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import cv2
import pyarrow as pa
import ray
import ray.exceptions
from pydantic import BaseModel, Field

from curation.records import Failure, UserError, content_id
from curation.tables import Workspace, sweep
from jobs.cluster import Capacity, capacity
from jobs.progress import Progress

DIED, TOO_LONG = "worker died", "time limit"
MAX_DEATHS = 2
DEATH_DETAIL = "the process working on it was killed, crashed or ran out of memory"
GIL_GRACE_S = 60  # how much later than the timer thread faulthandler ends a process that holds the GIL
START_LIMIT_S = 300  # the least time that worker processes get to start and load weights before a run counts as stalled
POLL_S = 2.0


class EngineSettings(BaseModel, frozen=True, extra="forbid"):
    """How a job uses the machine or cluster; none of it changes a result."""

    workers: int = Field(default=0, ge=0, description="actors in the pool; 0 fills the cluster's CPUs")
    cpus_per_worker: float = Field(default=1.0, gt=0, description="CPUs per actor, also its decode and torch threads")
    gpus_per_worker: float = Field(
        default=0.0, ge=0, description="GPUs per actor; `generate` takes one of its own accord where there are any"
    )
    memory_gib_per_worker: float = Field(default=1.0, gt=0, description="memory an actor is expected to need, in GiB")
    items_per_part: int = Field(
        default=8, ge=1, description="most items in one part file: what a killed worker repeats"
    )
    item_time_limit_s: int = Field(default=900, ge=1, description="an item that takes longer is a failure, in seconds")
    stall_limit_s: int = Field(
        default=1200, ge=1, description="a run in which nothing begins or ends for so long is ended"
    )


@dataclass(frozen=True)
class Item:
    """A piece of work that shares one cost (a video's decode): its inputs by id, each with its own payload."""

    label: str  # what a person calls it
    inputs: Mapping[str, Any]
    shared: Any = None

    def only(self, input_ids: Iterable[str]) -> "Item":
        wanted = set(input_ids)
        return replace(self, inputs={key: value for key, value in self.inputs.items() if key in wanted})

    @property
    def key(self) -> str:
        return content_id(*sorted(self.inputs))


@dataclass
class Outcome:
    """What an item became: records per table, and failures as (input id, reason, detail)."""

    rows: dict[str, list[Any]] = field(default_factory=dict)
    failures: list[tuple[str, str, str]] = field(default_factory=list)


Worker = Callable[[Item], Outcome]


@dataclass(frozen=True)
class Job:
    """A verb's binding of library functions to tables.

    `tables` ends with the completion table, or is empty where the worker's result is a file of its own; `finished`
    reads the ids of inputs that have their result.
    """

    name: str
    unit: str
    digest: str  # of the settings that shape results: other settings make every input due again
    tables: tuple[str, ...]
    items: Sequence[Item]
    make_worker: Callable[[], Worker]
    finished: Callable[[], set[str]]
    shared_tables: tuple[str, ...] = ()  # written too, but another job writes there as well, so it is never swept


@dataclass(frozen=True)
class Tally:
    """The accounting of a job: every input is a result, a failure with a reason, or pending."""

    job: str
    unit: str
    inputs: int
    results: int
    failures: Mapping[str, int]
    pending: int
    in_both: int
    new_results: int

    @property
    def holds(self) -> bool:
        return self.in_both == 0 and self.inputs == self.results + sum(self.failures.values()) + self.pending

    @property
    def exit_code(self) -> int:
        return 0 if self.holds and self.pending == 0 else 1

    def __str__(self) -> str:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.failures.items()))
        text = (
            f"{self.job}: {self.inputs} {self.unit} = {self.results} results + {sum(self.failures.values())} failures"
            f"{f' ({reasons})' if reasons else ''} + {self.pending} pending"
        )
        return text if self.holds else f"{text}  DOES NOT HOLD ({self.in_both} both result and failure)"


class Ledger:
    """Knows which item each process has in hand, how often an item's process died, and when anything last moved.

    And why results could not be written, as what a Ray actor raises loses its cause on the way.
    """

    def __init__(self) -> None:
        self.running: dict[str, str] = {}
        self.deaths: dict[str, list[tuple[str, str]]] = {}
        self.moved_s = time.monotonic()
        self.has_begun = False
        self.ended_inputs = 0
        self.write_error = ""

    def begin(self, key: str, label: str) -> list[tuple[str, str]]:
        """Say that an item is about to start; returns how earlier attempts on it ended, as (reason, detail)."""
        if key in self.running:
            self.deaths.setdefault(key, []).append((DIED, f"{DEATH_DETAIL} {MAX_DEATHS} times"))
        self.running[key] = label
        self.moved_s, self.has_begun = time.monotonic(), True
        return self.deaths.get(key, [])

    def overran(self, key: str, detail: str) -> None:
        """Say that an item's process is about to end itself because of the time limit."""
        self.running.pop(key, None)
        self.deaths.setdefault(key, []).append((TOO_LONG, detail))

    def end(self, key: str, num_inputs: int) -> None:
        self.running.pop(key, None)
        self.moved_s = time.monotonic()
        self.ended_inputs += num_inputs

    def cannot_write(self, why: str) -> None:
        self.write_error = self.write_error or why

    def why_unwritten(self) -> str:
        return self.write_error

    def state(self) -> tuple[int, float, bool, list[str]]:
        """Inputs ended, seconds since anything moved, whether a worker has begun at all, labels in hand."""
        return self.ended_inputs, time.monotonic() - self.moved_s, self.has_begun, sorted(self.running.values())


class _PartWriter:
    """The actor: runs a batch of items through the worker and writes their part of every table."""

    def __init__(self, job: Job, workspace_uri: str, ledger: Any, settings: EngineSettings, last_try: bool) -> None:
        self.workspace, self.ledger, self.settings = Workspace(workspace_uri), ledger, settings
        self.last_try = last_try
        self.name, self.digest, self.tables = job.name, job.digest, (*job.shared_tables, *job.tables)
        cv2.setNumThreads(max(1, int(settings.cpus_per_worker)))  # torch obeys OMP_NUM_THREADS, which Ray sets
        self.worker = job.make_worker()

    def __call__(self, batch: pa.Table) -> pa.Table:
        items: list[Item] = [pickle.loads(data) for data in batch.column("item").to_pylist()]
        total = Outcome({table: [] for table in self.tables})
        labels: dict[str, str] = {}
        for item in items:
            labels |= dict.fromkeys(item.inputs, item.label)
            outcome = self._run(item)
            for table, rows in outcome.rows.items():
                total.rows[table] += rows
            total.failures += outcome.failures
        try:
            self._write(content_id(self.digest, *(item.key for item in items)), total, labels)
        except OSError as error:
            ray.get(self.ledger.cannot_write.remote(str(error)))
            raise
        return pa.table({"inputs": [sum(len(item.inputs) for item in items)]})

    def _run(self, item: Item) -> Outcome:
        deaths = ray.get(self.ledger.begin.remote(item.key, item.label))
        if len(deaths) < MAX_DEATHS and TOO_LONG not in dict(deaths):
            with self._time_limit(item.key):
                # The one catch of the engine: whatever a worker raises becomes a failure row of each of its inputs,
                # but a storage that fails is asked once more at the end of the run.
                try:
                    outcome = self.worker(item)
                except Exception as error:
                    again = isinstance(error, OSError) and not self.last_try
                    reason = "storage failed" if isinstance(error, OSError) else type(error).__name__
                    failure = (str(getattr(error, "reason", reason)), str(error))
                    outcome = Outcome(failures=[] if again else [(key, *failure) for key in item.inputs])
        elif len(item.inputs) > 1:
            outcome = Outcome()  # neither result nor failure: the next round tries each of its inputs alone
        else:
            outcome = Outcome(failures=[(key, *deaths[-1]) for key in item.inputs])
        ray.get(self.ledger.end.remote(item.key, len(item.inputs)))
        return outcome

    @contextmanager
    def _time_limit(self, key: str):
        """End this process when the block outlasts the limit; first by a thread, then by C code that needs no GIL."""
        limit_s, inside = self.settings.item_time_limit_s, threading.get_ident()

        def overrun() -> None:
            frame = traceback.extract_stack(sys._current_frames()[inside])[-1]
            where = f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} in {frame.name}"
            ray.get(self.ledger.overran.remote(key, f"took longer than item_time_limit_s = {limit_s} s, at {where}"))
            os._exit(1)

        timer = threading.Timer(limit_s, overrun)
        timer.daemon = True
        timer.start()
        faulthandler.dump_traceback_later(limit_s + GIL_GRACE_S, exit=True)
        try:
            yield
        finally:
            timer.cancel()
            faulthandler.cancel_dump_traceback_later()

    def _write(self, stem: str, outcome: Outcome, labels: Mapping[str, str]) -> None:
        for name in self.tables:
            self.workspace.table(name).append(stem, outcome.rows[name])
        self.workspace.table("failures").append(stem, _failures(self.name, self.digest, outcome.failures, labels))


def run(job: Job, workspace: Workspace, settings: EngineSettings) -> Tally:
    """Do what is due of a job and account for every input; doing it twice does nothing twice.

    Raises:
        UserError: the plan does not fit the cluster, said before any work starts.
    """
    everything = {key for item in job.items for key in item.inputs}
    if job.tables:
        *dependents, completion = (workspace.table(name) for name in job.tables)
        sweep(completion, dependents)
    before = job.finished() & everything
    for alone in (False, True):
        due = _due(job, workspace, alone)
        if not due:
            break
        room = capacity(
            settings.workers, settings.cpus_per_worker, settings.memory_gib_per_worker, settings.gpus_per_worker
        )
        _run_round(job, due, workspace, settings, room, alone)
    lost = _due(job, workspace, alone=True)
    if lost:
        gone = [(key, "lost by the engine", "no worker returned it twice") for item in lost for key in item.inputs]
        labels = {key: item.label for item in lost for key in item.inputs}
        stem = content_id(job.digest, "lost", *sorted(labels))
        workspace.table("failures").append(stem, _failures(job.name, job.digest, gone, labels))
    return tally(job, workspace, before)


def tally(job: Job, workspace: Workspace, before: set[str] | None = None) -> Tally:
    """Count what the tables hold of a job's inputs; `before` are the inputs that were results when it started."""
    everything = {key for item in job.items for key in item.inputs}
    results = job.finished() & everything
    reasons = {key: reason for key, reason in _failed(job, workspace).items() if key in everything}
    return Tally(
        job=job.name,
        unit=job.unit,
        inputs=len(everything),
        results=len(results),
        failures=Counter(reasons.values()),
        pending=len(everything - results - reasons.keys()),
        in_both=len(results & reasons.keys()),
        new_results=len(results - (before if before is not None else results)),
    )


def _due(job: Job, workspace: Workspace, alone: bool) -> list[Item]:
    settled = job.finished() | _failed(job, workspace).keys()
    due = []
    for item in job.items:
        missing = sorted(item.inputs.keys() - settled)
        if missing:
            due += [item.only([key]) for key in missing] if alone else [item.only(missing)]
    return due


def _failed(job: Job, workspace: Workspace) -> dict[str, str]:
    rows = workspace.table("failures").read(["job", "job_digest", "input_id", "reason"]).to_pylist()
    return {row["input_id"]: row["reason"] for row in rows if (row["job"], row["job_digest"]) == (job.name, job.digest)}


def _failures(
    name: str, digest: str, failures: Iterable[tuple[str, str, str]], labels: Mapping[str, str]
) -> list[Failure]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return [Failure(name, digest, key, labels[key], reason, detail, now) for key, reason, detail in failures]


def _run_round(
    job: Job, due: Sequence[Item], workspace: Workspace, settings: EngineSettings, room: Capacity, alone: bool
) -> None:
    import ray.data  # here, since it imports pandas, which most verbs need not wait for

    per_part = 1 if alone else max(1, min(settings.items_per_part, len(due) // (4 * room.workers)))
    blocks = [
        pa.table({"item": [pickle.dumps(item) for item in due[start : start + per_part]]})
        for start in range(0, len(due), per_part)
    ]
    ledger: Any = ray.remote(Ledger).options(num_cpus=0).remote()
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what it logs as an error it raises as well
    results = ray.data.from_arrow(blocks).map_batches(
        _PartWriter,
        fn_constructor_args=(replace(job, items=()), workspace.uri, ledger, settings, alone),
        batch_size=None,
        batch_format="pyarrow",
        zero_copy_batch=True,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=min(room.workers, len(blocks))),
        num_cpus=room.cpus_per_worker,
        num_gpus=settings.gpus_per_worker or None,
    )
    label = f"{job.name} (retrying alone)" if alone else job.name
    total = sum(len(item.inputs) for item in due)
    try:
        with Progress(label, total, job.unit) as progress, _watch(ledger, progress, settings.stall_limit_s):
            try:
                for _ in results.iter_batches(batch_size=None, batch_format="pyarrow"):
                    pass
            except Exception as error:
                if why := ray.get(ledger.why_unwritten.remote()):
                    raise UserError(
                        f"{job.name}: results cannot be written to {workspace.uri}: {why}. What is finished "
                        "stays; make room or mend the storage, and run it again to go on"
                    ) from error
                raise
            progress.advance(total - progress.done, note="")
    finally:
        ray.kill(ledger)  # the dataset holds on to it, and an idle process costs 150 MB


@contextmanager
def _watch(ledger: Any, progress: Progress, stall_limit_s: float):
    """Show the ledger's count as progress, and end the program when nothing has moved for the stall limit."""
    finished = threading.Event()

    def poll() -> None:
        while not finished.wait(POLL_S):
            try:
                ended, still_s, has_begun, in_hand = ray.get(ledger.state.remote(), timeout=30)
            except ray.exceptions.RayError:
                continue  # the ledger is restarting or the driver shuts down: the main thread will say which
            if finished.is_set():
                return
            progress.advance(max(0, ended - progress.done), note=", ".join(in_hand[:2]))
            if still_s > (stall_limit_s if has_begun else max(stall_limit_s, START_LIMIT_S)):
                print(
                    f"{progress.label}: nothing moved for {still_s:.0f} s (stall_limit_s = {stall_limit_s}), in hand: "
                    f"{', '.join(in_hand) or 'nothing'}; ending the run. What is finished stays, run it to go on.",
                    file=sys.stderr,
                    flush=True,
                )
                os._exit(75)

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()


def report(tally: Tally) -> int:
    """Print the accounting; the exit code is non-zero when it does not hold or something is pending."""
    print(tally, flush=True)
    return tally.exit_code
