"""How many bytes of tensors live, op by op: what a memory estimate is held to, on any device, without an allocator."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveMemory(TorchDispatchMode):
    """Counts storages that ops inside the block made and that still live; `peak_bytes` is the most at any op.

    Args:
        known: tensors that are not counted: weights and inputs.
    """

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()
        self._known = {tensor.untyped_storage()._cdata for tensor in known}
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                if storage._cdata not in self._known:
                    self._live[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self.peak_bytes = max(self.peak_bytes, self.now_bytes())
        return result

    def now_bytes(self) -> int:
        """Bytes that live now."""
        self._live = {key: entry for key, entry in self._live.items() if not entry[0].expired()}
        return sum(size for _, size in self._live.values())


def step_memory(network: torch.nn.Module, given: tuple[Any, ...]) -> tuple[int, int]:
    """Bytes that live after a forward, and the most in a forward and backward with gradients there already."""
    for weight in network.parameters():
        weight.grad = torch.zeros_like(weight)
    known = [*network.parameters(), *(weight.grad for weight in network.parameters() if weight.grad is not None)]
    with LiveMemory([*known, *(leaf for leaf in tree_leaves(given) if isinstance(leaf, Tensor))]) as live:
        velocity = network(*given)
        kept = live.now_bytes()
        sum(each.float().square().mean() for each in velocity).backward()  # pyright: ignore[reportAttributeAccessIssue]
    return kept, live.peak_bytes
