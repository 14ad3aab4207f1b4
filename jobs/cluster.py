"""Joining Ray: the cluster that a submitted job runs in, or a private one on this machine; never anybody else's.

`ray.init()` without an address joins the newest cluster of anybody on the machine, so the address is always given.
Inside `ray job submit` Ray sets RAY_ADDRESS; elsewhere a local cluster is started for this run alone.
"""

import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from curation.records import UserError

START_ATTEMPTS = 3
OBJECT_STORE_BYTES = 256 * 1024**2  # only ids and small payloads travel between processes


@dataclass(frozen=True)
class Capacity:
    """How many actors of which size the cluster takes."""

    workers: int
    cpus_per_worker: float


@contextmanager
def joined() -> Iterator[None]:
    """Be part of a Ray cluster inside the block; a cluster that was joined already stays as it is."""
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS", "local")
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address == "local":
        _start(quiet)
    else:
        ray.init(address=address, **quiet)
    try:
        yield
    finally:
        ray.shutdown()


def _start(quiet: Mapping[str, Any]) -> None:
    """Start a private cluster; Ray gives its own start 30 s, too few on a busy machine, so it gets several tries."""
    print("starting Ray on this machine", file=sys.stderr, flush=True)
    for attempt in range(START_ATTEMPTS):
        try:
            ray.init(address="local", include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES, **quiet)
            return
        except Exception as error:  # Ray raises a bare Exception here
            if "timed out during startup" not in str(error) or attempt == START_ATTEMPTS - 1:
                raise
            ray.shutdown()
            print(f"Ray did not start within its 30 s, trying again: {error}", file=sys.stderr, flush=True)


def capacity(
    workers: int,
    cpus_per_worker: float,
    memory_gib_per_worker: float,
    gpus_per_worker: float = 0.0,
    remedy: str = "lower engine.workers, engine.cpus_per_worker or engine.memory_gib_per_worker",
) -> Capacity:
    """Compare a plan with the cluster before any work starts.

    An actor pool that asks for more than there is waits for ever without a word, so this refuses instead.

    Args:
        workers: wanted actors, 0 for as many as fit.
        cpus_per_worker: CPUs per actor.
        memory_gib_per_worker: expected memory per actor in GiB.
        gpus_per_worker: GPUs per actor.
        remedy: what the user can change, for the message.

    Raises:
        UserError: not even the wanted actors fit; the message has the numbers.
    """
    resources = ray.cluster_resources()
    cpus, memory_gib = resources.get("CPU", 0.0), resources.get("memory", 0.0) / 1024**3
    by_cpus, by_memory = int(cpus / cpus_per_worker), int(memory_gib / memory_gib_per_worker)
    fitting = min(by_cpus, by_memory)
    gpus = resources.get("GPU", 0.0)
    if gpus_per_worker:
        fitting = min(fitting, int(gpus / gpus_per_worker))
    if fitting < max(1, workers):
        raise UserError(
            f"the plan needs {max(1, workers)} workers x {cpus_per_worker:g} CPUs and {memory_gib_per_worker:g} GiB"
            f"{f' and {gpus_per_worker:g} GPUs' if gpus_per_worker else ''}, "
            f"the cluster has {cpus:g} CPUs and {memory_gib:.1f} GiB"
            f"{f' and {gpus:g} GPUs' if gpus_per_worker else ''}, enough for {max(0, fitting)}; "
            f"{remedy}"
        )
    return Capacity(workers or fitting, cpus_per_worker)


def refuse_missing(what: str, missing: Sequence[str]) -> None:
    """Raise UserError with everything that is missing, before any work starts."""
    if missing:
        raise UserError(f"{what} cannot start:\n" + "\n".join(f"  - {line}" for line in missing))
