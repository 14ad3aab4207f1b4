"""Conversions between all layouts and kinds of files, bit for bit, in little memory, and read by diffusers itself."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from diffusers.models.transformers.transformer_hunyuan_video import HunyuanVideoTransformer3DModel
from safetensors.torch import load_file, save_file

from model.conversion import Target, convert
from model.keys import Layout
from model.weight_config import Config
from model.weight_files import open_weights
from model.weights import identify, load_dit, load_vae, released_shapes
from tests.model.weight_samples import DIT, VAE, random_state

NETWORKS = pytest.mark.parametrize("config", [DIT, VAE], ids=["dit", "vae"])


def _original(tmp_path: Path, config: Config) -> Path:
    save_file(random_state(config), tmp_path / "original.safetensors")
    return tmp_path / "original.safetensors"


def _converted(source: Path, path: Path, layout: Layout, **more: object) -> Path:
    convert(identify(open_weights(source)), Target(path, layout, **more))  # pyright: ignore[reportArgumentType]
    return path


@NETWORKS
@pytest.mark.parametrize(
    "names",
    [
        ("a.pt", "b.safetensors", "c"),
        ("c", "a.pt", "b.safetensors"),
        ("b.safetensors", "c", "a.pt"),
    ],
)
def test_a_round_trip_through_every_layout_gives_the_same_bits(
    tmp_path: Path, config: Config, names: tuple[str, ...]
) -> None:
    """Original pickle, ComfyUI file and diffusers folder of shards, in three orders, back to the original."""
    layouts = {"a.pt": Layout.ORIGINAL, "b.safetensors": Layout.COMFYUI, "c": Layout.DIFFUSERS}
    path = _original(tmp_path, config)
    for name in names:
        path = _converted(path, tmp_path / name, layouts[name], shard_bytes=100_000)
        assert identify(open_weights(path)).config == config
    back = load_file(_converted(path, tmp_path / "back.safetensors", Layout.ORIGINAL))
    expected = random_state(config)
    assert back.keys() == expected.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in expected.items())


def test_the_reference_opens_the_exported_dit_and_computes_the_same(tmp_path: Path) -> None:
    folder = _converted(_original(tmp_path, DIT), tmp_path / "dit", Layout.DIFFUSERS, shard_bytes=200_000)
    assert len(list(folder.glob("*.safetensors"))) > 3
    theirs = HunyuanVideoTransformer3DModel.from_pretrained(folder)
    assert isinstance(theirs, HunyuanVideoTransformer3DModel)
    latent, text, pooled = torch.randn(16, 3, 4, 4), torch.randn(5, 24), torch.randn(1, 12)
    t, guidance = torch.tensor([300.0]), torch.tensor([6000.0])
    with torch.no_grad():
        (velocity,) = load_dit(folder)([latent], t, [text], pooled, guidance)
        expected = theirs(latent[None], t, text[None], torch.ones(1, 5), pooled, guidance)
    torch.testing.assert_close(velocity, expected.sample[0], rtol=0, atol=2e-6)


def test_the_reference_opens_the_exported_vae_and_computes_the_same(tmp_path: Path) -> None:
    folder = _converted(_original(tmp_path, VAE), tmp_path / "vae", Layout.DIFFUSERS)
    theirs = AutoencoderKLHunyuanVideo.from_pretrained(folder)
    assert isinstance(theirs, AutoencoderKLHunyuanVideo)
    video = torch.rand(1, 3, 5, 16, 16, dtype=torch.float64) * 2 - 1
    with torch.no_grad():
        mean = load_vae(folder, dtype=torch.float64).encode(video).mean
        torch.testing.assert_close(mean, theirs.double().encode(video, return_dict=False)[0].mean, rtol=0, atol=1e-12)


def test_what_the_reference_saved_is_read(tmp_path: Path) -> None:
    folder = _converted(_original(tmp_path, DIT), tmp_path / "dit", Layout.DIFFUSERS)
    theirs = HunyuanVideoTransformer3DModel.from_pretrained(folder)
    assert isinstance(theirs, HunyuanVideoTransformer3DModel)
    theirs.save_pretrained(tmp_path / "saved", max_shard_size="200KB")
    loaded = load_dit(tmp_path / "saved").state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in random_state(DIT).items())


def test_a_type_is_changed_where_asked_and_kept_where_not(tmp_path: Path) -> None:
    state = random_state(DIT)
    mixed = {name: tensor if "norm" in name else tensor.bfloat16() for name, tensor in state.items()}
    save_file(mixed, tmp_path / "mixed.safetensors")
    kept = load_file(_converted(tmp_path / "mixed.safetensors", tmp_path / "kept.safetensors", Layout.ORIGINAL))
    assert all(torch.equal(kept[name], tensor) and kept[name].dtype == tensor.dtype for name, tensor in mixed.items())
    target = tmp_path / "half.safetensors"
    half = load_file(_converted(_original(tmp_path, DIT), target, Layout.ORIGINAL, dtype=torch.bfloat16))
    assert all(torch.equal(half[name], tensor.bfloat16()) for name, tensor in state.items())


def test_narrow_types_pass_as_they_are_and_are_not_widened(tmp_path: Path) -> None:
    narrow = {
        name: tensor.to(torch.float8_e4m3fn) if "linear1" in name else tensor
        for name, tensor in random_state(DIT).items()
    }
    save_file(narrow, tmp_path / "x.safetensors")
    passed = load_file(_converted(tmp_path / "x.safetensors", tmp_path / "y.safetensors", Layout.COMFYUI))
    name = "single_blocks.0.linear1.weight"
    assert torch.equal(passed[f"model.model.{name}"].view(torch.uint8), narrow[name].view(torch.uint8))
    with pytest.raises(
        ValueError, match=rf"tensor '{name}' is torch.float8_e4m3fn, which cannot become torch.bfloat16"
    ):
        _converted(tmp_path / "x.safetensors", tmp_path / "z.safetensors", Layout.ORIGINAL, dtype=torch.bfloat16)


def test_files_that_nobody_would_read_are_refused(tmp_path: Path) -> None:
    source = _original(tmp_path, DIT)
    with pytest.raises(ValueError, match=r"x.pt would be a pickle in the diffusers layout, which nobody reads"):
        _converted(source, tmp_path / "x.pt", Layout.DIFFUSERS)
    with pytest.raises(ValueError, match=r"ComfyUI reads one file; give .*x the ending .safetensors"):
        _converted(source, tmp_path / "x", Layout.COMFYUI)


def test_progress_is_told_tensor_by_tensor(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    weights = identify(open_weights(_original(tmp_path, DIT)))
    convert(weights, Target(tmp_path / "x.safetensors", Layout.COMFYUI), lambda *told_now: told.append(told_now))
    assert [done for done, _, _ in told] == list(range(1, len(weights.links) + 1))
    assert {name for _, _, name in told} == {link.name for link in weights.links}


MEASURE = """
import resource, sys
from pathlib import Path
from model.conversion import Target, convert
from model.keys import Layout
from model.weight_files import open_weights
from model.weights import identify

