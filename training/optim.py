"""The optimizers of a stage: which one takes which weights, their rate, and their state as named tensors.

    optimizer    float32 weights                       bfloat16 weights (master_weights = false)
    adamw        torch's fused AdamW                   AdamW, float32 moments, rounded at random
    adamw8bit    AdamW with moments of 8 bits          the same, rounded at random
    muon         Muon for matrices and kernels, the above AdamW for vectors

With bfloat16 compute and `master_weights`, the float32 weights are FSDP's: it keeps its parts in float32 and gathers
them in bfloat16 (training/parallel.py), so an optimizer never holds a second copy. Fused AdamW took a seventh of the
CPU time of torch's default (12 against 88 ms for 17 M weights) with the same bits on one and two threads.

The rate is a pure function of the step, so resuming needs no scheduler state; moments are saved under the parameters'
names, so a checkpoint does not depend on the order in which parameters were registered.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import AdamW, Optimizer

from training.adamw8bit import SMALLEST_QUANTISED, AdamW8bit
from training.muon import Muon
from training.parallel import clip_gradients
from training.stages import StageSettings

BETAS = (0.9, 0.99)


def build_optimizers(model: nn.Module, stage: StageSettings, seed: int = 0) -> list[Optimizer]:
    """The optimizers of a stage over all weights that learn; build them after `parallelize`.

    Weight decay spares vectors (biases and norms), as is usual.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    matrices = [weight for weight in weights if weight.ndim > 1]
    vectors = [weight for weight in weights if weight.ndim <= 1]
    if stage.optimizer == "muon":
        muon = Muon(matrices, lr=stage.learning_rate, weight_decay=stage.weight_decay, seed=seed)
        return [muon, *_adamw([(vectors, 0.0)], stage.learning_rate, quantised=False, seed=seed)]
    groups = [(matrices, stage.weight_decay), (vectors, 0.0)]
    return _adamw(groups, stage.learning_rate, stage.optimizer == "adamw8bit", seed)


def build_critic_optimizers(critic: nn.Module, stage: StageSettings, seed: int = 0) -> list[Optimizer]:
    """AdamW for the adversary of a `vae` stage, without weight decay; step it with `stage.critic_learning_rate`."""
    weights = [weight for weight in critic.parameters() if weight.requires_grad]
    return _adamw([(weights, 0.0)], stage.critic_learning_rate, quantised=False, seed=seed)


def _adamw(
    groups: Sequence[tuple[list[nn.Parameter], float]], rate: float, quantised: bool, seed: int
) -> list[Optimizer]:
    """One AdamW for weights that torch's fused kernel can take, one for those it cannot."""
    plain, own = [], []
    for weights, decay in groups:
        small = [weight for weight in weights if quantised or weight.dtype is not torch.float32]
        own += [{"params": small, "weight_decay": decay}] if small else []
        rest = [weight for weight in weights if not quantised and weight.dtype is torch.float32]
        plain += [{"params": same, "weight_decay": decay} for same in _by_mesh(rest)]
    optimizers: list[Optimizer] = []
    if plain:
        optimizers.append(AdamW(plain, lr=rate, betas=BETAS, fused=True))
    if own:
        quantised_from = SMALLEST_QUANTISED if quantised else None
        optimizers.append(AdamW8bit(own, lr=rate, betas=BETAS, quantised_from=quantised_from, seed=seed))
    return optimizers


def _by_mesh(weights: Iterable[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Weights apart that lie on different meshes: a fused kernel takes one mesh at a time."""
    groups: dict[object, list[nn.Parameter]] = {}
    for weight in weights:
        groups.setdefault(weight.device_mesh if isinstance(weight, DTensor) else None, []).append(weight)
    return list(groups.values())


def learning_rate(stage: StageSettings, step: int, peak: float | None = None) -> float:
    """The rate of the step with index `step` (from 0); `peak` instead of the stage's, e.g. the critic's."""
    peak = stage.learning_rate if peak is None else peak
    if step < stage.warmup_steps:
        return peak * (step + 1) / (stage.warmup_steps + 1)
    progress = (step - stage.warmup_steps) / max(1, stage.steps - stage.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return peak * (stage.final_rate_share + (1 - stage.final_rate_share) * cosine)


def apply_step(
    optimizers: Sequence[Optimizer], model: nn.Module, stage: StageSettings, step: int, peak: float | None = None
) -> Tensor:
    """Clip, set the rate of `step`, update the weights, clear the gradients. Returns the norm before clipping, 0-d.

    The norm is that over all processes; `peak` as in `learning_rate`.
    """
    norm = clip_gradients(model, stage.clip_norm)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(stage, step, peak)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return norm


def optimizer_tensors(optimizers: Sequence[Optimizer], model: nn.Module) -> dict[str, Tensor]:
    """The optimizers' state as named tensors, `<parameter>/<moment>`; zeros where no step was taken yet.

    They are the state itself, spread as the weights are: what is loaded into them in place is the optimizers' state.
    """
    owners = _owners(optimizers)
    for weight, optimizer in owners.items():
        _allocate(optimizer, weight)
    return {
        f"{name}/{key}": value
        for name, weight in model.named_parameters()
        if weight in owners
        for key, value in owners[weight].state[weight].items()
    }


@torch.no_grad()
def load_optimizer_tensors(optimizers: Sequence[Optimizer], model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave; KeyError for a parameter or moment that is not there."""
    own = optimizer_tensors(optimizers, model)
    for name, value in tensors.items():
        own[name].copy_(value)


def _owners(optimizers: Sequence[Optimizer]) -> dict[Tensor, Optimizer]:
    return {
        weight: optimizer for optimizer in optimizers for group in optimizer.param_groups for weight in group["params"]
    }


@torch.no_grad()
def _allocate(optimizer: Optimizer, weight: Tensor) -> None:
    if isinstance(optimizer, AdamW8bit | Muon):
        optimizer.allocate(weight)
    elif not optimizer.state[weight]:  # as torch's AdamW does at the first step
        zeros = {name: torch.zeros_like(weight) for name in ("exp_avg", "exp_avg_sq")}
        optimizer.state[weight] = {"step": torch.zeros((), device=weight.device), **zeros}
