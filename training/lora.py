"""Low-rank updates of the transformer's weights (LoRA, arXiv 2106.09685), by peft: the weights stay as they are.

    linear(x) + alpha / rank * up(down(x))       down [rank, in] random, up [out, rank] zero at first; both are learned

`add_lora` puts peft's layers into a network, in place; the network stays a `VideoDiT`, so everything that works on one
(FSDP, checkpointing, sampling) goes on. At rank 16 it learns 11 % as many parameters as the tiny preset has, 0.5 % of
the full one's. A finished stage leaves two things in its last checkpoint:

    average.safetensors   the network with the averaged updates merged in, released names: what later stages start from
    lora                  the averaged updates alone, peft's names: what `dailies weights export --lora` lays out for
                          original trainers and musubi-tuner, for diffusers, and for ComfyUI (model.lora_keys)

Peft is imported where a network gets its updates, since that takes seconds.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from curation.records import UserError
from model.dit import VideoDiT
from model.lora_keys import Adapter
from training.stages import LoRASettings

LORA = "lora"  # stem of a checkpoint's file
_ADAPTER = "default"  # peft's name of the one set of updates
_DOWN, _UP = ".lora_A.", ".lora_B."


def add_lora(dit: VideoDiT, settings: LoRASettings, seed: int) -> None:
    """Freeze a network and give it updates to learn, which change nothing yet; they follow from the seed.

    Raises:
        UserError: `targets` names no layer, or one that is not linear.
    """
    from peft import LoraConfig, inject_adapter_in_model

    chosen = [name for name, _ in dit.named_modules() if name and re.fullmatch(settings.targets, name)]
    other = [name for name in chosen if not isinstance(dit.get_submodule(name), nn.Linear)]
    if other or not chosen:
        found = f"{other[0]}, which is no linear layer" if other else "no layer of the transformer"
        raise UserError(
            f"lora.targets = {settings.targets!r} names {found}; name linear layers such as "
            "double_blocks.0.img_attn_qkv, as the default does"
        )
    config = LoraConfig(r=settings.rank, lora_alpha=settings.alpha, target_modules=settings.targets)  # type: ignore[arg-type]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, dit, _ADAPTER)


def has_lora(model: nn.Module) -> bool:
    """Whether a network learns updates instead of its weights."""
    return any(_DOWN in name for name, _ in model.named_parameters())


def adapter_tensors(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The updates among a network's parameters, or among their averages, by the names of peft's files."""
    return {
        name.replace(f".{_ADAPTER}.", "."): tensor for name, tensor in named.items() if _DOWN in name or _UP in name
    }


def read_adapters(tensors: Mapping[str, Tensor], settings: LoRASettings) -> dict[str, Adapter]:
    """What `adapter_tensors` gave, as the adapters that `model.lora_keys` lays out, by module."""
    return {
        name.partition(_DOWN)[0]: Adapter(down, tensors[name.replace(_DOWN, _UP)], settings.alpha / settings.rank)
        for name, down in tensors.items()
        if _DOWN in name
    }


@torch.no_grad()
def result_tensors(model: nn.Module, average: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A stage's result by released names: its averaged weights; of a network with updates, these merged in.

    Merging changes the network's own weights, since a second copy may not fit: ask once, after all else. Tensors that
    are spread over processes stay so.

    Args:
        average: averages by the names of the parameters that are learned.
    """
    return dict(_merged(model, average)) if has_lora(model) else dict(average)


def lora_facts(model: nn.Module, settings: LoRASettings | None) -> dict[str, Any]:
    """What a stage's result says of its updates; nothing where there are none."""
    return {LORA: settings.model_dump()} if settings is not None and has_lora(model) else {}


def _merged(model: nn.Module, average: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, weight in model.named_parameters():
        if _DOWN in name or _UP in name:
            continue
        module, inside, kind = name.rpartition(".base_layer.")
        if inside and kind == "weight":
            down, up = (average[f"{module}{side}{_ADAPTER}.weight"].float() for side in (_DOWN, _UP))
            scaling: Any = model.get_submodule(module).scaling
            weight.copy_(weight.float() + scaling[_ADAPTER] * (up @ down))
        yield name.replace(".base_layer.", "."), weight.detach()
