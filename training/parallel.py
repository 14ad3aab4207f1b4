"""One network on many processes: who does what, and the recipe by which a network is spread over them.

    world = replicas x shards x context, the processes of a context neighbours

                            shards x context
    replica 0    [ weights in equal parts (FSDP2) ]     share of the global batch = replica x shards + shard
    replica 1    [ the same parts again (HSDP)    ]     context: tokens of a sample (training/sequence_parallel.py)

Processes of a context group see the same samples, so the weights can be shared out among them too (as in torchtitan,
arXiv 2410.06511): memory falls with every process, whatever it is for.

    torchrun --nproc-per-node 4 ...          ranks = open_ranks(settings); parallelize(model, ranks, settings)

Gradients are the *sum* over processes of what each gives: a loss is divided by the size of the global batch, never by
the number of processes. Processes of a context group all take the whole loss of their samples, and each gives its
part of the gradients.

FSDP2 gathers a block's weights just before it runs and drops them after, in bfloat16 where that is the precision;
gradients are summed in float32. The root's weights are dropped as well: kept, they would outlive an evaluation and
hide weights that were copied in after it.
"""

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import HashStore
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from curation.records import UserError
from model.dit import DualBlock, SingleBlock, VideoDiT
from model.vae import CausalVideoVAE
from training.activation_checkpoint import Checkpointing, apply_checkpointing
from training.activation_offload import offload_activations
from training.parallel_settings import ParallelSettings
from training.sequence_parallel import ContextSplit

MAX_LAYOUTS = 64
"""Kinds of rows (how many samples, of how many lengths) a block is compiled for before it runs uncompiled."""


@dataclass(frozen=True)
class Ranks:
    """This process among all. Without a process group `mesh` and the groups are None.

    data_rank: which share of the global batch it sees; processes of a context group see the same.
    mesh: replicas x weights, where weights = shards x context.
    context_group: the processes that share this one's samples token by token; None = it has them alone.
    data_group: one process of every share of the global batch.
    """

    rank: int
    world_size: int
    data_rank: int
    num_data_ranks: int
    device: torch.device
    mesh: DeviceMesh | None = None
    context_group: dist.ProcessGroup | None = None
    data_group: dist.ProcessGroup | None = None

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0


