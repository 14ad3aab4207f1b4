"""Checkpoints: one folder per step, whole or not there, with every file's digest.

    <run>/<stage>/step-000100/model.safetensors      trained weights, released names
                              average.safetensors    their running average: the stage's result
                              optimizer.safetensors  moments, by parameter name
                              state.json             step, place in the data, seed, sha256 of the files; written last

`state.json` is the commit: each file is written aside and renamed, and a folder without `state.json` is what a killed
writer left, is never read and is swept before the next checkpoint. So the same code serves a folder and an object
store, where folders cannot be renamed. Nothing is pickled.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from pyarrow import fs as pafs
from safetensors.torch import load, save
from torch import Tensor

from curation.records import UserError
from curation.tables import Workspace

STATE = "state.json"
PREFIX = "step-"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory: named tensors by file stem, and what JSON can hold."""

    step: int
    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]


class CheckpointStore:
    """The checkpoints of one stage of one run.

    Args:
        workspace: where they lie.
        path: the stage's folder within it.
        keep_last: older ones are removed after each save; at least 1.
    """

    def __init__(self, workspace: Workspace, *path: str, keep_last: int = 2) -> None:
        self.workspace, self.path, self.keep_last = workspace, path, max(1, keep_last)

    def steps(self) -> list[int]:
        """Steps with a whole checkpoint, ascending."""
        return sorted(step for step, folder in self._folders().items() if self.workspace.exists(*folder, STATE))

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, then remove what is older than the last `keep_last`."""
        self._sweep()
        folder = self._folder(checkpoint.step)
        digests = {}
        for stem, tensors in checkpoint.tensors.items():
            data = save({name: tensor.contiguous() for name, tensor in tensors.items()})
            digests[stem] = hashlib.sha256(data).hexdigest()
            self.workspace.write_bytes(data, *self.file_parts(checkpoint.step, stem))
        state = {"step": checkpoint.step, "sha256": digests, **checkpoint.state}
        self.workspace.write_bytes(json.dumps(state, indent=1).encode(), *folder, STATE)
        for step in self.steps()[: -self.keep_last]:
            self._remove(self._folder(step))

    def state(self, step: int) -> dict[str, Any]:
        """What `state.json` of a step says, `sha256` of each file included."""
        return json.loads(self.workspace.read_bytes(*self._folder(step), STATE))

    def load(self, step: int, stems: tuple[str, ...] | None = None) -> Checkpoint:
        """Read a checkpoint, or only some of its files.

        Raises:
            UserError: a file's digest is not the one written down; names the file and the last good step before it.
        """
        state = self.state(step)
        tensors = {}
        for stem, expected in state["sha256"].items():
            if stems is not None and stem not in stems:
                continue
            path = self.file_parts(step, stem)
            data = self.workspace.read_bytes(*path) if self.workspace.exists(*path) else b""
            found = hashlib.sha256(data).hexdigest()
            if found != expected:
                raise UserError(self._damage("/".join(path), expected, found, step))
            tensors[stem] = load(data)
        return Checkpoint(step, tensors, state)

    def file_parts(self, step: int, stem: str) -> tuple[str, ...]:
        """Where a file of a step lies within the workspace."""
        return (*self._folder(step), f"{stem}.safetensors")

    def _damage(self, path: str, expected: str, found: str, step: int) -> str:
        earlier = [good for good in self.steps() if good < step]
        remedy = f"the run continues from step {earlier[-1]}" if earlier else "the stage starts again"
        folder = self.workspace.path(*self._folder(step))
        return (
            f"checkpoint file {path} is damaged: state.json says sha256 {expected}, the file has {found}; "
            f"remove {folder} and {remedy}"
        )

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
