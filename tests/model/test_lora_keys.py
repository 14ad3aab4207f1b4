"""LoRA layouts: whatever the names and however projections are split, the merged weights are the same."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from model.keys import Layout, dit_module
from model.lora_keys import Adapter, is_lora, lay_out, read_lora
from model.weight_files import open_weights
from model.weights import layout_links
from tests.model.weight_samples import DIT, random_state, reference

MODULES = (
    "time_in.mlp.0",
    "txt_in.individual_token_refiner.blocks.1.self_attn_qkv",
    "txt_in.individual_token_refiner.blocks.0.mlp.fc1",
    "double_blocks.0.img_attn_qkv",
    "double_blocks.1.txt_attn_qkv",
    "double_blocks.1.txt_attn_proj",
    "double_blocks.0.img_mod.linear",
    "double_blocks.0.img_mlp.fc2",
    "single_blocks.1.linear1",
    "single_blocks.0.linear2",
    "single_blocks.1.modulation.linear",
    "final_layer.adaLN_modulation.1",
    "final_layer.linear",
)


def _random_lora(rank: int = 4, scale: float = 1.0) -> dict[str, Adapter]:
    """One adapter for each kind of module, as a trainer over the fused network makes them."""
    state, generator = random_state(DIT), torch.Generator().manual_seed(1)
    adapters = {}
    for module in MODULES:
        rows, columns = state[f"{module}.weight"].shape
        down, up = (torch.randn(shape, generator=generator) for shape in ((rank, columns), (rows, rank)))
        adapters[module] = Adapter(down, up, scale)
    return adapters


def _merged(adapters: dict[str, Adapter]) -> dict[str, Tensor]:
    state = random_state(DIT)
    for module, adapter in adapters.items():
        state[f"{module}.weight"] = (
            state[f"{module}.weight"].double() + adapter.scale * adapter.up.double() @ adapter.down.double()
        )
    return state


def _read(tensors: dict[str, Tensor], tmp_path: Path, metadata: dict[str, str] | None = None) -> dict[str, Adapter]:
    save_file(tensors, tmp_path / "x.safetensors", metadata=metadata)
    return read_lora(open_weights(tmp_path / "x.safetensors"))[1]


def _same_bits(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def _split_lora() -> dict[str, Tensor]:
    """A LoRA trained on diffusers' split projections, of different ranks, and not on all of them."""
    generator = torch.Generator().manual_seed(2)
    shapes = {
        name: shape
        for link in layout_links(DIT, Layout.DIFFUSERS)
        for name, shape in zip(link.parts, link.part_shapes, strict=True)
    }
    ranks = {
        "transformer_blocks.0.attn.to_q": 4,
        "transformer_blocks.0.attn.to_k": 4,
        "transformer_blocks.0.attn.to_v": 2,
        "transformer_blocks.1.attn.add_q_proj": 4,
        "transformer_blocks.1.attn.add_v_proj": 4,
        "single_transformer_blocks.0.attn.to_v": 3,
        "single_transformer_blocks.1.proj_mlp": 3,
        "single_transformer_blocks.1.proj_out": 3,
        "norm_out.linear": 4,
        "context_embedder.token_refiner.refiner_blocks.0.attn.to_k": 2,
    }
    tensors = {}
    for name, rank in ranks.items():
        rows, columns = shapes[f"{name}.weight"]
        tensors[f"transformer.{name}.lora_A.weight"] = torch.randn(rank, columns, generator=generator)
        tensors[f"transformer.{name}.lora_B.weight"] = torch.randn(rows, rank, generator=generator)
    return tensors


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.3])
@pytest.mark.parametrize("layout", list(Layout))
def test_merged_weights_are_the_same_from_every_layout(tmp_path: Path, layout: Layout, scale: float) -> None:
    adapters = _random_lora(scale=scale)
    expected, merged = _merged(adapters), _merged(_read(lay_out(adapters, layout), tmp_path))
    for name, tensor in expected.items():
        torch.testing.assert_close(merged[name], tensor, rtol=0, atol=0 if scale != 0.3 else 2e-6)


@pytest.mark.parametrize("first", list(Layout))
@pytest.mark.parametrize("second", list(Layout))
def test_any_two_layouts_and_back_give_the_same_bits(tmp_path: Path, first: Layout, second: Layout) -> None:
    for adapters in (_random_lora(), _read(_split_lora(), tmp_path)):
        tensors = lay_out(adapters, first)
        other = lay_out(_read(tensors, tmp_path), second)
        assert _same_bits(lay_out(_read(other, tmp_path), first), tensors)


def test_what_was_trained_split_comes_back_split_as_it_was(tmp_path: Path) -> None:
    tensors = _split_lora()
    for layout in Layout:
        assert _same_bits(
            lay_out(_read(lay_out(_read(tensors, tmp_path), layout), tmp_path), Layout.DIFFUSERS), tensors
        )


