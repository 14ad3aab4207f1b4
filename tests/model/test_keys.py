"""Names in three layouts: complete against diffusers' own classes at full size, exact there and back."""

from collections.abc import Mapping
from dataclasses import replace
from math import prod

import pytest
import torch
from torch import Tensor

from model.keys import Layout, Link, Network, dit_module, find_naming, vae_links
from model.presets import DIT_PRESETS, VAE_PRESETS
from model.weight_config import Config
from model.weights import layout_links, released_shapes
from tests.model.weight_samples import DIT, VAE, random_network, random_state, reference

FULL = {Network.DIT: DIT_PRESETS["full"], Network.VAE: VAE_PRESETS["full"]}
COUNTS = {Network.DIT: 12_821_012_544, Network.VAE: 246_478_803}
TENSORS = {
    (Network.DIT, Layout.ORIGINAL): 856,
    (Network.DIT, Layout.DIFFUSERS): 1264,
    (Network.DIT, Layout.COMFYUI): 856,
    (Network.VAE, Layout.ORIGINAL): 248,
    (Network.VAE, Layout.DIFFUSERS): 248,
    (Network.VAE, Layout.COMFYUI): 248,
}


def _laid_out(state: Mapping[str, Tensor], links: tuple[Link, ...]) -> dict[str, Tensor]:
    parts = ((link, link.split(state[link.name])) for link in links)
    return {name: tensor for link, tensors in parts for name, tensor in zip(link.parts, tensors, strict=True)}


@pytest.mark.parametrize(("network", "layout"), sorted(TENSORS))
def test_every_layout_holds_the_full_network_to_the_last_parameter(network: Network, layout: Layout) -> None:
    links = layout_links(FULL[network], layout)
    shapes = {name: shape for link in links for name, shape in zip(link.parts, link.part_shapes, strict=True)}
    assert len(shapes) == sum(len(link.parts) for link in links) == TENSORS[network, layout]
    assert sum(prod(shape) for shape in shapes.values()) == COUNTS[network]


@pytest.mark.parametrize("network", list(Network))
@pytest.mark.parametrize("guidance", [True, False])
def test_names_and_shapes_at_full_size_are_those_of_the_reference_s_class(network: Network, guidance: bool) -> None:
    config: Config = FULL[network] if network is Network.VAE else replace(DIT_PRESETS["full"], guidance=guidance)
    links = layout_links(config, Layout.DIFFUSERS)
    ours = {name: shape for link in links for name, shape in zip(link.parts, link.part_shapes, strict=True)}
    with torch.device("meta"):
        theirs = {name: tuple(tensor.shape) for name, tensor in reference(config).state_dict().items()}
    assert ours == theirs
    assert any("guidance_embedder" in name for name in ours) == (network is Network.DIT and guidance)


@pytest.mark.parametrize("config", [DIT, replace(DIT, guidance=False), VAE], ids=["guided", "plain", "vae"])
@pytest.mark.parametrize("layout", list(Layout))
def test_there_and_back_gives_the_same_bits(config: Config, layout: Layout) -> None:
    state, links = random_state(config), layout_links(config, layout, prefix="some.prefix.")
    parts = _laid_out(state, links)
    assert {name: tuple(tensor.shape) for name, tensor in parts.items()} == {
        name: shape for link in links for name, shape in zip(link.parts, link.part_shapes, strict=True)
    }
    for link in links:
        assert torch.equal(link.join([parts[name] for name in link.parts]), state[link.name])


def test_the_reference_computes_the_same_with_the_mapped_weights() -> None:
    """Names could fit and two tensors of one shape still be exchanged; the numbers cannot."""
    ours, theirs = random_network(DIT), reference(DIT)
    theirs.load_state_dict(_laid_out(ours.state_dict(), layout_links(DIT, Layout.DIFFUSERS)))
    latent, text, pooled = torch.randn(16, 3, 4, 4), torch.randn(5, 24), torch.randn(1, 12)
    with torch.no_grad():
        (velocity,) = ours([latent], torch.tensor([300.0]), [text], pooled, torch.tensor([6000.0]))
        expected = theirs(
            latent[None], torch.tensor([300.0]), text[None], torch.ones(1, 5), pooled, torch.tensor([6000.0])
        )
    torch.testing.assert_close(velocity, expected.sample[0], rtol=0, atol=2e-6)


def test_only_the_last_modulation_has_its_halves_exchanged() -> None:
    swapped = [link.name for link in layout_links(DIT, Layout.DIFFUSERS) if link.form == "halves swapped"]
    assert swapped == ["final_layer.adaLN_modulation.1.weight", "final_layer.adaLN_modulation.1.bias"]
    (link,) = (link for link in layout_links(DIT, Layout.DIFFUSERS) if link.name == swapped[1])
    assert link.split(torch.arange(128.0))[0].tolist() == [*range(64, 128), *range(64)]


