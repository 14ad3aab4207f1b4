"""The optimizer: AdamW with linear warm-up, optional cosine decay and a clipped gradient norm.

The rate is a pure function of the step, so resuming needs no scheduler state; the moments are saved under the
parameters' names, so a checkpoint does not depend on the order in which parameters were registered.
"""

import math

from torch import Tensor, nn
from torch.optim import AdamW

from training.stages import StageSettings


def build_optimizer(model: nn.Module, stage: StageSettings) -> AdamW:
    """AdamW over all parameters; weight decay spares vectors (biases and norms), as is usual."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": stage.weight_decay},
        {"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    return AdamW(
        [group for group in groups if group["params"]], lr=stage.learning_rate, betas=(0.9, 0.99), foreach=True
    )


def learning_rate(stage: StageSettings, step: int) -> float:
    """The rate of the step with index `step` (from 0)."""
    if step < stage.warmup_steps:
        return stage.learning_rate * (step + 1) / (stage.warmup_steps + 1)
    progress = (step - stage.warmup_steps) / max(1, stage.steps - stage.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return stage.learning_rate * (stage.final_rate_share + (1 - stage.final_rate_share) * cosine)


def apply_step(optimizer: AdamW, model: nn.Module, stage: StageSettings, step: int) -> Tensor:
    """Clip, set the rate of `step`, update the weights, clear the gradients. Returns the norm before clipping, 0-d."""
    norm = nn.utils.clip_grad_norm_(model.parameters(), stage.clip_norm)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(stage, step)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return norm


def optimizer_tensors(optimizer: AdamW, model: nn.Module) -> dict[str, Tensor]:
    """The optimizer's state as named tensors, `<parameter>/<moment>`."""
    return {
        f"{name}/{key}": value
        for name, weight in model.named_parameters()
        for key, value in optimizer.state.get(weight, {}).items()
    }


def load_optimizer_tensors(optimizer: AdamW, model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave; KeyError for a parameter the model does not have."""
    weights = dict(model.named_parameters())
    for name, value in tensors.items():
        parameter, key = name.rsplit("/", 1)
        optimizer.state[weights[parameter]][key] = value.clone()


def frozen(model: nn.Module) -> nn.Module:
    """The module in evaluation mode and without gradients."""
    return model.eval().requires_grad_(False)