def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

def all_ways(source, out):
    for name, layout, path in (
        (".safetensors", Layout.DIFFUSERS, out / "folder"),
        (".pt", Layout.COMFYUI, out / "one.safetensors"),
        (".safetensors", Layout.ORIGINAL, out / "pickle.pt"),
    ):
        convert(identify(open_weights(source.with_suffix(name))), Target(path, layout, shard_bytes=50_000_000))

small, large = map(Path, sys.argv[1:])
all_ways(small / "x", small)
before = peak_bytes()
all_ways(large / "x", large)
print(peak_bytes() - before)
"""


def test_memory_follows_the_largest_tensor_and_not_the_file(tmp_path: Path) -> None:
    """A process that has converted a small network converts one of 170 MB in the room of a few of its tensors."""
    large = replace(DIT, hidden_size=512, num_heads=16, num_dual_blocks=3, num_single_blocks=8)
    for name, config in (("small", DIT), ("large", large)):
        state = {name: torch.zeros(shape) for name, shape in released_shapes(config).items()}
        (tmp_path / name).mkdir()
        save_file(state, tmp_path / name / "x.safetensors")
        torch.save({"module": state}, tmp_path / name / "x.pt")
    weights = open_weights(tmp_path / "large" / "x.safetensors")
    largest = max(tensor.num_bytes for tensor in weights.tensors.values())
    assert weights.num_bytes > 20 * largest
    arguments = [str(tmp_path / "small"), str(tmp_path / "large")]
    outcome = subprocess.run([sys.executable, "-c", MEASURE, *arguments], capture_output=True, text=True, check=True)
    assert int(outcome.stdout) < 4 * largest, f"{int(outcome.stdout):,} bytes for tensors of {largest:,}"
