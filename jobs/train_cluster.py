"""`dailies train --processes N --restarts K`: training on N processes of a Ray cluster, started again when one dies.

    this process                             Ray Train's controller             N workers, each a CPU and a GPU if any
    fit() -------- TorchTrainer -----------> starts the group ----------------> work(given): open_ranks, train, close
      ^                                          |  a worker is gone: all stop, all start again, at most K times
      +---- Console, an actor: lines of the first process, and why the run must stop ----+

Ray Train brings the processes together (its environment is torchrun's) and looks every two seconds whether one is gone.
What they continue from are our checkpoints: the newest whole one, to the bit. What Ray Train keeps for itself lies in a
folder `ray_train-...` of the workspace while the run lasts.

What the user has to mend (a damaged checkpoint, a loss that is NaN) would be the same after a restart: the process that
meets it tells the console, and processes that are started after that end at once.
"""

import contextlib
import io
import os
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig, UserCallback
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError

from curation.records import UserError
from curation.tables import Workspace
from jobs.cluster import capacity, joined

if TYPE_CHECKING:
    from jobs.config import Context

PRINT_EVERY_S = 0.5
MEMORY_GIB_PER_PROCESS = 1.0  # what is booked; the estimate before step 0 is what refuses a network that does not fit
BOOKKEEPING = "ray_train"

Work = Callable[[Mapping[str, Any]], None]
"""What every process does; a module's function, since it travels by name. Only the first process is heard."""


@dataclass(frozen=True)
class Processes:
    """How many processes, and how often they may be started again."""

    number: int
    restarts: int = 0


@ray.remote(num_cpus=0)
class Console:
    """What the processes have to say to the one who started them."""

    def __init__(self) -> None:
        self.texts: list[tuple[bool, str]] = []
        self.stop_cause: str | None = None

    def say(self, is_error: bool, text: str) -> None:
        self.texts.append((is_error, text))

    def take(self) -> list[tuple[bool, str]]:
        texts, self.texts = self.texts, []
        return texts

    def stop(self, cause: str) -> None:
        self.stop_cause = self.stop_cause or cause

    def cause(self) -> str | None:
        return self.stop_cause


class _Heard(io.TextIOBase):
    """Standard output or error of the first process."""

    def __init__(self, console: Any, is_error: bool) -> None:
        self.console, self.is_error = console, is_error

    def write(self, text: str, /) -> int:
        if text:
            self.console.say.remote(self.is_error, text)
        return len(text)


class _Restarts(UserCallback):
    """Says in the controller why the processes are started again."""

    def __init__(self, console: Any, allowed: int) -> None:
        self.console, self.allowed, self.seen = console, allowed, 0

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        del run_context
        if ray.get(self.console.cause.remote()) is not None:
            return
        self.seen += 1
        then = f"restart {self.seen} of {self.allowed}" if self.seen <= self.allowed else "no restart is left"
        causes = "; ".join(f"process {rank}: {_short(error)}" for rank, error in sorted(worker_exceptions.items()))
        ray.get(self.console.say.remote(True, f"train: {causes}; {then}\n"))


def _short(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def run(context: "Context", processes: Processes) -> int:
    """Train on the cluster that this job runs in, or on a private one."""
    given = {"recipe": context.recipe.model_dump_json(), "workspace": context.workspace.uri}
    spread(_train, given, processes, context.workspace)
    return 0


def _train(given: Mapping[str, Any]) -> None:
    import argparse

    from jobs.config import Context, Recipe
    from jobs.train import train

    recipe = Recipe.model_validate_json(given["recipe"])
    train(Context(recipe, Workspace(given["workspace"]), argparse.Namespace()))


def spread(work: Work, given: Mapping[str, Any], processes: Processes, workspace: Workspace) -> None:
    """Let processes do a work together, again from the start when one dies; comes back when it is done.

    Args:
        given: what `work` gets; plain values.
        workspace: where Ray Train keeps its own state meanwhile; every process can reach it.

    Raises:
        UserError: the cluster is too small, the work raised one, or a process died and no restart is left.
    """
    with joined():
        gpus = 1.0 if ray.cluster_resources().get("GPU") else 0.0
        capacity(processes.number, 1.0, MEMORY_GIB_PER_PROCESS, gpus, remedy="lower --processes")
        console, bookkeeping = Console.remote(), f"{BOOKKEEPING}-{uuid.uuid4().hex}"
        trainer = TorchTrainer(
            _in_process,
            train_loop_config={"work": work, "given": dict(given), "console": console},
            torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if gpus else "gloo"),
            scaling_config=ScalingConfig(num_workers=processes.number, use_gpu=bool(gpus)),
            run_config=RunConfig(
                name=BOOKKEEPING,
                storage_path=workspace.path(bookkeeping),
                storage_filesystem=workspace.fs,
                failure_config=FailureConfig(max_failures=processes.restarts),
                callbacks=[_Restarts(console, processes.restarts)],
            ),
        )
        try:
            with _shown(console), _left_as_they_are():
                trainer.fit()
            failure = None
        except TrainingFailedError as error:
            failure = error
        finally:
            if workspace.exists(bookkeeping):
                workspace.fs.delete_dir(workspace.path(bookkeeping))
        cause = ray.get(console.cause.remote())
        if cause is not None:
            raise UserError(cause)
        if failure is not None:
            raise UserError(
                f"training stopped after {processes.restarts} restarts; run it again, which continues from the last "
                f"whole checkpoint, or allow more with --restarts\n{failure}"
            ) from failure


def _in_process(config: dict[str, Any]) -> None:
    """What a worker runs: the work, heard if it is the first, ended at once if a restart cannot help."""
    console = config["console"]
    if ray.get(console.cause.remote()) is not None:
        return
    first = os.environ["RANK"] == "0"
    out, error = (_Heard(console, False), _Heard(console, True)) if first else (io.StringIO(), io.StringIO())
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            config["work"](config["given"])
    except UserError as fault:
        ray.get(console.stop.remote(str(fault)))
        raise


@contextlib.contextmanager
def _shown(console: Any) -> Iterator[None]:
    """Print what the console takes while the block runs."""
    done = threading.Event()

    def show() -> None:
        while not done.wait(PRINT_EVERY_S):
            _print(console)

    thread = threading.Thread(target=show, name="console")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        _print(console)


def _print(console: Any) -> None:
    for is_error, text in ray.get(console.take.remote()):
        print(text, end="", file=sys.stderr if is_error else sys.stdout, flush=True)


@contextlib.contextmanager
def _left_as_they_are() -> Iterator[None]:
    """Keep the processes' working folder, which paths of a recipe begin at, and this process's answer to Ctrl-C."""
    name = "RAY_CHDIR_TO_TRIAL_DIR"
    before, handler = os.environ.get(name), signal.getsignal(signal.SIGINT)
    os.environ[name] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)
