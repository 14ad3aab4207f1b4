"""Checkpoints: one folder per step, whole or not there, written by all processes while the next step is trained.

    <run>/<stage>/step-000100/model.rank-00000.safetensors      weights: this process's chunks, released names
                              average.rank-00000.safetensors    their running average
                              optimizer.rank-00000.safetensors  moments, by parameter name
                              average.safetensors               the stage's result, whole: only in its last checkpoint
                              state.json                        step, place in the data, seed, sha256 of the files; last

`state.json` is the commit: a folder without it is what a killed writer left, is never read and is swept before the next
checkpoint. So the same code serves a folder and an object store, where folders cannot be renamed. It holds the digest
of every file and of itself; all are checked before anything is loaded. Nothing is pickled.

`save` copies tensors to host memory, which is all the training waits for; a thread writes them (training.
checkpoint_files) and the first process commits when all have written. Loading works on any number of processes. All
processes call `save`, `wait` and `load_into` together; the rest each may call alone.
"""

import hashlib
import json
import warnings
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from pyarrow import fs as pafs
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions
from torch.distributed.checkpoint.state_dict_loader import load as read_tensors
from torch.distributed.checkpoint.state_dict_saver import async_save
from torch.distributed.tensor import DTensor

from curation.records import UserError
from curation.tables import Workspace
from model.weight_writing import TensorSpec
from training.checkpoint_files import SUFFIX, ShardReader, ShardWriter, digest_of, stem_of, write_file

STATE = "state.json"
PREFIX = "step-"
AVERAGE = "average"

NamedTensors = Mapping[str, Tensor]


