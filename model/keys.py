"""Names of weights in the three layouts that users have, and what must be done to a tensor on the way.

    original   double_blocks.0.img_attn_qkv.weight              [3 D, D]   the released names; ours
    diffusers  transformer_blocks.0.attn.to_q / to_k / to_v     [D, D] x 3
    comfyui    model.model.double_blocks.0.img_attn.qkv.weight  [3 D, D]

A `Link` ties one of our tensors to the tensors that hold it elsewhere: the same rows under another name, rows shared
out over several tensors (a fused projection), halves in the other order (the last modulation, where diffusers keeps
scale before shift), or a linear layer written as a 1 x 1 x 1 convolution (ComfyUI's VAE attention). Each is exact in
both directions, so that a round trip gives the same bytes. The VAE has the same names in `original` and `diffusers`.

The full DiT has 856 tensors in `original` and `comfyui`, 1264 in `diffusers`; the full VAE 248 in each.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

Shape = tuple[int, ...]


class Layout(StrEnum):
    """Whose names a file uses."""

    ORIGINAL = "original"
    DIFFUSERS = "diffusers"
    COMFYUI = "comfyui"


class Network(StrEnum):
    """Which of the two networks a file holds."""

    DIT = "dit"
    VAE = "vae"

    @property
    def label(self) -> str:
        """For people."""
        return "DiT" if self is Network.DIT else "VAE"


class Form(StrEnum):
    """What happens to the values on the way."""

    SAME = "same"
    HALVES_SWAPPED = "halves swapped"
    POINTWISE = "pointwise"  # [out, in] becomes [out, in, 1, 1, 1]


@dataclass(frozen=True)
class Link:
    """One of our tensors and the tensors that hold its rows in another layout, in order."""

    name: str
    shape: Shape
    parts: tuple[str, ...]
    rows: tuple[int, ...]
    form: Form = Form.SAME

    @property
    def part_shapes(self) -> tuple[Shape, ...]:
        """Shape of each part."""
        tail = (*self.shape[1:], 1, 1, 1) if self.form is Form.POINTWISE else self.shape[1:]
        return tuple((rows, *tail) for rows in self.rows)

    def split(self, tensor: Tensor) -> tuple[Tensor, ...]:
        """Our tensor as the other layout's tensors; views where rows allow it."""
        if self.form is Form.HALVES_SWAPPED:
            return (_swap_halves(tensor),)
        pieces = tensor.split(list(self.rows)) if len(self.rows) > 1 else (tensor,)
        return tuple(piece.reshape(shape) for piece, shape in zip(pieces, self.part_shapes, strict=True))

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Undo `split`."""
        tensor = parts[0] if len(parts) == 1 else torch.cat(tuple(parts))
        return _swap_halves(tensor) if self.form is Form.HALVES_SWAPPED else tensor.reshape(self.shape)


def _swap_halves(tensor: Tensor) -> Tensor:
    first, second = tensor.chunk(2)
    return torch.cat((second, first))


_QKV = ("attn.to_q", "attn.to_k", "attn.to_v")
_SWAPPED = "final_layer.adaLN_modulation.1"
_DIFFUSERS_TOP: dict[str, str] = {
    "img_in.proj": "x_embedder.proj",
    "time_in.mlp.0": "time_text_embed.timestep_embedder.linear_1",
    "time_in.mlp.2": "time_text_embed.timestep_embedder.linear_2",
    "guidance_in.mlp.0": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.mlp.2": "time_text_embed.guidance_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "txt_in.input_embedder": "context_embedder.proj_in",
    "txt_in.t_embedder.mlp.0": "context_embedder.time_text_embed.timestep_embedder.linear_1",
    "txt_in.t_embedder.mlp.2": "context_embedder.time_text_embed.timestep_embedder.linear_2",
    "txt_in.c_embedder.linear_1": "context_embedder.time_text_embed.text_embedder.linear_1",
    "txt_in.c_embedder.linear_2": "context_embedder.time_text_embed.text_embedder.linear_2",
    "final_layer.linear": "proj_out",
    _SWAPPED: "norm_out.linear",
}
_DIFFUSERS_BLOCKS: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "txt_in.individual_token_refiner.blocks": (
        "context_embedder.token_refiner.refiner_blocks",
        {
            "norm1": ("norm1",),
            "norm2": ("norm2",),
            "self_attn_qkv": _QKV,
            "self_attn_proj": ("attn.to_out.0",),
            "mlp.fc1": ("ff.net.0.proj",),
            "mlp.fc2": ("ff.net.2",),
            "adaLN_modulation.1": ("norm_out.linear",),
        },
    ),
    "double_blocks": (
        "transformer_blocks",
        {
            "img_mod.linear": ("norm1.linear",),
            "txt_mod.linear": ("norm1_context.linear",),
            "img_attn_qkv": _QKV,
            "txt_attn_qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
            "img_attn_q_norm": ("attn.norm_q",),
            "img_attn_k_norm": ("attn.norm_k",),
            "txt_attn_q_norm": ("attn.norm_added_q",),
            "txt_attn_k_norm": ("attn.norm_added_k",),
            "img_attn_proj": ("attn.to_out.0",),
            "txt_attn_proj": ("attn.to_add_out",),
            "img_mlp.fc1": ("ff.net.0.proj",),
            "img_mlp.fc2": ("ff.net.2",),
            "txt_mlp.fc1": ("ff_context.net.0.proj",),
            "txt_mlp.fc2": ("ff_context.net.2",),
        },
    ),
    "single_blocks": (
        "single_transformer_blocks",
        {
            "linear1": (*_QKV, "proj_mlp"),
            "linear2": ("proj_out",),
            "q_norm": ("attn.norm_q",),
            "k_norm": ("attn.norm_k",),
            "modulation.linear": ("norm.linear",),
        },
    ),
}
# Endings of our names and what ComfyUI calls them; the first that fits is applied, once.
_COMFYUI_DIT: tuple[tuple[str, str], ...] = (
    (r"_in\.mlp\.0$", "_in.in_layer"),
    (r"_in\.mlp\.2$", "_in.out_layer"),
    (r"t_embedder\.mlp\.0$", "t_embedder.in_layer"),
    (r"t_embedder\.mlp\.2$", "t_embedder.out_layer"),
    (r"c_embedder\.linear_1$", "c_embedder.in_layer"),
    (r"c_embedder\.linear_2$", "c_embedder.out_layer"),
    (r"mlp\.fc1$", "mlp.0"),
    (r"mlp\.fc2$", "mlp.2"),
    (r"_attn_(qkv|proj)$", r"_attn.\1"),
    (r"_attn_q_norm$", "_attn.norm.query_norm"),
    (r"_attn_k_norm$", "_attn.norm.key_norm"),
    (r"\.q_norm$", ".norm.query_norm"),
    (r"\.k_norm$", ".norm.key_norm"),
    (r"(_mod|modulation)\.linear$", r"\1.lin"),
)
_COMFYUI_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
COMFYUI_DIT_PREFIX = "model.model."


def dit_module(module: str, layout: Layout) -> tuple[str, ...]:
    """Names of one of the DiT's modules (a name without `.weight`) in a layout; several where a projection is split.

    Raises:
        KeyError: the DiT has no such module.
    """
    block = re.fullmatch(r"(.+blocks)\.(\d+)\.(.+)", module)
    if module not in _DIFFUSERS_TOP and not (block and block[3] in _DIFFUSERS_BLOCKS.get(block[1], ("", {}))[1]):
        raise KeyError(module)
    if layout is Layout.ORIGINAL:
        return (module,)
    if layout is Layout.COMFYUI:
        for pattern, replacement in _COMFYUI_DIT:
            renamed, count = re.subn(pattern, replacement, module)
            if count:
                return (renamed,)
        return (module,)
    if block is None:
        return (_DIFFUSERS_TOP[module],)
    blocks, names = _DIFFUSERS_BLOCKS[block[1]]
    return tuple(f"{blocks}.{block[2]}.{name}" for name in names[block[3]])


def dit_modules(num_blocks: int) -> list[str]:
    """All modules of a DiT with so many blocks of each kind, in the layout `original`."""
    blocks = [
        f"{kind}.{i}.{module}"
        for kind, (_, modules) in _DIFFUSERS_BLOCKS.items()
        for i in range(num_blocks)
        for module in modules
    ]
    return [*_DIFFUSERS_TOP, *blocks]


def dit_names(name: str, layout: Layout, prefix: str = "") -> tuple[str, ...]:
    """Names of the tensors that hold one of the DiT's tensors in a layout whose names begin with `prefix`."""
    module, _, kind = name.rpartition(".")
    if layout is Layout.COMFYUI and re.search(r"[._][qk]_norm$", module):
        kind = "scale"
    return tuple(f"{prefix}{one}.{kind}" for one in dit_module(module, layout))


