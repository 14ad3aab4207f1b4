"""Networks from files of weights in any layout: recognised, checked to the last tensor, read one tensor at a time.

    from model.weights import load_dit, load_vae

    vae = load_vae("hunyuan-video-t2v-720p/vae/pytorch_model.pt")
    dit = load_dit("mp_rank_00_model_states.pt", dtype=torch.bfloat16, device="cuda")
    dit = load_dit("HunyuanVideo/transformer")  # a folder of diffusers with shards; ComfyUI's single file as well

Loading needs the memory of the network plus one tensor. What does not fit is refused with the tensor's name, its shape
and the one expected; nothing is filled in or left out.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from model.dit import VideoDiT
from model.keys import Layout, Link, Naming, Network, Shape, dit_links, find_naming, vae_links
from model.presets import DiTConfig, VAEConfig
from model.vae import CausalVideoVAE
from model.weight_config import Config, find_config, network_of
from model.weight_files import StoredWeights, open_weights

LOADABLE = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class NetworkWeights:
    """Weights that are known to be all of one network: `links` lead from each of our tensors to the file's."""

    stored: StoredWeights
    naming: Naming
    config: Config
    links: tuple[Link, ...]

    def dtype(self, link: Link) -> torch.dtype:
        """Type in which the file keeps one of our tensors.

        Raises:
            ValueError: a fused tensor's parts are of different types.
        """
        types = {self.stored.tensors[part].dtype for part in link.parts}
        if len(types) > 1:
            kinds = ", ".join(sorted(map(str, types)))
            raise ValueError(f"{self.stored.path}: tensors '{', '.join(link.parts)}' must be of one type, got {kinds}")
        return types.pop()

    def read(self, link: Link) -> Tensor:
        """One of our tensors."""
        return link.join([self.stored.read(part) for part in link.parts])


@functools.lru_cache(maxsize=8)
def released_shapes(config: Config) -> dict[str, Shape]:
    """Names and shapes of a network's tensors, in the network's order."""
    return {name: tuple(tensor.shape) for name, tensor in _without_data(config).state_dict().items()}


def _without_data(config: Config) -> VideoDiT | CausalVideoVAE:
    with torch.device("meta"):
        return VideoDiT(config) if isinstance(config, DiTConfig) else CausalVideoVAE(config)


def layout_links(config: Config, layout: Layout, prefix: str = "") -> tuple[Link, ...]:
    """Links from every tensor of a network to a layout."""
    make = dit_links if network_of(config) is Network.DIT else vae_links
    return tuple(make(released_shapes(config), layout, prefix))


def identify(stored: StoredWeights, config: Config | None = None) -> NetworkWeights:
    """Recognise the network and the layout of weights, and check that every tensor is there and nothing else is.

    Raises:
        ValueError: no known network, or the first tensor that is missing, misshapen or too many.
    """
    naming = find_naming(list(stored.tensors))
    if naming is None:
        some = ", ".join(f"'{name}'" for name in list(stored.tensors)[:3]) or "none"
        raise ValueError(
            f"{stored.path} holds no weights of HunyuanVideo's DiT or VAE in the original, diffusers or ComfyUI "
            f"layout; its {len(stored.tensors)} tensors begin with {some}"
        )
    config = config or find_config(stored, naming)
    _expect(network_of(config), stored, naming)
    links = layout_links(config, naming.layout, naming.prefix)
    _check(stored, naming, links)
    return NetworkWeights(stored, naming, config, links)


def _check(stored: StoredWeights, naming: Naming, links: Sequence[Link]) -> None:
    expected = {part: shape for link in links for part, shape in zip(link.parts, link.part_shapes, strict=True)}
    missing = [name for name in expected if name not in stored.tensors]
    if missing:
        raise ValueError(
            f"{stored.path}: tensor '{missing[0]}' is missing ({len(missing)} in all); "
            f"expected {_said(expected[missing[0]])}"
        )
    for name, shape in expected.items():
        if stored.tensors[name].shape != shape:
            raise ValueError(
                f"{stored.path}: tensor '{name}' has shape {_said(stored.tensors[name].shape)}, expected {_said(shape)}"
            )
    extra = [name for name in stored.tensors if name not in expected]
    if extra:
        raise ValueError(
            f"{stored.path}: tensor '{extra[0]}' ({len(extra)} in all) is not part of this {naming.network.label}, "
            f"which has {len(expected)} tensors in the {naming.layout} layout"
        )


def _said(shape: Shape) -> str:
    return str(list(shape))


def load_dit(
    path: str | Path,
    config: DiTConfig | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    branch: str | None = None,
) -> VideoDiT:
    """The transformer with the weights of a file or folder, in evaluation mode.

    `config` is found from the shapes when None (see model/weight_config.py); `branch` chooses where a `.pt` file holds
    several (`module` or `ema`).

    Raises:
        ValueError: names the file, the tensor and what was expected of it.
    """
    network = _load(identify(open_weights(path, branch), config), Network.DIT, dtype, device)
    assert isinstance(network, VideoDiT)
    return network


def load_vae(
    path: str | Path,
    config: VAEConfig | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    branch: str | None = None,
) -> CausalVideoVAE:
    """The VAE with the weights of a file or folder, in evaluation mode; the rest as in `load_dit`."""
    network = _load(identify(open_weights(path, branch), config), Network.VAE, dtype, device)
    assert isinstance(network, CausalVideoVAE)
    return network


def _expect(network: Network, stored: StoredWeights, naming: Naming) -> None:
    if naming.network is not network:
        raise ValueError(f"{stored.path} holds a {naming.network.label}, expected a {network.label}")


def _load(
    weights: NetworkWeights, kind: Network, dtype: torch.dtype, device: torch.device | str
) -> VideoDiT | CausalVideoVAE:
    _expect(kind, weights.stored, weights.naming)
    state = {}
    for link in weights.links:
        if weights.dtype(link) not in LOADABLE:
            raise ValueError(
                f"{weights.stored.path}: tensor '{link.parts[0]}' is {weights.dtype(link)}; a network is loaded from "
                f"{', '.join(map(str, LOADABLE))}, since scales of narrower types are not part of the file"
            )
        state[link.name] = weights.read(link).to(device=device, dtype=dtype)
    network = _without_data(weights.config)
    network.load_state_dict(state, assign=True)
    return network.eval()