class Damage(NamedTuple):
    """A file whose digest is not the one written down; `found` is empty where there is no file."""

    path: str
    expected: str
    found: str


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory: named tensors by file stem, and what JSON can hold."""

    step: int
    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]


@dataclass(frozen=True)
class _Pending:
    step: int
    written: Future[Any]


class CheckpointStore:
    """The checkpoints of one stage of one run.

    Args:
        workspace: where they lie.
        path: the stage's folder within it.
        keep_last: older ones are removed after each save; at least 1.
    """

    def __init__(self, workspace: Workspace, *path: str, keep_last: int = 2) -> None:
        self.workspace, self.path, self.keep_last = workspace, path, max(1, keep_last)
        self._pending: _Pending | None = None
        self._stager: DefaultStager | None = None
        self._group: dist.ProcessGroup | None = None

    def steps(self) -> list[int]:
        """Steps with a whole checkpoint, ascending."""
        return sorted(step for step, folder in self._folders().items() if self.workspace.exists(*folder, STATE))

    def state(self, step: int) -> dict[str, Any]:
        """What `state.json` of a step says, `sha256` of each file included.

        Raises:
            UserError: it is damaged.
        """
        state = self._read_state(step)
        if isinstance(state, Damage):
            raise UserError(self._damage_text(state, step))
        return state

    def file_parts(self, step: int, stem: str) -> tuple[str, ...]:
        """Where a file of a step lies within the workspace."""
        return (*self._folder(step), f"{stem}{SUFFIX}")

    def save(
        self,
        step: int,
        tensors: Mapping[str, NamedTensors],
        facts: Mapping[str, Any] | None = None,
        wait: bool = False,
        result: NamedTensors | None = None,
    ) -> None:
        """Write a checkpoint, then remove what is older than the last `keep_last`.

        Returns as soon as the tensors are copied; the next `save` and `wait` wait for the files.

        Args:
            tensors: DTensors or tensors by stem and name; every process writes what it holds of them.
            facts: what JSON can hold; the same on every process.
            wait: come back when the checkpoint is whole.
            result: the stage's averaged weights, written whole into `average.safetensors`, tensor by tensor.

        Raises:
            UserError: this checkpoint (`wait`, `result`) or the one before could not be written.
        """
        self.wait()
        content = json.loads(json.dumps({"step": step, **(facts or {})}))  # as it is now, whenever it is written
        folder, failure, digests = self._folder(step), None, {}
        if _is_first():
            try:
                self._sweep()
                self.workspace.fs.create_dir(self.workspace.path(*folder), recursive=True)
            except OSError as error:
                failure = error
        if result is not None:
            failure, digests = self._write_result(folder, result, failure)
        writer = ShardWriter(
            self.workspace, folder, lambda others: self._commit(step, content, {**digests, **others}), failure
        )
        flat = {f"{stem}/{name}": tensor for stem, named in tensors.items() for name, tensor in named.items()}
        self._pending = _Pending(step, self._write(flat, writer))
        if wait:
            self.wait()

    def save_result(self, step: int, average: NamedTensors, facts: Mapping[str, Any]) -> None:
        """The checkpoint of a finished stage: the averaged weights alone, whole; comes back when it is there."""
        self.save(step, {}, facts, wait=True, result=average)

    def wait(self) -> None:
        """Come back when the pending checkpoint, if there is one, is whole.

        Raises:
            UserError: it could not be written, by this process or another; names the cause and the last good one.
        """
        pending, self._pending = self._pending, None
        if pending is None:
            return
        try:
            pending.written.result()
        except CheckpointException as error:
            rank, failure = _first_failure(error)
            if not isinstance(failure, OSError):
                raise failure from error
            if _is_first():
                self._sweep()
            text = f"{failure}" if _num_processes() == 1 else f"process {rank}: {failure}"
            raise UserError(self._failure_text(pending.step, text)) from error
        except RuntimeError as error:
            text = f"another process ended while it was written ({_first_line(error)})"
            raise UserError(self._failure_text(pending.step, text)) from error

    def load_into(self, step: int, tensors: Mapping[str, NamedTensors]) -> None:
        """Read tensors of a checkpoint in place, from any number of processes to any other.

        Args:
            tensors: DTensors or tensors by stem and name, as `save` got them; some stems or names will do.

        Raises:
            UserError: a file that is needed is damaged; names it and the last good step before it.
        """
        self.wait()
        stems = set(tensors)
        files = self._files(step, stems)
        self._refuse_damage(step, files)
        flat = {f"{stem}/{name}": tensor for stem, named in tensors.items() for name, tensor in named.items()}
        self._read(flat, ShardReader(self.workspace, self._folder(step), files), self._open_group())

    def load_whole(self, step: int, stem: str) -> dict[str, Tensor]:
        """The whole tensors of a stem, in this process's memory. Raises as `load_into`."""
        files = self._files(step, {stem})
        damage = self._damage(step, files)
        if damage:
            raise UserError(self._damage_text(damage[0], step))
        reader = ShardReader(self.workspace, self._folder(step), files)
        tensors = {}
        for key, row in reader.read_metadata().state_dict_metadata.items():
            assert isinstance(row, TensorStorageMetadata)
            tensors[key] = torch.empty(row.size, dtype=row.properties.dtype)
        self._read(tensors, reader, None)
        return {key.split("/", 1)[1]: tensor for key, tensor in tensors.items()}

    def load(self, step: int, stems: tuple[str, ...] | None = None) -> Checkpoint:
        """Read a checkpoint, or only some of its stems, whole. Raises as `load_into`."""
        state = self.state(step)
        wanted = stems or tuple(dict.fromkeys(map(stem_of, state["sha256"])))
        return Checkpoint(step, {stem: self.load_whole(step, stem) for stem in wanted}, state)

    def _write(self, flat: dict[str, Tensor], writer: ShardWriter) -> Future[Any]:
        group = self._open_group()
        if self._stager is None:
            cuda = torch.cuda.is_available()
            self._stager = DefaultStager(StagingOptions(cuda, False, False, cuda))
        planner = DefaultSavePlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
        _expect_one_process()
        written = async_save(
            flat,
            storage_writer=writer,
            planner=planner,
            process_group=group,
            async_stager=self._stager,
            no_dist=group is None,
        )
        assert isinstance(written, Future)
        return written

    def _read(self, flat: dict[str, Tensor], reader: ShardReader, group: dist.ProcessGroup | None) -> None:
        planner = DefaultLoadPlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
        _expect_one_process()
        try:
            read_tensors(flat, storage_reader=reader, planner=planner, process_group=group, no_dist=group is None)
        except CheckpointException as error:
            raise _first_failure(error)[1] from error

    def _open_group(self) -> dist.ProcessGroup | None:
        """Gloo by itself: its messages are sent by a thread, beside those of the training."""
        if self._group is None and _num_processes() > 1:
            group = dist.new_group(backend="gloo")
            assert isinstance(group, dist.ProcessGroup)
            self._group = group
        return self._group

    def _write_result(
        self, folder: tuple[str, ...], result: NamedTensors, failure: OSError | None
    ) -> tuple[OSError | None, dict[str, str]]:
        """All processes gather, the first writes; one that cannot write still gathers, or the others would wait."""
        names = sorted(result, key=lambda name: (-result[name].dtype.itemsize, name))
        gathered = (_gather(result[name]) for name in names)
        digests = {}
        if _is_first() and failure is None:
            specs = [TensorSpec(name, result[name].dtype, tuple(result[name].shape)) for name in names]
            try:
                digests[AVERAGE] = write_file(self.workspace, (*folder, f"{AVERAGE}{SUFFIX}"), specs, gathered, {})
            except OSError as error:
                failure = error
        for _ in gathered:
            pass
        return failure, digests

    def _commit(self, step: int, content: dict[str, Any], digests: dict[str, str]) -> None:
        state = {**content, "sha256": digests}
        data = json.dumps({**state, "digest": _digest_of_state(state)}, indent=1).encode()
        self.workspace.write_bytes(data, *self._folder(step), STATE)
        for old in self.steps()[: -self.keep_last]:
            self._remove(self._folder(old))

    def _read_state(self, step: int) -> dict[str, Any] | Damage:
        path = (*self._folder(step), STATE)
        try:
            state = json.loads(self.workspace.read_bytes(*path))
            expected = state.pop("digest")
        except (ValueError, KeyError, AttributeError):
            return Damage("/".join(path), "", "no whole JSON")
        found = _digest_of_state(state)
        return state if found == expected else Damage("/".join(path), expected, found)

    def _files(self, step: int, stems: set[str]) -> dict[str, str]:
        """The digests of the files that hold these stems; a whole file stands for those of the processes."""
        digests = self.state(step)["sha256"]
        files = {}
        for stem in sorted(stems):
            of_stem = {name: digest for name, digest in digests.items() if stem_of(name) == stem}
            assert of_stem, f"step {step} has no {stem}; it has {sorted(digests)}"
            files |= {stem: of_stem[stem]} if stem in of_stem else of_stem
        return files

    def _damage(self, step: int, files: Mapping[str, str], first: int = 0, each: int = 1) -> list[Damage]:
        damage = []
        for name, expected in sorted(files.items())[first::each]:
            path = self.file_parts(step, name)
            found = digest_of(self.workspace, *path)
            if found != expected:
                damage.append(Damage("/".join(path), expected, found))
        return damage

    def _refuse_damage(self, step: int, files: Mapping[str, str]) -> None:
        """Each process reads its share of the files; all of them learn what is wrong with any."""
        group = self._open_group()
        if group is None:
            damage = self._damage(step, files)
            text = self._damage_text(damage[0], step) if damage else None
        else:
            gathered: list[Any] = [None] * dist.get_world_size(group)
            dist.all_gather_object(gathered, self._damage(step, files, dist.get_rank(), len(gathered)), group)
            damage = [each for of_rank in gathered for each in of_rank]
            held = [self._damage_text(damage[0], step) if damage and _is_first() else None]
            dist.broadcast_object_list(held, 0, group)
            text = held[0]
        if text is not None:
            raise UserError(text)

    def _damage_text(self, damage: Damage, step: int) -> str:
        good = self._last_good(step)
        remedy = f"the run continues from step {good}, which is whole" if good else "the stage starts again"
        says = f"state.json says sha256 {damage.expected}, " if damage.expected else ""
        found = f"the file has {damage.found}" if damage.found else "there is no such file"
        folder = self.workspace.path(*self._folder(step))
        return f"checkpoint file {damage.path} is damaged: {says}{found}; remove {folder} and {remedy}"

    def _failure_text(self, step: int, cause: str) -> str:
        steps = self.steps()
        good = f"the last good checkpoint is step {steps[-1]}" if steps else "there is no good checkpoint yet"
        place = self.workspace.path(*self.path)
        return (
            f"the checkpoint of step {step} could not be written to {place}: {cause}; nothing of it counts, {good}; "
            "mend the cause (make room on a full disk) and run it again, which continues from there"
        )

    def _last_good(self, before: int) -> int | None:
        """The newest step before this one whose files all have their digests."""
        for step in reversed([step for step in self.steps() if step < before]):
            state = self._read_state(step)
            if not isinstance(state, Damage) and not self._damage(step, state["sha256"]):
                return step
        return None

    def _folder(self, step: int) -> tuple[str, ...]:
        return (*self.path, f"{PREFIX}{step:06d}")

    def _folders(self) -> dict[int, tuple[str, ...]]:
        selector = pafs.FileSelector(self.workspace.path(*self.path), allow_not_found=True)
        names = [info.base_name for info in self.workspace.fs.get_file_info(selector)]
        return {int(name.removeprefix(PREFIX)): (*self.path, name) for name in names if name.startswith(PREFIX)}

    def _sweep(self) -> None:
        whole = set(self.steps())
        for step, folder in self._folders().items():
            if step not in whole:
                self._remove(folder)

    def _remove(self, folder: tuple[str, ...]) -> None:
        """Take the commit away first, so that a kill in between leaves no half checkpoint that looks whole."""
        if self.workspace.exists(*folder, STATE):
            self.workspace.fs.delete_file(self.workspace.path(*folder, STATE))
        self.workspace.fs.delete_dir(self.workspace.path(*folder))


def _digest_of_state(state: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _num_processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _is_first() -> bool:
    return _num_processes() == 1 or dist.get_rank() == 0


def _first_failure(error: CheckpointException) -> tuple[int, BaseException]:
    """The process that failed and how; bugs before full disks."""
    failures = [(rank, failure) for rank, (failure, _) in sorted(error.failures.items())]
    return min(failures, key=lambda each: isinstance(each[1], OSError))


def _gather(tensor: Tensor) -> Tensor:
    whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return whole.detach().cpu()


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _expect_one_process() -> None:
    """Torch warns at every call without a process group, which is a way of training here, not a mistake."""
    warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
