"""Several processes that make one sample together: what `torchrun` started, joined for the length of a block.

    torchrun --nproc-per-node 4 -m jobs generate --sequence-parallel 4 ...

Every process walks the same steps; the first one alone rewrites prompts, decodes, writes and speaks.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from curation.records import UserError


@contextmanager
def joined_processes(degree: int) -> Iterator[int]:
    """Join the process group inside the block; gives this process's rank, 0 for a process by itself.

    Args:
        degree: wanted number of processes; 0 or 1: this one alone.

    Raises:
        UserError: another number of processes was started.
    """
    if degree <= 1:
        yield 0
        return
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != degree:
        raise UserError(
            f"--sequence-parallel {degree} needs {degree} processes, {started} started; run it as "
            f"torchrun --nproc-per-node {degree} -m jobs generate --sequence-parallel {degree} ..."
        )
    import torch
    import torch.distributed as dist

    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield dist.get_rank()
    finally:
        dist.destroy_process_group()


def from_first(value: Any) -> Any:
    """The first process's value, on every process; the value itself where there is no group."""
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return value
    held = [value]
    dist.broadcast_object_list(held, src=0)
    return held[0]
