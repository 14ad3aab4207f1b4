"""The part of a tensor that this process holds, whether it is spread over processes (DTensor) or not.

Optimizers work on parts and must not learn different things on different processes: what depends on the place of an
element (blocks of 8-bit moments, random bits of rounding) follows from its place in the whole tensor, so that copies
on replicas stay equal and a run may continue on another number of processes.
"""

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset


def local(tensor: Tensor) -> Tensor:
    """This process's part; the tensor itself where it is not spread. Shares memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def offset_of(tensor: Tensor) -> tuple[int, ...]:
    """Index in the whole tensor of this part's first element, one number per dimension."""
    if not isinstance(tensor, DTensor):
        return (0,) * tensor.ndim
    _, offset = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
    return tuple(offset)


def part_of(whole: Tensor, tensor: Tensor) -> Tensor:
    """From a whole tensor, the part that lies where this process's part of `tensor` does."""
    for axis, (start, length) in enumerate(zip(offset_of(tensor), local(tensor).shape, strict=True)):
        whole = whole.narrow(axis, min(start, whole.shape[axis]), length)
    return whole


def spread_like(part: Tensor, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A part as one of a whole tensor of the given shape that is spread as `tensor` is."""
    if not isinstance(tensor, DTensor):
        return part
    stride = torch.empty(shape, device="meta").stride()
    return DTensor.from_local(
        part, tensor.device_mesh, tensor.placements, run_check=False, shape=torch.Size(shape), stride=stride
    )
