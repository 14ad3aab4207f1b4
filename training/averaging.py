"""The result of a finished stage as weights on this machine, and the mean of several of them.

    stage a  average.safetensors --sha256 checked--+
    stage b  average.safetensors ------------------+--tensor by tensor--> (a + b) / 2

Several fine-tunings from the same weights, on other data or with other rates, end in one basin, and their mean is
better than each (model soups, arXiv 2203.05482; Movie Gen, arXiv 2410.13720, and Step-Video, arXiv 2502.10248, end so).
Only one tensor of each stage is in memory at a time.
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from curation.records import UserError
from model.weight_config import config_from_row
from model.weight_facts import file_digest
from model.weight_files import open_weights
from model.weights import NetworkWeights, identify
from training.checkpoint import AVERAGE, CheckpointStore


@contextmanager
def stage_weights(store: CheckpointStore) -> Iterator[NetworkWeights]:
    """The averaged weights that a finished stage ended with; a copy that goes with the block where they lie remote.

    Raises:
        UserError: the file is damaged.
    """
    step = max(store.steps())
    state, parts = store.state(step), store.file_parts(step, AVERAGE)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / parts[-1]
        if store.workspace.is_local:
            path = store.workspace.local_path(*parts)
        else:
            remote = store.workspace.path(*parts)
            with store.workspace.fs.open_input_stream(remote) as source, path.open("wb") as target:
                shutil.copyfileobj(source, target)
        expected, found = state["sha256"][AVERAGE], file_digest(path)
        if found != expected:
            raise UserError(
                f"checkpoint file {'/'.join(parts)} is damaged: state.json says sha256 {expected}, the file has "
                f"{found}; train the stage again"
            )
        result = state["result"]
        yield identify(open_weights(path), config_from_row({"network": result["network"], **result["config"]}))


def averaged(parts: Sequence[NetworkWeights]) -> Iterator[tuple[str, Tensor]]:
    """The mean of networks of one shape, by released names, float32; of a single network, its own values."""
    first, *others = ({link.name: link for link in weights.links} for weights in parts)
    for name, link in first.items():
        total = parts[0].read(link)
        if others:
            total = total.double()
            for weights, links in zip(parts[1:], others, strict=True):
                total += weights.read(links[name])
            total /= len(parts)
        yield name, total.to(torch.float32)