# ComfyUI's names, one of each kind, as its released files have them.
COMFYUI = {
    "img_in.proj.weight": "img_in.proj.weight",
    "time_in.mlp.0.weight": "time_in.in_layer.weight",
    "guidance_in.mlp.2.bias": "guidance_in.out_layer.bias",
    "vector_in.in_layer.weight": "vector_in.in_layer.weight",
    "txt_in.t_embedder.mlp.2.weight": "txt_in.t_embedder.out_layer.weight",
    "txt_in.c_embedder.linear_1.weight": "txt_in.c_embedder.in_layer.weight",
    "txt_in.individual_token_refiner.blocks.1.self_attn_qkv.weight": (
        "txt_in.individual_token_refiner.blocks.1.self_attn.qkv.weight"
    ),
    "txt_in.individual_token_refiner.blocks.0.self_attn_proj.bias": (
        "txt_in.individual_token_refiner.blocks.0.self_attn.proj.bias"
    ),
    "txt_in.individual_token_refiner.blocks.0.mlp.fc1.bias": "txt_in.individual_token_refiner.blocks.0.mlp.0.bias",
    "txt_in.individual_token_refiner.blocks.0.adaLN_modulation.1.bias": (
        "txt_in.individual_token_refiner.blocks.0.adaLN_modulation.1.bias"
    ),
    "double_blocks.1.img_mod.linear.weight": "double_blocks.1.img_mod.lin.weight",
    "double_blocks.1.txt_attn_qkv.weight": "double_blocks.1.txt_attn.qkv.weight",
    "double_blocks.1.img_attn_q_norm.weight": "double_blocks.1.img_attn.norm.query_norm.scale",
    "double_blocks.1.txt_attn_k_norm.weight": "double_blocks.1.txt_attn.norm.key_norm.scale",
    "double_blocks.1.img_attn_proj.bias": "double_blocks.1.img_attn.proj.bias",
    "double_blocks.1.txt_mlp.fc2.weight": "double_blocks.1.txt_mlp.2.weight",
    "single_blocks.0.linear1.weight": "single_blocks.0.linear1.weight",
    "single_blocks.0.k_norm.weight": "single_blocks.0.norm.key_norm.scale",
    "single_blocks.0.modulation.linear.bias": "single_blocks.0.modulation.lin.bias",
    "final_layer.adaLN_modulation.1.weight": "final_layer.adaLN_modulation.1.weight",
    "encoder.down_blocks.1.resnets.0.conv_shortcut.conv.weight": "encoder.down.1.block.0.nin_shortcut.conv.weight",
    "encoder.down_blocks.2.downsamplers.0.conv.conv.bias": "encoder.down.2.downsample.conv.conv.bias",
    "decoder.up_blocks.0.resnets.1.conv2.conv.weight": "decoder.up.3.block.1.conv2.conv.weight",
    "decoder.up_blocks.2.upsamplers.0.conv.conv.weight": "decoder.up.1.upsample.conv.conv.weight",
    "encoder.mid_block.resnets.1.norm2.weight": "encoder.mid.block_2.norm2.weight",
    "decoder.mid_block.attentions.0.to_q.weight": "decoder.mid.attn_1.q.weight",
    "decoder.mid_block.attentions.0.to_out.0.bias": "decoder.mid.attn_1.proj_out.bias",
    "decoder.mid_block.attentions.0.group_norm.weight": "decoder.mid.attn_1.norm.weight",
    "decoder.conv_norm_out.bias": "decoder.norm_out.bias",
    "quant_conv.weight": "quant_conv.weight",
}


def test_comfyui_s_names() -> None:
    links = {link.name: link.parts for config in (DIT, VAE) for link in layout_links(config, Layout.COMFYUI)}
    assert {name: links[name] for name in COMFYUI} == {name: (other,) for name, other in COMFYUI.items()}


def test_comfyui_s_attention_in_the_vae_is_a_pointwise_convolution() -> None:
    links = vae_links(released_shapes(VAE), Layout.COMFYUI)
    ours = {link.name: link.part_shapes for link in links}
    assert ours["decoder.mid_block.attentions.0.to_q.weight"] == ((48, 48, 1, 1, 1),)
    assert ours["decoder.mid_block.attentions.0.to_q.bias"] == ((48,),)


@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("prefix", ["", "model.model.", "module."])
@pytest.mark.parametrize("config", [DIT, VAE], ids=["dit", "vae"])
def test_a_layout_is_recognised_behind_any_prefix(config: Config, prefix: str, layout: Layout) -> None:
    names = [name for link in layout_links(config, layout, prefix) for name in link.parts]
    naming = find_naming(names)
    assert naming is not None and naming.prefix == prefix
    same_names = config is VAE and layout is Layout.DIFFUSERS
    assert naming.layout is (Layout.ORIGINAL if same_names else layout)


def test_other_names_are_not_recognised() -> None:
    assert find_naming(["blocks.0.self_attn.q.weight", "patch_embedding.weight"]) is None
    with pytest.raises(KeyError):
        dit_module("double_blocks.0.img_attn_kqv", Layout.DIFFUSERS)
