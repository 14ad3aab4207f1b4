"""LoRA files of the DiT in the three layouts that users load, each exact to the others.

    diffusers  transformer.transformer_blocks.0.attn.to_q.lora_A.weight / lora_B.weight       no alpha
    comfyui    diffusion_model.double_blocks.0.img_attn.qkv.lora_A.weight / lora_B.weight     no alpha
    original   lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight / lora_up.weight / .alpha   (kohya, musubi-tuner)

An adapter adds scale * up @ down to a weight (arXiv 2106.09685), with scale = alpha / rank; where a layout has no
alpha, `up` carries the scale. Fused and split projections are not the same number of adapters:

    split -> fused   A = [A_q; A_k; A_v],  B = diag(B_q, B_k, B_v): three times the rank, the same product;
                     parts that share one A keep their rank
    fused -> split   every part gets A and its own rows of B; ranks that only one part uses go to that part alone

so that either way, and there and back, the merged weights are the same. Read are also `transformer.` and
`diffusion_model.` before original names, `lora_transformer_` (OneTrainer), `lora_down`/`lora_up` for `lora_A`/`lora_B`,
alpha in any layout, and the alpha in diffusers' metadata. DoRA, biases and full differences are refused by name.
"""

import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from model.keys import Layout, dit_module, dit_modules, halves_swapped, part_rows
from model.presets import DiTConfig
from model.weight_files import StoredWeights

DIFFUSERS_METADATA = "lora_adapter_metadata"
_ENDINGS = {
    "down": (".lora_A.weight", ".lora_A.default.weight", ".lora_down.weight", ".lora.down.weight"),
    "up": (".lora_B.weight", ".lora_B.default.weight", ".lora_up.weight", ".lora.up.weight"),
    "alpha": (".alpha",),
}
_PREFIXES = {Layout.DIFFUSERS: "transformer.", Layout.COMFYUI: "diffusion_model."}


@dataclass(frozen=True)
class Adapter:
    """What is added to a weight [out, in]: scale * up @ down, with `down` [rank, in] and `up` [out, rank]."""

    down: Tensor
    up: Tensor
    scale: float = 1.0

    @property
    def rank(self) -> int:
        """Rows of `down`."""
        return self.down.shape[0]


@dataclass(frozen=True)
class _Place:
    """Where a name of a file belongs: one of our modules, or one part of it."""

    module: str
    part: int
    num_parts: int
    layout: Layout


def is_lora(weights: StoredWeights) -> bool:
    """Whether a file holds adapters rather than a network."""
    return any(name.endswith(ending) for name in weights.tensors for ending in _ENDINGS["down"] + _ENDINGS["up"])


def read_lora(weights: StoredWeights) -> tuple[Layout, dict[str, Adapter]]:
    """The layout of a LoRA file, and its adapters by our modules (fused, in the network's order).

    Raises:
        ValueError: names the tensor that belongs nowhere, is missing, or has a wrong shape.
    """
    named = _named(weights)
    places = _places(max((int(number) for name in named for number in re.findall(r"blocks[._](\d+)", name)), default=0))
    found: dict[str, dict[int, Adapter]] = {}
    layouts: dict[Layout, int] = {}
    for name, kinds in named.items():
        place = places.get(name)
        if place is None:
            raise ValueError(f"{weights.path}: tensor '{next(iter(kinds.values()))}' belongs to no module of the DiT")
        adapter = _adapter(weights, name, kinds)
        if halves_swapped(place.module, place.layout):
            adapter = replace(adapter, up=_swap_rows(adapter.up))
        key = place.part if place.layout is Layout.DIFFUSERS else -1
        if key in found.setdefault(place.module, {}):
            raise ValueError(f"{weights.path}: two adapters for {place.module}, one of them '{name}'")
        found[place.module][key] = adapter
        layouts[_layout_of(name, place)] = layouts.get(_layout_of(name, place), 0) + 1
    hidden = _hidden(found)
    ordered = [module for module in dit_modules(_num_blocks(found)) if module in found]
    adapters = {module: _whole(weights, module, found[module], hidden) for module in ordered}
    return max(layouts, key=lambda layout: layouts[layout]), adapters


