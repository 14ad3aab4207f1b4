"""From one layout to another, one tensor of ours at a time: rows are joined or split, and no bit of a value changes.

    StoredWeights --identify--> links in --read, join--> our tensor --[dtype]--> split --write--> links out

Converting needs about three times the largest tensor in memory (0.4 GB for the full DiT in bfloat16), never the file.
A file knows its network's sizes afterwards: the header of safetensors says them, and diffusers' folder its config.json.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from model.keys import COMFYUI_DIT_PREFIX, Layout, Link, Network
from model.weight_config import config_metadata, diffusers_config
from model.weight_files import PICKLE_SUFFIXES
from model.weight_writing import TensorSpec, write_folder, write_pickle, write_safetensors
from model.weights import LOADABLE, NetworkWeights, layout_links

STEMS = {Layout.ORIGINAL: "model", Layout.DIFFUSERS: "diffusion_pytorch_model"}
PICKLE_WRAPPERS = {Network.DIT: "module", Network.VAE: "state_dict"}  # as in the released checkpoints
SHARD_BYTES = 10_000_000_000

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Target:
    """Where weights go and how they are laid out there.

    `dtype` None keeps each tensor's own. `image_to_video` is said in diffusers' config.json.
    """

    path: Path
    layout: Layout
    dtype: torch.dtype | None = None
    shard_bytes: int = SHARD_BYTES
    image_to_video: bool = False


def convert(weights: NetworkWeights, target: Target, progress: Progress | None = None) -> None:
    """Write weights in another layout.

    A path that ends in `.safetensors` is one file, in `.pt` the original checkpoint's pickle, anything else a folder.
    `progress` is told the tensors read, all of them, and the name.

    Raises:
        ValueError: the layout has no such file, a type cannot be changed, or the place is taken or too small.
    """
    check_target(target)
    links = _ordered(weights, target)
    prefix = COMFYUI_DIT_PREFIX if _is_comfyui_dit(weights, target) else ""
    outward = {link.name: link for link in layout_links(weights.config, target.layout, prefix)}
    specs = [
        TensorSpec(name, target.dtype or weights.dtype(link), shape)
        for link in links
        for name, shape in zip(outward[link.name].parts, outward[link.name].part_shapes, strict=True)
    ]

    def tensors() -> Iterator[Tensor]:
        for done, link in enumerate(links):
            tensor = weights.read(link)
            if progress:
                progress(done + 1, len(links), link.name)
            yield from outward[link.name].split(tensor if target.dtype is None else tensor.to(target.dtype))

    metadata = config_metadata(weights.config)
    if target.path.suffix == ".safetensors":
        write_safetensors(target.path, specs, tensors(), metadata)
    elif target.path.suffix in PICKLE_SUFFIXES:
        write_pickle(target.path, specs, tensors(), PICKLE_WRAPPERS[weights.naming.network])
    else:
        diffusers = target.layout is Layout.DIFFUSERS
        config = diffusers_config(weights.config, target.image_to_video) if diffusers else None
        write_folder(target.path, STEMS[target.layout], specs, tensors(), metadata, target.shard_bytes, config)


def check_target(target: Target) -> None:
    """Refuse files that nobody would read.

    Raises:
        ValueError: a pickle of another layout than the original one, or a folder for ComfyUI.
    """
    pickled = target.path.suffix in PICKLE_SUFFIXES
    if pickled and target.layout is not Layout.ORIGINAL:
        raise ValueError(
            f"{target.path} would be a pickle in the {target.layout} layout, which nobody reads; "
            f"name a .safetensors file" + (" or a folder" if target.layout is Layout.DIFFUSERS else "")
        )
    if target.layout is Layout.COMFYUI and target.path.suffix != ".safetensors":
        raise ValueError(f"ComfyUI reads one file; give {target.path} the ending .safetensors")


def _ordered(weights: NetworkWeights, target: Target) -> list[Link]:
    """Wider types first, so that every tensor begins at a multiple of its element; else the network's own order."""
    for link in weights.links:
        dtype = weights.dtype(link)
        if target.dtype not in (None, dtype) and dtype not in LOADABLE:
            raise ValueError(
                f"{weights.stored.path}: tensor '{link.parts[0]}' is {dtype}, which cannot become {target.dtype}: its "
                f"scale is not part of the file; leave the type as it is"
            )
    return sorted(weights.links, key=lambda link: -(target.dtype or weights.dtype(link)).itemsize)


def _is_comfyui_dit(weights: NetworkWeights, target: Target) -> bool:
    return target.layout is Layout.COMFYUI and weights.naming.network is Network.DIT