def halves_swapped(module: str, layout: Layout) -> bool:
    """Whether a layout keeps the halves of this module's rows in the other order."""
    return layout is Layout.DIFFUSERS and module == _SWAPPED


def part_rows(rows: int, num_parts: int, width: int) -> tuple[int, ...]:
    """Rows of each part of a fused projection: query, key and value of the network's width, then what is left."""
    if num_parts == 1:
        return (rows,)
    return (width,) * 3 + (rows - 3 * width,) * (num_parts - 3)


def dit_links(shapes: Mapping[str, Shape], layout: Layout, prefix: str = "") -> list[Link]:
    """Links of all tensors of a DiT (`shapes`: ours, by name) to a layout whose names begin with `prefix`."""
    width = shapes["img_in.proj.bias"][0]
    links = []
    for name, shape in shapes.items():
        parts = dit_names(name, layout, prefix)
        form = Form.HALVES_SWAPPED if halves_swapped(name.rpartition(".")[0], layout) else Form.SAME
        links.append(Link(name, shape, parts, part_rows(shape[0], len(parts), width), form))
    return links


def vae_links(shapes: Mapping[str, Shape], layout: Layout, prefix: str = "") -> list[Link]:
    """Links of all tensors of a VAE (`shapes`: ours, by name) to a layout whose names begin with `prefix`."""
    last = max(int(name.split(".")[2]) for name in shapes if name.startswith("decoder.up_blocks."))
    links = []
    for name, shape in shapes.items():
        renamed, form = name, Form.SAME
        if layout is Layout.COMFYUI:
            renamed = _comfyui_vae(name, last)
            form = Form.POINTWISE if ".attentions." in name and len(shape) == 2 else Form.SAME
        links.append(Link(name, shape, (prefix + renamed,), (shape[0],), form))
    return links


