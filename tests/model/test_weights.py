"""Networks from files in every layout, bit for bit; a file that does not fit is refused by tensor."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from model.keys import Layout
from model.weight_config import Config
from model.weights import layout_links, load_dit, load_vae
from tests.model.weight_samples import DIT, VAE, random_network, random_state


def _write(path: Path, config: Config, layout: Layout, prefix: str = "") -> Path:
    state = random_state(config)
    tensors: dict[str, Tensor] = {}
    for link in layout_links(config, layout, prefix):
        tensors |= zip(link.parts, (part.clone() for part in link.split(state[link.name])), strict=True)
    if path.suffix == ".pt":
        torch.save({"module": tensors}, path)
    else:
        save_file(tensors, path)
    return path


def _load(config: Config, path: Path) -> nn.Module:
    return load_vae(path) if config is VAE else load_dit(path)


@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("config", [DIT, VAE], ids=["dit", "vae"])
def test_a_network_comes_back_from_every_layout(tmp_path: Path, config: Config, layout: Layout, ending: str) -> None:
    network = _load(config, _write(tmp_path / f"x{ending}", config, layout, "model.model."))
    assert network.config == config and not network.training
    expected = random_network(config).state_dict()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, expected.pop(name)), name
    assert not expected
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_type_and_place_are_chosen(tmp_path: Path) -> None:
    dit = load_dit(_write(tmp_path / "x.safetensors", DIT, Layout.ORIGINAL), dtype=torch.bfloat16, device="meta")
    assert {(tensor.dtype, tensor.device.type) for tensor in dit.parameters()} == {(torch.bfloat16, "meta")}


def test_a_given_configuration_is_held_to(tmp_path: Path) -> None:
    path = _write(tmp_path / "x.safetensors", DIT, Layout.ORIGINAL)
    turned = replace(DIT, rope_dims=(16, 8, 8))
    assert load_dit(path, turned).config == turned
    with pytest.raises(ValueError, match=r"tensor 'guidance_in.mlp.0.bias' \(4 in all\) is not part of this DiT"):
        load_dit(path, replace(DIT, guidance=False))
    with pytest.raises(ValueError, match=r"tensor 'double_blocks.2.img_mod.linear.weight' is missing \(\d+ in all\)"):
        load_dit(path, replace(DIT, num_dual_blocks=3))


def test_the_other_network_is_refused(tmp_path: Path) -> None:
    dit = _write(tmp_path / "dit.safetensors", DIT, Layout.COMFYUI)
    vae = _write(tmp_path / "vae.safetensors", VAE, Layout.ORIGINAL)
    with pytest.raises(ValueError, match=r"holds a DiT, expected a VAE"):
        load_vae(dit)
    with pytest.raises(ValueError, match=r"holds a VAE, expected a DiT"):
        load_dit(vae)
    with pytest.raises(ValueError, match=r"holds a VAE, expected a DiT"):
        load_dit(vae, DIT)


# per layout: a tensor of the DiT, and what to say of its shape
FUSED = {
    Layout.ORIGINAL: ("double_blocks.1.txt_attn_qkv.weight", "[192, 64]"),
    Layout.DIFFUSERS: ("transformer_blocks.1.attn.add_k_proj.weight", "[64, 64]"),
    Layout.COMFYUI: ("double_blocks.1.txt_attn.qkv.weight", "[192, 64]"),
}


@pytest.mark.parametrize("layout", list(Layout))
def test_a_tensor_that_does_not_fit_is_named_with_what_was_expected(tmp_path: Path, layout: Layout) -> None:
    from safetensors.torch import load_file

    name, shape = FUSED[layout]
    path = _write(tmp_path / "x.safetensors", DIT, layout)
    whole = load_file(path)

    def refused(tensors: dict[str, Tensor]) -> str:
        save_file(tensors, path)
        with pytest.raises(ValueError) as caught:
            load_dit(path)
        return str(caught.value).removeprefix(f"{path}: ")

    missing = {key: tensor for key, tensor in whole.items() if key != name}
    assert refused(missing) == f"tensor '{name}' is missing (1 in all); expected {shape}"
    wrong = {**whole, name: whole[name][:-1].clone()}
    assert refused(wrong) == f"tensor '{name}' has shape [{len(whole[name]) - 1}, 64], expected {shape}"
    extra = {**whole, "one.more": torch.zeros(1)}
    assert refused(extra).startswith("tensor 'one.more' (1 in all) is not part of this DiT, which has ")
    narrow = {**whole, name: whole[name].to(torch.float8_e4m3fn)}
    assert ("must be of one type" if layout is Layout.DIFFUSERS else f"'{name}' is torch.float8_e4m3fn") in refused(
        narrow
    )


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    save_file({"blocks.0.self_attn.q.weight": torch.zeros(2)}, tmp_path / "wan.safetensors")
    with pytest.raises(
        ValueError, match=r"holds no weights of HunyuanVideo's DiT or VAE .* 'blocks.0.self_attn.q.weight'"
    ):
        load_dit(tmp_path / "wan.safetensors")
