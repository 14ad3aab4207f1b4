"""Batches fetched ahead of the step that takes them, in order, by worker processes or by a thread.

    planned batches --> DataLoader workers (or this process) --fetch(sample)--> ahead, in order --> the loop

A worker takes whole batches; which one takes which changes nothing, since what is fetched follows from the sample
alone. When a worker is killed (out of memory, mostly), the batches that had not been handed over are fetched again by
new workers, and the loop sees the same sequence. A thread drives the workers: torch would otherwise raise their death
as an error in the middle of whatever the main thread is doing. Without workers that thread fetches by itself: torch and
the decoder let go of the interpreter's lock, so the step goes on meanwhile.
"""

import pickle
import queue
import resource
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import Any

from torch.utils.data import DataLoader, Dataset

from curation.records import UserError
from training.data import Sample

MAX_DEATHS = 3  # of workers in a row, with no batch handed over between
POLL_S = 0.1
# A worker hands tensors over itself, so one that dies with some in the queue breaks a connection.
_DEATH = (RuntimeError, OSError, EOFError, pickle.UnpicklingError)

Fetch = Callable[[Sample], Any]
Batch = Sequence[Sample]


class LoaderError(RuntimeError):
    """A sample could not be fetched, or workers die again and again; names the clips and their shards."""


@dataclass(frozen=True)
class _Failed:
    """What a worker gives instead of what it could not fetch."""

    sample: Sample
    message: str
    is_users: bool
    trace: str

    def error(self) -> Exception:
        clip = self.sample.clip
        where = f"clip {clip.clip_id} of shard {clip.shard_uri}"
        if self.is_users:
            return UserError(f"{where}: {self.message}")
        return LoaderError(f"{where} could not be read: {self.message}\n{self.trace}")


class _Samples(Dataset):
    """Makes a DataLoader's index a sample: fetches what it is given."""

    def __init__(self, fetch: Fetch) -> None:
        self.fetch = fetch

    def __getitems__(self, samples: Batch) -> list[Any]:
        return [self[sample] for sample in samples]

    def __getitem__(self, sample: Sample) -> Any:
        try:
            return self.fetch(sample)
        except Exception as error:  # raised where the batch is taken, with the clip's name
            return _Failed(sample, f"{type(error).__name__}: {error}", isinstance(error, UserError), _traced(error))


def _traced(error: Exception) -> str:
    return "".join(traceback.format_exception(error))


def _as_it_is(fetched: list[Any]) -> list[Any]:
    return fetched


class StepLoader:
    """Iterates once over (samples, what was fetched of each), in the order of the batches.

    Args:
        fetch: what is wanted of a sample; with workers it runs in forked processes and touches no GPU.
        batches: as planned; may be endless, and is read `ahead` of what was taken.
        num_workers: processes; 0 = a thread of this process.
        ahead: batches kept ready, per worker.

    Raises:
        UserError, LoaderError: from the iterator; a sample could not be fetched, or workers keep dying.
    """

    def __init__(self, fetch: Fetch, batches: Iterable[Batch], num_workers: int, ahead: int = 2) -> None:
        self.num_workers, self.ahead = num_workers, max(1, ahead)
        self.stall_s = 0.0
        self.num_deaths = 0
        self._samples, self._planned = _Samples(fetch), iter(batches)
        self._pending: deque[Batch] = deque()
        self._plan_error: Exception | None = None
        self._ready: queue.Queue[tuple[Batch, Any]] = queue.Queue(maxsize=1 if num_workers else self.ahead)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="loader", daemon=True)
        self._began = False

    def __iter__(self) -> Iterator[tuple[Batch, list[Any]]]:
        if not self._began:
            self._began = True
            self._thread.start()
        try:
            while True:
                started_s = time.perf_counter()
                samples, fetched = self._ready.get()
                self.stall_s += time.perf_counter() - started_s
                if isinstance(fetched, _End):
                    if fetched.error is not None:
                        raise fetched.error
                    return
                failed = next((one for one in fetched if isinstance(one, _Failed)), None)
                if failed is not None:
                    raise failed.error()
                yield samples, fetched
        finally:
            self.close()

    def close(self) -> None:
        """Stop fetching and end the workers; returns when they are gone."""
        self._stop.set()
        while self._thread.is_alive():
            try:
                self._ready.get(timeout=POLL_S)  # the thread may be waiting for room
            except queue.Empty:
                continue
        if self._began:
            self._thread.join()

    def _run(self) -> None:
        end = _End(None)
        try:
            with closing(self._by_workers() if self.num_workers else self._in_this_process()) as batches:
                for batch, fetched in batches:
                    if not self._hand_over(batch, fetched):
                        return
        except Exception as error:  # the consumer raises it
            end = _End(error)
        self._hand_over((), end)

    def _hand_over(self, batch: Batch, fetched: Any) -> bool:
        while not self._stop.is_set():
            try:
                self._ready.put((batch, fetched), timeout=POLL_S)
                return True
            except queue.Full:
                continue
        return False

    def _in_this_process(self) -> Generator[tuple[Batch, list[Any]]]:
        for batch in self._planned:
            yield batch, self._samples.__getitems__(batch)

    def _by_workers(self) -> Generator[tuple[Batch, list[Any]]]:
        _allow_many_files()
        deaths = 0
        while True:
            workers = iter(self._loader())
            try:
                for fetched in workers:
                    deaths = 0
                    yield self._pending.popleft(), fetched
                break
            except _DEATH as error:
                # What fetching or planning raises comes as a value, so this is the death of a worker.
                deaths, self.num_deaths = deaths + 1, self.num_deaths + 1
                if deaths == MAX_DEATHS:
                    raise LoaderError(self._why_dying(error)) from error
            finally:
                workers._shutdown_workers()  # type: ignore[attr-defined]
        if self._plan_error is not None:
            raise self._plan_error

    def _loader(self) -> DataLoader:
        return DataLoader(
            self._samples,
            batch_sampler=self._pull(),  # type: ignore[arg-type]
            num_workers=self.num_workers,
            prefetch_factor=self.ahead,
            collate_fn=_as_it_is,
            multiprocessing_context="fork",
        )

    def _pull(self) -> Iterator[list[Sample]]:
        """What was not handed over, then what is planned; all of it stays pending until it is handed over."""
        again, self._pending = list(self._pending), deque()
        try:
            for batch in chain(again, self._planned):
                self._pending.append(batch)
                yield list(batch)
        except Exception as error:  # raised when what was planned before it has been handed over
            self._plan_error = error

    def _why_dying(self, error: Exception) -> str:
        clips = [sample.clip for batch in list(self._pending)[: self.num_workers] for sample in batch]
        named = ", ".join(f"{clip.clip_id} of {clip.shard_uri}" for clip in clips[:8])
        return (
            f"the loader's workers died {MAX_DEATHS} times in a row ({error}); they were at {named}"
            f"{' and others' if len(clips) > 8 else ''}. Mostly memory, or /dev/shm, is short: lower "
            "train.parallel.loader_workers or train.cache_mb"
        )


@dataclass(frozen=True)
class _End:
    """No more batches: there are none, or this happened."""

    error: Exception | None


def _allow_many_files() -> None:
    """A tensor on its way from a worker is an open file, and the usual soft limit is 1,024 of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
