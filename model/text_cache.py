"""Encoded prompts kept in memory: the least recently used go first, and their bytes are bounded.

    key = sha256(weights and tokenizers, dtype, settings, kind, prompt, picture) --> tensor on the CPU

A prompt of the full size takes up to 2 MiB (256 x 4096 in 16 bits), so 1 GiB keeps at least 512 of them.
"""

import hashlib
import json
from collections import OrderedDict

from torch import Tensor


def key_of(*parts: object) -> str:
    """sha256 over parts that JSON can write; the same on every machine."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=True).encode()).hexdigest()


class PromptCache:
    """Tensors by key, at most `limit_bytes` of them together. What it returns is shared: do not write into it."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes, self.num_bytes = limit_bytes, 0
        self._tensors: OrderedDict[str, Tensor] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tensors)

    def get(self, key: str) -> Tensor | None:
        """The tensor of a key, on the CPU, or None; asking for it makes it the most recently used."""
        if key not in self._tensors:
            return None
        self._tensors.move_to_end(key)
        return self._tensors[key]

    def put(self, key: str, tensor: Tensor) -> None:
        """Keep a tensor; one that is larger than the whole cache is not kept."""
        if key in self._tensors:
            self.num_bytes -= self._tensors.pop(key).nbytes
        if tensor.nbytes > self.limit_bytes:
            return
        self._tensors[key] = tensor.cpu()
        self.num_bytes += tensor.nbytes
        while self.num_bytes > self.limit_bytes:
            self.num_bytes -= self._tensors.popitem(last=False)[1].nbytes
