"""Activations that wait for the backward in host memory: memory of the device for traffic over PCIe, not for compute.

    forward    block i      computes ..........  its activations leave meanwhile, on a stream of their own
    backward   block i      computes ..........  those of block i - 1 come back meanwhile

At video lengths a block computes far longer than its activations take to travel (arXiv 2503.20314 hides one block's
behind one to three blocks of compute), so it is preferred to computing them again; with full checkpointing a block's
inputs, all that is kept of it, travel. What selective checkpointing keeps does not pass here and stays on the device.

Weights are not activations: they stay where they are (FSDP2 takes them away by itself), and so do tensors under
MIN_BYTES. A tensor that several operations keep travels once. On a CPU the same code copies from host to host: no gain,
equal results.
"""

from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from training.activation_checkpoint import repeated_layers

MIN_BYTES = 1 << 16
"""Below it, starting a copy costs more than the memory is worth."""


def offload_activations(model: nn.Module, min_bytes: int = MIN_BYTES) -> None:
    """Let what every repeated layer keeps for its backward wait in host memory. Takes effect where gradients are on.

    Applied after activation checkpointing, which then keeps less to send. Raises ValueError if it was applied before.
    """
    traffic = _Traffic()
    for layer in repeated_layers(model):
        if getattr(layer.forward, "func", None) is _run:
            raise ValueError("activation offload is applied already; build the network anew without it")
        layer.forward = partial(_run, layer, layer.forward, traffic, min_bytes)


class _Traffic:
    """The stream that copies, and the layer whose activations left last."""

    def __init__(self) -> None:
        self.last: Callable[[], _Cargo | None] = lambda: None
        self._stream: torch.cuda.Stream | None = None

    def stream(self, device: torch.device) -> "torch.cuda.Stream | None":
        """None on a CPU, where copies take place at once."""
        if device.type == "cuda" and self._stream is None:
            self._stream = torch.cuda.Stream(device)
        return self._stream


class _Trip:
    """One tensor: away on the host, and back when it is asked for."""

    def __init__(self, tensor: Tensor, stream: "torch.cuda.Stream | None") -> None:
        self._device, self._stream = tensor.device, stream
        self._back: Tensor | None = None
        self._host = torch.empty_like(tensor, device="cpu", pin_memory=stream is not None)
        if stream is None:
            self._host.copy_(tensor)
            return
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            self._host.copy_(tensor, non_blocking=True)
        tensor.record_stream(stream)

    def fetch(self) -> None:
        """Begin the way back."""
        if self._back is None and self._stream is not None:
            with torch.cuda.stream(self._stream):
                self._back = self._host.to(self._device, non_blocking=True)

    def tensor(self) -> Tensor:
        """The tensor, back on its device."""
        if self._stream is None:
            return self._host
        self.fetch()
        assert self._back is not None
        torch.cuda.current_stream(self._device).wait_stream(self._stream)
        self._back.record_stream(torch.cuda.current_stream(self._device))
        return self._back


class _Cargo:
    """What one run of a layer keeps: sent away once per tensor, and fetched together with the layer before it.

    It lives as long as the graph of its run, which alone holds it.
    """

    def __init__(self, weights: set[int], traffic: _Traffic, min_bytes: int) -> None:
        self._weights, self._traffic, self._min_bytes = weights, traffic, min_bytes
        self._trips: dict[tuple[Any, ...], _Trip] = {}
        self._sent: list[Tensor] = []
        self._before, traffic.last = traffic.last, ref(self)  # weak: a graph that is dropped takes its cargo along

    def pack(self, tensor: Tensor) -> "Tensor | tuple[_Cargo, _Trip]":
        """The tensor's trip, or itself if it stays."""
        if tensor.nbytes < self._min_bytes or tensor.untyped_storage().data_ptr() in self._weights:
            return tensor
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor._version)
        if key not in self._trips:
            self._trips[key] = _Trip(tensor.detach(), self._traffic.stream(tensor.device))
            self._sent.append(tensor.detach())  # until the layer is done, so that no other takes its address
        return self, self._trips[key]

    def close(self) -> None:
        """The layer is done: what was sent is let go of here."""
        self._sent.clear()

    def fetch(self) -> None:
        """Begin to bring everything back."""
        for trip in self._trips.values():
            trip.fetch()

    def unpack(self) -> None:
        """The layer's backward has begun: fetch its own tensors, and let those of the layer before follow."""
        self.fetch()
        before = self._before()
        if before is not None:
            before.fetch()


def _unpack(kept: "Tensor | tuple[_Cargo, _Trip]") -> Tensor:
    if isinstance(kept, Tensor):
        return kept
    cargo, trip = kept
    cargo.unpack()
    return trip.tensor()


def _run(layer: nn.Module, forward: Callable[..., Any], traffic: _Traffic, min_bytes: int, *args: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args)
    weights = {weight.untyped_storage().data_ptr() for weight in layer.parameters()}
    cargo = _Cargo(weights, traffic, min_bytes)
    with saved_tensors_hooks(cargo.pack, _unpack):
        result = forward(*args)
    cargo.close()
    return result
