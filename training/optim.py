"""The optimizers: AdamW, or Muon beside it, with linear warm-up, optional cosine decay and a clipped gradient norm.

The rate is a pure function of the step, so resuming needs no scheduler state; the moments are saved under the
parameters' names, so a checkpoint does not depend on the order in which parameters were registered.
"""

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from training.muon import Muon
from training.stages import StageSettings

BETAS = (0.9, 0.99)


def build_optimizers(model: nn.Module, stage: StageSettings) -> list[Optimizer]:
    """AdamW over all parameters, or Muon over matrices and kernels and AdamW over vectors (biases and norms).

    Weight decay spares vectors, as is usual.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    matrices = [weight for weight in weights if weight.ndim > 1]
    vectors = [weight for weight in weights if weight.ndim <= 1]
    if stage.optimizer == "muon":
        muon = Muon(matrices, lr=stage.learning_rate, weight_decay=stage.weight_decay)
        return [muon, AdamW(vectors, lr=stage.learning_rate, betas=BETAS, weight_decay=0.0)]
    groups = [
        {"params": matrices, "weight_decay": stage.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return [AdamW(groups, lr=stage.learning_rate, betas=BETAS)]


def learning_rate(stage: StageSettings, step: int) -> float:
    """The rate of the step with index `step` (from 0)."""
    if step < stage.warmup_steps:
        return stage.learning_rate * (step + 1) / (stage.warmup_steps + 1)
    progress = (step - stage.warmup_steps) / max(1, stage.steps - stage.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return stage.learning_rate * (stage.final_rate_share + (1 - stage.final_rate_share) * cosine)


def apply_step(optimizers: Sequence[Optimizer], model: nn.Module, stage: StageSettings, step: int) -> Tensor:
    """Clip, set the rate of `step`, update the weights, clear the gradients. Returns the norm before clipping, 0-d."""
    norm = nn.utils.clip_grad_norm_(model.parameters(), stage.clip_norm)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(stage, step)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return norm


def optimizer_tensors(optimizers: Sequence[Optimizer], model: nn.Module) -> dict[str, Tensor]:
    """The optimizers' state as named tensors, `<parameter>/<moment>`."""
    states = {weight: state for optimizer in optimizers for weight, state in optimizer.state.items()}
    return {
        f"{name}/{key}": value
        for name, weight in model.named_parameters()
        for key, value in states.get(weight, {}).items()
    }


def load_optimizer_tensors(optimizers: Sequence[Optimizer], model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave; KeyError for a parameter the model does not have."""
    weights = dict(model.named_parameters())
    owners = {
        weight: optimizer for optimizer in optimizers for group in optimizer.param_groups for weight in group["params"]
    }
    for name, value in tensors.items():
        parameter, key = name.rsplit("/", 1)
        weight = weights[parameter]
        owners[weight].state[weight][key] = value.clone()