def open_ranks(settings: ParallelSettings) -> Ranks:
    """Join the processes that torchrun or Ray Train started; without WORLD_SIZE in the environment it is one alone.

    gloo on a CPU, NCCL on CUDA (gloo for what lies on the host). A process alone opens a group of its own for bfloat16,
    since it is FSDP2 that keeps float32 weights beside bfloat16 compute.

    Raises:
        UserError: the degrees of the settings do not multiply to the number of processes.
    """
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if torch.cuda.is_available() else None
    if device is not None:
        torch.cuda.set_device(device)
    backend = "gloo" if device is None else "cpu:gloo,cuda:nccl"
    if not dist.is_initialized():
        if "WORLD_SIZE" in os.environ:
            check_degrees(settings, int(os.environ["WORLD_SIZE"]))
            dist.init_process_group(backend)
        elif settings.precision == "bfloat16":
            check_degrees(settings, 1)
            dist.init_process_group(backend, store=HashStore(), rank=0, world_size=1)
    device = device or torch.device("cpu")
    if not dist.is_initialized():
        check_degrees(settings, 1)
        return Ranks(0, 1, 0, 1, device)
    rank, world = dist.get_rank(), dist.get_world_size()
    shards, context = check_degrees(settings, world), settings.context
    parts = (settings.replicas, shards * context)
    mesh = init_device_mesh(device.type, parts, mesh_dim_names=("replicas", "weights"))
    samples = init_device_mesh(device.type, (world // context, context), mesh_dim_names=("data", "context"))
    together = samples.get_group("context") if context > 1 else None
    data_rank, num_data_ranks = rank // context, world // context
    return Ranks(rank, world, data_rank, num_data_ranks, device, mesh, together, samples.get_group("data"))


def close_ranks() -> None:
    """Leave the other processes; nothing is shared from here on."""
    if dist.is_initialized():
        dist.destroy_process_group()


def check_degrees(settings: ParallelSettings, world: int) -> int:
    """The number of shards among `world` processes.

    Raises:
        UserError: the degrees do not multiply to `world`; names those that do.
    """
    context = settings.context
    shards = settings.shards or world // (settings.replicas * context)
    if shards and settings.replicas * shards * context == world:
        return shards
    asked = f"replicas {settings.replicas} x shards {settings.shards or '(all that remain)'} x context "
    asked += f"{context} (ulysses {settings.ulysses} x ring {settings.ring})"
    if world % context:
        legal = [number for number in range(1, world + 1) if world % number == 0]
        hint = f"context must divide {world}: one of {', '.join(map(str, legal))}, not {context}"
    else:
        rest = world // context
        pairs = [f"{number} x {rest // number}" for number in range(1, rest + 1) if rest % number == 0]
        hint = f"with context {context}, replicas x shards is one of {', '.join(pairs)}"
    raise UserError(f"train.parallel: {asked} does not make the {world} processes that were started; {hint}")


def parallelize(model: nn.Module, ranks: Ranks, settings: ParallelSettings, compiler: str = "inductor") -> None:
    """Spread a network over the processes, in place, by the recipe of the settings; call it before the optimizers.

    A transformer's tokens and weights are shared out; any other network (VAE, discriminator) is sharded only, and
    processes of one context group repeat each other there, which is taken into account in the sum of gradients.
    """
    model.to(ranks.device)
    if settings.precision == "bfloat16" and not settings.master_weights:
        model.to(torch.bfloat16)
    transformers = [module for module in model.modules() if isinstance(module, VideoDiT)]
    for transformer in transformers:
        _share_tokens(transformer, ranks, settings)
    _fit_memory(model, settings, compiler)
    for transformer in transformers if settings.precision == "bfloat16" else ():
        transformer.register_forward_pre_hook(_in_bfloat16, prepend=True)
    if ranks.mesh is not None:
        _shard_weights(model, ranks.mesh, settings, 1 if transformers else settings.context)


def _share_tokens(model: VideoDiT, ranks: Ranks, settings: ParallelSettings) -> None:
    if ranks.context_group is not None:
        heads = model.config.num_heads
        model.row_split = ContextSplit(heads, ranks.context_group, settings.ulysses, settings.compile)


def _fit_memory(model: nn.Module, settings: ParallelSettings, compiler: str) -> None:
    """Compile blocks and let them keep less, each layer below FSDP's hooks.

    Checkpointing goes around the compiled block: what it computes again is compiled as well, and a graph may break
    where processes exchange tokens, which inside of a compiled checkpoint would throw the whole block back to eager.
    Selective checkpointing of an unbroken block is the exception: only the compiler can see the products in it.
    """
    mode = Checkpointing(settings.checkpointing)
    selects = mode is Checkpointing.SELECTIVE and settings.context == 1
    if settings.compile and not selects:
        _compile_blocks(model, compiler)
    apply_checkpointing(model, mode)
    if settings.compile and selects:
        _compile_blocks(model, compiler)
    if settings.offload_activations:
        offload_activations(model)


def _compile_blocks(model: nn.Module, compiler: str) -> None:
    """Blocks of a kind share their graphs; a VAE's layers, which are convolutions in windows, stay as they are."""
    from torch._dynamo import config  # seconds that a process without a compiler need not wait

    config.recompile_limit = max(config.recompile_limit, MAX_LAYOUTS)
    blocks: list[Any] = [module for module in model.modules() if isinstance(module, DualBlock | SingleBlock)]
    for block in blocks:
        block.forward = torch.compile(block.forward, backend=compiler)


def _in_bfloat16(model: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """Latents and texts in bfloat16; times and guidance stay float32, since 8 bits cannot tell 937 from 940."""
    latents, t, text, pooled, *rest = given
    cast = torch.bfloat16
    return [each.to(cast) for each in latents], t, [each.to(cast) for each in text], pooled.to(cast), *rest


def _shard_weights(model: nn.Module, mesh: DeviceMesh, settings: ParallelSettings, repeats: int) -> None:
    """FSDP2 over each block and over what remains; HSDP where there are replicas."""
    over = mesh if settings.replicas > 1 else mesh["weights"]
    units = [unit for module in model.modules() for unit in _units(module)]
    casts = not any(isinstance(module, VideoDiT) for module in model.modules())
    for unit in (*units, model):
        fully_shard(unit, mesh=over, reshard_after_forward=True, mp_policy=_precision(settings, casts, unit is model))
    # A block's result is a view of its last sum; nothing in model/ writes to a block's result.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(float(repeats))
            module.set_force_sum_reduction_for_comms(True)
    if isinstance(model, CausalVideoVAE):
        for entry in ("_moments", "_pixels"):
            register_fsdp_forward_method(model, entry)


def _units(module: nn.Module) -> list[nn.Module]:
    """The parts of a network whose weights are gathered together."""
    if isinstance(module, VideoDiT):
        return [*module.double_blocks, *module.single_blocks]
    if isinstance(module, CausalVideoVAE):
        return [module.encoder, module.decoder]
    return []


def _precision(settings: ParallelSettings, casts: bool, outermost: bool) -> MixedPrecisionPolicy:
    if settings.precision == "float32":
        return MixedPrecisionPolicy(cast_forward_inputs=False)
    return MixedPrecisionPolicy(
        param_dtype=torch.bfloat16,
        reduce_dtype=torch.float32,
        output_dtype=torch.float32 if outermost else None,
        cast_forward_inputs=casts,
    )


@contextmanager
def accumulate(model: nn.Module, last: bool) -> Iterator[None]:
    """Around a micro-batch's forward and backward: gradients are summed over processes at the last one only.

    Until then every process holds its whole, unsharded gradients.
    """
    if not isinstance(model, FSDPModule):
        yield
        return
    model.set_is_last_backward(last)
    model.set_requires_gradient_sync(last)
    try:
        yield
    finally:
        model.set_is_last_backward(True)
        model.set_requires_gradient_sync(True)


@torch.no_grad()
def clip_gradients(model: nn.Module, limit: float) -> Tensor:
    """Scale all gradients so that their common norm is at most `limit`; returns the norm before, 0-d.

    One number per process is all that travels, wherever the parts of the gradients lie.
    """
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    if not gradients:
        return torch.zeros(())
    parts = [gradient.to_local() if isinstance(gradient, DTensor) else gradient for gradient in gradients]
    norms = torch.stack([torch.linalg.vector_norm(part, dtype=torch.float32) for part in parts])
    shares = norms.new_tensor([1 / _copies(gradient) for gradient in gradients])
    total = (norms.square() * shares).sum()
    if dist.is_initialized():
        dist.all_reduce(total)
    norm = total.sqrt()
    scale = (limit / (norm + 1e-6)).clamp(max=1.0)
    for part in parts:
        part.mul_(scale)
    return norm


def _copies(tensor: Tensor) -> int:
    """Processes that hold the same part of a tensor."""
    if not dist.is_initialized():
        return 1
    if not isinstance(tensor, DTensor):
        return dist.get_world_size()
    parts = 1
    for axis, placement in enumerate(tensor.placements):
        parts *= 1 if placement.is_replicate() else tensor.device_mesh.size(axis)
    return dist.get_world_size() // parts


def sum_over_data(tensor: Tensor, ranks: Ranks) -> Tensor:
    """The sum of a small tensor over the shares of the global batch, on every process."""
    if ranks.data_group is None:
        return tensor
    total = tensor.clone()
    dist.all_reduce(total, group=ranks.data_group)
    return total


def whole_tensors(named: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Each tensor whole, one at a time: on the host in process 0, without contents ("meta") in the others.

    Every process has to walk through it to the end, since all take part in gathering.
    """
    is_main = not dist.is_initialized() or dist.get_rank() == 0
    for name, tensor in named.items():
        whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        yield name, whole.detach().to("cpu" if is_main else "meta")