def lay_out(adapters: Mapping[str, Adapter], layout: Layout) -> dict[str, Tensor]:
    """Adapters as the named tensors of a layout."""
    tensors: dict[str, Tensor] = {}
    for module, adapter in adapters.items():
        names = dit_module(module, layout)
        for name, part in zip(names, _parts(adapter, len(names)), strict=True):
            if part is None:
                continue
            if halves_swapped(module, layout):
                part = replace(part, up=_swap_rows(part.up))
            if layout is Layout.ORIGINAL:
                key = "lora_unet_" + name.replace(".", "_")
                tensors[f"{key}.lora_down.weight"] = part.down.clone()
                tensors[f"{key}.lora_up.weight"] = part.up.clone()
                tensors[f"{key}.alpha"] = torch.tensor(part.scale * part.rank)
            else:
                tensors[f"{_PREFIXES[layout]}{name}.lora_A.weight"] = part.down.clone()
                tensors[f"{_PREFIXES[layout]}{name}.lora_B.weight"] = _scaled(part.up, part.scale).clone()
    return tensors


def _named(weights: StoredWeights) -> dict[str, dict[str, str]]:
    """Module name in the file -> kind (down, up, alpha) -> tensor name."""
    named: dict[str, dict[str, str]] = {}
    for name in weights.tensors:
        for kind, ending in chain.from_iterable(((kind, e) for e in endings) for kind, endings in _ENDINGS.items()):
            if name.endswith(ending):
                named.setdefault(name.removesuffix(ending), {})[kind] = name
                break
        else:
            known = ", ".join(ending for endings in _ENDINGS.values() for ending in endings)
            raise ValueError(
                f"{weights.path}: tensor '{name}' is no part of a LoRA; expected names that end in {known}"
            )
    return named


def _places(last_block: int) -> dict[str, _Place]:
    """Every name under which a module may be found."""
    places: dict[str, _Place] = {}
    for module in dit_modules(last_block + 1):
        for layout in (Layout.DIFFUSERS, Layout.COMFYUI, Layout.ORIGINAL):
            names = dit_module(module, layout)
            for part, name in enumerate(names):
                flat = "lora_transformer_" if layout is Layout.DIFFUSERS else "lora_unet_"
                spellings = [f"{prefix}{name}" for prefix in ("", *_PREFIXES.values(), "base_model.model.")]
                for spelling in (*spellings, flat + name.replace(".", "_")):
                    places[spelling] = _Place(module, part, len(names), layout)
    return places


def _layout_of(name: str, place: _Place) -> Layout:
    if name.startswith("lora_unet_"):
        return Layout.ORIGINAL
    return Layout.DIFFUSERS if place.layout is Layout.DIFFUSERS else Layout.COMFYUI


def _adapter(weights: StoredWeights, name: str, kinds: Mapping[str, str]) -> Adapter:
    for kind, other in (("down", "up"), ("up", "down")):
        if kind not in kinds:
            there = kinds.get(other) or kinds["alpha"]
            raise ValueError(
                f"{weights.path}: '{there}' is there, its counterpart that ends in {_ENDINGS[kind][0]} is not"
            )
    down, up = (weights.tensors[kinds[kind]] for kind in ("down", "up"))
    if len(down.shape) != 2 or len(up.shape) != 2 or up.shape[1] != down.shape[0]:
        raise ValueError(
            f"{weights.path}: tensor '{up.name}' has shape {list(up.shape)}, '{down.name}' {list(down.shape)}; "
            f"expected [out, rank] and [rank, in]"
        )
    alpha = float(weights.read(kinds["alpha"])) if "alpha" in kinds else _alpha(weights, name, down.shape[0])
    return Adapter(down.read(), up.read(), alpha / down.shape[0])