def _comfyui_vae(name: str, last_block: int) -> str:
    attention = re.fullmatch(r"(.+)\.mid_block\.attentions\.0\.(.+)\.(weight|bias)", name)
    if attention:
        return f"{attention[1]}.mid.attn_1.{_COMFYUI_ATTENTION[attention[2]]}.{attention[3]}"
    name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", name)
    name = re.sub(r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block.", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample.", name)
    # ComfyUI counts the decoder's blocks from the pixels inwards
    name = re.sub(r"up_blocks\.(\d+)\.resnets\.", lambda found: f"up.{last_block - int(found[1])}.block.", name)
    return re.sub(
        r"up_blocks\.(\d+)\.upsamplers\.0\.", lambda found: f"up.{last_block - int(found[1])}.upsample.", name
    )


# What only one layout has; whatever stands before it in a name is that file's prefix.
_SIGNS: tuple[tuple[str, Network, Layout], ...] = (
    (r"(time_in\.mlp\.|double_blocks\.\d+\.img_attn_qkv\.|single_blocks\.\d+\.q_norm\.)", Network.DIT, Layout.ORIGINAL),
    (
        r"(time_in\.in_layer\.|double_blocks\.\d+\.img_attn\.qkv\.|single_blocks\.\d+\.norm\.query_norm\.)",
        Network.DIT,
        Layout.COMFYUI,
    ),
    (r"(x_embedder\.proj\.|context_embedder\.proj_in\.)", Network.DIT, Layout.DIFFUSERS),
    (r"(encoder\.down_blocks\.\d+\.resnets\.|decoder\.up_blocks\.\d+\.resnets\.)", Network.VAE, Layout.ORIGINAL),
    (r"(encoder\.down\.\d+\.block\.|decoder\.up\.\d+\.block\.)", Network.VAE, Layout.COMFYUI),
)


@dataclass(frozen=True)
class Naming:
    """Which network a set of names belongs to, in which layout, and what stands before each name."""

    network: Network
    layout: Layout
    prefix: str


def find_naming(names: Sequence[str]) -> Naming | None:
    """Recognise a network and a layout by names; None where no name is known. A VAE of `diffusers` is `original`."""
    for pattern, network, layout in _SIGNS:
        for name in names:
            found = re.fullmatch(rf"((?:[\w]+\.)*?){pattern}.+", name)
            if found:
                return Naming(network, layout, found[1])
    return None