def test_fusing_stacks_ranks_and_the_product_is_that_of_the_parts(tmp_path: Path) -> None:
    tensors = _split_lora()
    fused = _read(tensors, tmp_path)
    assert fused["double_blocks.0.img_attn_qkv"].rank == 4 + 4 + 2
    for module, adapter in fused.items():
        delta = adapter.up.double() @ adapter.down.double()
        names = dit_module(module, Layout.DIFFUSERS)
        rows = [64, 64, 64, 256][: len(names)] if len(names) > 1 else [len(delta)]
        for name, part in zip(names, delta.split(rows), strict=True):
            a, b = (tensors.get(f"transformer.{name}.lora_{side}.weight") for side in "AB")
            expected = torch.zeros_like(part) if a is None or b is None else b.double() @ a.double()
            if name == "norm_out.linear":
                expected = torch.cat(expected.chunk(2)[::-1])
            torch.testing.assert_close(part, expected, rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore:While injecting the PEFT adapters")  # peft matches modules by the end of a name
@pytest.mark.parametrize("kind", ["fused", "split"])
def test_diffusers_itself_merges_what_is_written_for_it(tmp_path: Path, kind: str) -> None:
    adapters = _random_lora(scale=0.5) if kind == "fused" else _read(_split_lora(), tmp_path)
    theirs = reference(DIT)
    links, state = layout_links(DIT, Layout.DIFFUSERS), random_state(DIT)
    theirs.load_state_dict(
        {name: part for link in links for name, part in zip(link.parts, link.split(state[link.name]), strict=True)}
    )
    theirs.load_lora_adapter(lay_out(adapters, Layout.DIFFUSERS), prefix="transformer")
    theirs.fuse_lora()
    merged, found = _merged(adapters), theirs.state_dict()
    found = {name.replace(".base_layer.", "."): tensor for name, tensor in found.items() if ".lora_" not in name}
    changed = 0
    for link in links:
        for name, part in zip(link.parts, link.split(merged[link.name].float()), strict=True):
            torch.testing.assert_close(found[name], part, rtol=0, atol=2e-6)
        changed += not torch.equal(merged[link.name].float(), state[link.name])
    assert changed == len(adapters)


def test_names_of_each_layout(tmp_path: Path) -> None:
    adapters = {name: _random_lora()[name] for name in ("double_blocks.0.img_attn_qkv", "double_blocks.0.img_mlp.fc2")}
    assert sorted(lay_out(adapters, Layout.ORIGINAL)) == [
        f"lora_unet_double_blocks_0_{name}.{part}"
        for name in ("img_attn_qkv", "img_mlp_fc2")
        for part in ("alpha", "lora_down.weight", "lora_up.weight")
    ]
    assert sorted(lay_out(adapters, Layout.COMFYUI)) == [
        f"diffusion_model.double_blocks.0.{name}.lora_{side}.weight"
        for name in ("img_attn.qkv", "img_mlp.2")
        for side in "AB"
    ]
    assert sorted(lay_out(adapters, Layout.DIFFUSERS)) == [
        f"transformer.transformer_blocks.0.{name}.lora_{side}.weight"
        for name in ("attn.to_k", "attn.to_q", "attn.to_v", "ff.net.2")
        for side in "AB"
    ]


SPELLINGS = [
    ("diffusion_model.double_blocks.0.img_attn_qkv", ".lora_A.weight", ".lora_B.weight"),
    ("transformer.double_blocks.0.img_attn_qkv", ".lora_A.weight", ".lora_B.weight"),
    ("diffusion_model.double_blocks.0.img_attn.qkv", ".lora_down.weight", ".lora_up.weight"),
    ("double_blocks.0.img_attn_qkv", ".lora_A.default.weight", ".lora_B.default.weight"),
    ("lora_unet_double_blocks_0_img_attn_qkv", ".lora_down.weight", ".lora_up.weight"),
]


@pytest.mark.parametrize(("name", "down", "up"), SPELLINGS)
def test_other_trainers_names_are_read(tmp_path: Path, name: str, down: str, up: str) -> None:
    adapter = _random_lora()["double_blocks.0.img_attn_qkv"]
    tensors = {name + down: adapter.down, name + up: adapter.up, f"{name}.alpha": torch.tensor(2.0)}
    (read,) = _read(tensors, tmp_path).items()
    assert read[0] == "double_blocks.0.img_attn_qkv" and read[1].scale == 0.5
    assert torch.equal(read[1].down, adapter.down) and torch.equal(read[1].up, adapter.up)


def test_alpha_in_diffusers_metadata_is_the_strength(tmp_path: Path) -> None:
    tensors = lay_out({name: _random_lora()[name] for name in MODULES[:2]}, Layout.DIFFUSERS)
    said = {"transformer.r": 4, "transformer.lora_alpha": 8, "transformer.alpha_pattern": {"attn.to_q": 2}}
    adapters = _read(tensors, tmp_path, {"lora_adapter_metadata": json.dumps(said)})
    assert adapters["time_in.mlp.0"].scale == 2.0
    query, key = adapters[MODULES[1]].up[:64].double(), adapters[MODULES[1]].up[64:128].double()
    raw = _random_lora()[MODULES[1]]
    torch.testing.assert_close(
        query @ adapters[MODULES[1]].down.double(), 0.5 * raw.up[:64].double() @ raw.down.double()
    )
    torch.testing.assert_close(
        key @ adapters[MODULES[1]].down.double(), 2.0 * raw.up[64:128].double() @ raw.down.double()
    )
    rank_stabilised = {"lora_adapter_metadata": json.dumps({"lora_alpha": 8, "use_rslora": True})}
    assert _read(tensors, tmp_path, rank_stabilised)["time_in.mlp.0"].scale == 8 / 4**0.5


def test_half_precision_stays_where_the_strength_does_not_round(tmp_path: Path) -> None:
    adapter = _random_lora()["double_blocks.1.txt_attn_proj"]
    half = Adapter(adapter.down.bfloat16(), adapter.up.bfloat16())
    for scale, dtype in ((0.5, torch.bfloat16), (0.3, torch.float32)):
        tensors = lay_out({"double_blocks.1.txt_attn_proj": Adapter(half.down, half.up, scale)}, Layout.COMFYUI)
        assert tensors["diffusion_model.double_blocks.1.txt_attn.proj.lora_B.weight"].dtype == dtype


def test_an_untrained_adapter_keeps_all_its_ranks(tmp_path: Path) -> None:
    """Its B is zero, which must not look like ranks that nobody uses."""
    adapter = _random_lora()["double_blocks.0.img_attn_qkv"]
    fresh = {"double_blocks.0.img_attn_qkv": Adapter(adapter.down, torch.zeros_like(adapter.up))}
    assert len(lay_out(fresh, Layout.DIFFUSERS)) == 6


REFUSED = {
    "wan": (
        {"blocks.0.self_attn.q.lora_A.weight": (4, 8)},
        r"'blocks.0.self_attn.q.lora_A.weight' belongs to no module",
    ),
    "dora": ({"x.lora_A.weight": (4, 8), "x.dora_scale": (8,)}, r"'x.dora_scale' is no part of a LoRA; expected names"),
    "lonely": (
        {"transformer.proj_out.lora_A.weight": (4, 64)},
        r"'transformer.proj_out.lora_A.weight' is there, its counterpart that ends in .lora_B.weight is not",
    ),
    "ranks": (
        {"transformer.proj_out.lora_A.weight": (4, 64), "transformer.proj_out.lora_B.weight": (64, 5)},
        r"'transformer.proj_out.lora_B.weight' has shape \[64, 5\].*expected \[out, rank\] and \[rank, in\]",
    ),
    "rows": (
        {
            "diffusion_model.double_blocks.0.img_attn.qkv.lora_A.weight": (4, 64),
            "diffusion_model.double_blocks.0.img_attn.qkv.lora_B.weight": (128, 4),
        },
        r"the adapter of double_blocks.0.img_attn_qkv has 128 rows, expected 3 x 64 for q, k, v",
    ),
    "part": (
        {
            "transformer.transformer_blocks.0.attn.to_q.lora_A.weight": (4, 64),
            "transformer.transformer_blocks.0.attn.to_q.lora_B.weight": (32, 4),
        },
        r"adapter of transformer_blocks.0.attn.to_q is for a weight \[32, 64\], expected \[64, 64\]",
    ),
    "twice": (
        {
            f"{prefix}double_blocks.0.img_attn_proj.lora_{side}.weight": (shape)
            for prefix in ("", "transformer.")
            for side, shape in (("A", (4, 64)), ("B", (64, 4)))
        },
        r"two adapters for double_blocks.0.img_attn_proj, one of them",
    ),
    "both": (
        {
            "double_blocks.0.img_attn_qkv.lora_A.weight": (4, 64),
            "double_blocks.0.img_attn_qkv.lora_B.weight": (192, 4),
            "transformer_blocks.0.attn.to_q.lora_A.weight": (4, 64),
            "transformer_blocks.0.attn.to_q.lora_B.weight": (64, 4),
        },
        r"double_blocks.0.img_attn_qkv has an adapter as a whole and others for its parts",
    ),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_what_is_no_lora_of_this_network_is_refused_by_name(tmp_path: Path, case: str) -> None:
    shapes, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        _read({name: torch.ones(shape) for name, shape in shapes.items()}, tmp_path)


def test_dora_in_the_metadata_is_refused(tmp_path: Path) -> None:
    tensors = lay_out({"final_layer.linear": _random_lora()["final_layer.linear"]}, Layout.DIFFUSERS)
    with pytest.raises(ValueError, match=r"is a DoRA, which has magnitudes"):
        _read(tensors, tmp_path, {"lora_adapter_metadata": json.dumps({"transformer.use_dora": True})})


def test_a_network_is_not_taken_for_a_lora(tmp_path: Path) -> None:
    save_file(random_state(DIT), tmp_path / "dit.safetensors")
    assert not is_lora(open_weights(tmp_path / "dit.safetensors"))