def _alpha(weights: StoredWeights, name: str, rank: int) -> float:
    """Alpha as diffusers' metadata has it, times sqrt(rank) for rank-stabilised LoRA; the rank itself without any."""
    said: dict[str, Any] = json.loads(weights.metadata.get(DIFFUSERS_METADATA, "{}"))
    said = {key.removeprefix("transformer."): value for key, value in said.items()}
    if said.get("use_dora"):
        raise ValueError(f"{weights.path} is a DoRA, which has magnitudes beside its adapters; only LoRA is converted")
    alpha = said.get("lora_alpha", rank)
    for pattern, other in said.get("alpha_pattern", {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", name):
            alpha = other
    return alpha * sqrt(rank) if said.get("use_rslora") else alpha


def _num_blocks(modules: Mapping[str, Any]) -> int:
    return 1 + max((int(number) for module in modules for number in re.findall(r"blocks\.(\d+)", module)), default=0)


def _hidden(found: Mapping[str, Mapping[int, Adapter]]) -> int | None:
    """Width of the MLP in single blocks, as any adapter of the file shows it; None where none does."""
    for module, parts in found.items():
        if module.endswith(".linear1") and 3 in parts:
            return parts[3].up.shape[0]
        if module.startswith("single_blocks.") and module.endswith(".linear2"):
            up, down = (tensor for adapter in parts.values() for tensor in (adapter.up, adapter.down))
            return down.shape[1] - up.shape[0]
    return None


def _whole(weights: StoredWeights, module: str, parts: Mapping[int, Adapter], hidden: int | None) -> Adapter:
    """One adapter of a module from its parts (-1: it is whole in the file)."""
    num_parts = len(dit_module(module, Layout.DIFFUSERS))
    width = next(iter(parts.values())).down.shape[1]
    if -1 in parts:
        if len(parts) > 1:
            raise ValueError(f"{weights.path}: {module} has an adapter as a whole and others for its parts")
        rows = parts[-1].up.shape[0]
        if num_parts > 1 and (rows < 3 * width or (num_parts == 3 and rows != 3 * width)):
            raise ValueError(
                f"{weights.path}: the adapter of {module} has {rows} rows, expected 3 x {width} for q, k, v"
            )
        return parts[-1]
    if num_parts == 1:
        return parts[0]
    rows = part_rows(3 * width + (hidden or DiTConfig.mlp_ratio * width), num_parts, width)
    for part, adapter in parts.items():
        if (adapter.up.shape[0], adapter.down.shape[1]) != (rows[part], width):
            name = dit_module(module, Layout.DIFFUSERS)[part]
            shape = [adapter.up.shape[0], adapter.down.shape[1]]
            raise ValueError(
                f"{weights.path}: the adapter of {name} is for a weight {shape}, expected {[rows[part], width]}"
            )
    return _fused(parts, rows)


def _fused(parts: Mapping[int, Adapter], rows: tuple[int, ...]) -> Adapter:
    first = next(iter(parts.values()))
    if any(part.scale != first.scale for part in parts.values()):
        parts = {i: Adapter(part.down, _scaled(part.up, part.scale)) for i, part in parts.items()}
        first = next(iter(parts.values()))
    dtype = functools.reduce(torch.promote_types, (part.up.dtype for part in parts.values()))
    if len(parts) == len(rows) and all(_same(part.down, first.down) for part in parts.values()):
        return Adapter(first.down, torch.cat([parts[i].up.to(dtype) for i in range(len(rows))]), first.scale)
    up = torch.zeros(sum(rows), sum(part.rank for part in parts.values()), dtype=dtype)
    column = 0
    for i, part in sorted(parts.items()):
        begin = sum(rows[:i])
        up[begin : begin + rows[i], column : column + part.rank] = part.up.to(dtype)
        column += part.rank
    return Adapter(torch.cat([part.down for _, part in sorted(parts.items())]), up, first.scale)


def _parts(adapter: Adapter, num_parts: int) -> Iterator[Adapter | None]:
    """One adapter per part, None for a part that it does not change."""
    if num_parts == 1:
        yield adapter
        return
    ups = adapter.up.split(list(part_rows(adapter.up.shape[0], num_parts, adapter.down.shape[1])))
    used = torch.stack([up.ne(0).any(dim=0) for up in ups])
    apart = bool((used.sum(dim=0) == 1).all())  # every rank serves one part: what fusing split adapters gave
    for up, columns in zip(ups, used, strict=True):
        if not apart:
            yield Adapter(adapter.down, up, adapter.scale)
        elif columns.any():
            yield Adapter(adapter.down[columns], up[:, columns], adapter.scale)
        else:
            yield None


def _scaled(up: Tensor, scale: float) -> Tensor:
    """`up` times `scale`, in float32 where its own type would round."""
    if scale == 1.0:
        return up
    exact = up.to(torch.float32) * scale
    narrow = exact.to(up.dtype)
    return narrow if torch.equal(narrow.to(torch.float32), exact) else exact


def _same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)


def _swap_rows(up: Tensor) -> Tensor:
    return torch.cat(up.chunk(2)[::-1])
