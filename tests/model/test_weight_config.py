"""Sizes from shapes; what shapes do not show comes from metadata, config.json or presets, and is never guessed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from model.keys import Layout
from model.presets import DIT_PRESETS, VAE_PRESETS
from model.weight_config import Config, config_metadata, diffusers_config, find_config, preset_name
from model.weight_files import StoredTensor, StoredWeights, open_weights
from model.weights import find_naming, layout_links
from tests.model.weight_samples import DIT, VAE, random_state


def _index(sizes: Config, layout: Layout, prefix: str = "", **more: object) -> StoredWeights:
    """The index that a file of such a network would have; no values are needed to find sizes."""
    path = Path("nowhere.safetensors")
    tensors = {
        name: StoredTensor(name, torch.float32, shape, path, 0)
        for link in layout_links(sizes, layout, prefix)
        for name, shape in zip(link.parts, link.part_shapes, strict=True)
    }
    return StoredWeights(path, tensors, (path,), **more)  # pyright: ignore[reportArgumentType]


def _found(weights: StoredWeights) -> Config:
    naming = find_naming(list(weights.tensors))
    assert naming is not None
    return find_config(weights, naming)


@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("name", sorted(DIT_PRESETS))
def test_every_dit_preset_is_found_from_its_shapes(name: str, layout: Layout) -> None:
    config = DIT_PRESETS[name]
    assert _found(_index(config, layout, "model.")) == config and preset_name(config) == name
    without = replace(config, guidance=not config.guidance)
    assert _found(_index(without, layout)) == without
    assert preset_name(without) == f"{name} {'with' if without.guidance else 'without'} guidance embedding"


@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("name", sorted(VAE_PRESETS))
def test_every_vae_preset_is_found_from_its_shapes(name: str, layout: Layout) -> None:
    assert _found(_index(VAE_PRESETS[name], layout, "vae.")) == VAE_PRESETS[name]


def test_a_network_of_single_blocks_only_is_found_too() -> None:
    config = replace(DIT, num_dual_blocks=0)
    for layout in Layout:
        assert _found(_index(config, layout)) == config


def test_presets_of_one_head_width_turn_alike() -> None:
    """Otherwise the width of a head would not say how a released file's heads turn."""
    dims: dict[int, set[tuple[int, int, int]]] = {}
    for preset in DIT_PRESETS.values():
        dims.setdefault(preset.head_dim, set()).add(preset.rope_dims)
    assert all(len(kinds) == 1 for kinds in dims.values())


ODD_DIT = replace(DIT, num_heads=4, rope_dims=(8, 4, 4), rope_theta=100.0)
ODD_VAE = replace(VAE, block_out_channels=(8, 16, 24, 24), num_groups=4, scaling_factor=0.5)


@pytest.mark.parametrize("config", [ODD_DIT, ODD_VAE], ids=["dit", "vae"])
def test_what_shapes_do_not_show_is_read_from_metadata_or_config_json(config: Config) -> None:
    layout = Layout.DIFFUSERS
    assert _found(_index(config, layout, metadata=config_metadata(config))) == config
    assert _found(_index(config, layout, config=json.loads(json.dumps(diffusers_config(config))))) == config
    other = {**diffusers_config(config), "_class_name": "WanTransformer3DModel"}
    for weights in (_index(config, layout), _index(config, layout, config=other)):
        with pytest.raises(
            ValueError, match=r"no preset has (heads of 16 channels|blocks of .* channels).*config.json"
        ):
            _found(weights)
    assert preset_name(config) is None


def test_a_missing_tensor_that_says_a_size_is_named(tmp_path: Path) -> None:
    state = random_state(DIT)
    del state["txt_in.input_embedder.weight"]
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=r"tensor 'txt_in.input_embedder.weight' is missing, which says the size"):
        _found(open_weights(tmp_path / "x.safetensors"))


def test_what_the_reference_cannot_express_is_refused() -> None:
    with pytest.raises(ValueError, match=r"square patches only, this network has \(1, 2, 4\)"):
        diffusers_config(replace(DIT, patch_size=(1, 2, 4)))
    with pytest.raises(ValueError, match=r"diffusers' VAE has the strides"):
        diffusers_config(replace(VAE, strides=((2, 2, 2), (2, 2, 2), (1, 2, 2))))


def test_image_to_video_is_said() -> None:
    assert diffusers_config(DIT)["image_condition_type"] is None
    assert diffusers_config(DIT, image_to_video=True)["image_condition_type"] == "token_replace"
