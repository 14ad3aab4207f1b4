"""The `weights` verb as a user meets it: what it says, writes and refuses, and a run's weights out of it."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

import torchvision_shim

torchvision_shim.install()

from safetensors.torch import load_file, save_file  # noqa: E402

from curation.tables import Workspace  # noqa: E402
from jobs.cli import main  # noqa: E402
from model.keys import Layout  # noqa: E402
from model.lora_keys import Adapter, lay_out, read_lora  # noqa: E402
from model.presets import DIT_PRESETS, VAE_PRESETS  # noqa: E402
from model.weight_files import open_weights  # noqa: E402
from model.weights import load_dit, load_vae  # noqa: E402
from tests.model.weight_samples import DIT, VAE, random_state  # noqa: E402
from training.checkpoint import CheckpointStore  # noqa: E402


@pytest.fixture
def original(tmp_path: Path) -> Path:
    torch.save({"module": random_state(DIT), "ema": random_state(DIT, seed=1)}, tmp_path / "original.pt")
    return tmp_path / "original.pt"


def _inspected(path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, object]:
    assert main(["weights", "inspect", str(path), "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_checkpoint_goes_through_all_layouts_and_keeps_its_digest(
    original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, digests = original, {_inspected(original, capsys, "--branch", "module")["weights_sha256"]}
    for name, layout in (("a", "diffusers"), ("b.safetensors", "comfyui"), ("c.safetensors", "original")):
        branch = ["--branch", "module"] if path is original else []
        target = tmp_path / name
        assert main(["weights", "convert", str(path), str(target), "--to", layout, *branch]) == 0
        assert f"{layout} layout, in {target}" in capsys.readouterr().out
        facts, path = _inspected(target, capsys), target
        assert facts["layout"] == layout and facts["network"] == "dit"
        digests.add(facts["weights_sha256"])
    assert len(digests) == 1
    average = _inspected(original, capsys, "--branch", "ema")["weights_sha256"]
    assert average not in digests


def test_inspect_tells_a_person_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file(random_state(DIT_PRESETS["tiny"]), tmp_path / "x.safetensors")
    assert main(["weights", "inspect", str(tmp_path / "x.safetensors")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for said in ("network dit", "layout original", "parameters 2,861,888", "preset tiny", "dtypes float32", "sha256"):
        assert said in text
    assert "hidden_size 128, num_heads 4, num_dual_blocks 2, num_single_blocks 4" in text


def test_inspect_fast_reads_no_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = random_state(VAE)
    state["quant_conv.bias"][:2] = torch.tensor([float("nan"), float("inf")])
    save_file(state, tmp_path / "x.safetensors")
    facts = _inspected(tmp_path / "x.safetensors", capsys, "--fast")
    assert "sha256" not in facts and "weights_sha256" not in facts
    facts = _inspected(tmp_path / "x.safetensors", capsys, "--values")
    assert facts["not_finite"] == {"quant_conv.bias": {"nan": 1, "infinite": 1}}


def test_inspect_of_a_file_that_does_not_load_says_why_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = random_state(DIT)
    del state["time_in.mlp.2.bias"]
    save_file(state, tmp_path / "x.safetensors")
    assert main(["weights", "inspect", str(tmp_path / "x.safetensors"), "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["network"] == "dit" and "'time_in.mlp.2.bias' is missing" in facts["problem"]


def test_a_refusal_is_one_message_and_exit_code_2(original: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "convert", str(original), str(original.parent / "x"), "--to", "diffusers"]) == 2
    assert capsys.readouterr().err == (
        f"dailies weights: {original} holds several sets of weights: module, ema; choose one as the branch\n"
    )


def test_a_type_and_a_file_size_are_chosen(tmp_path: Path, original: Path) -> None:
    options = ["--branch", "ema", "--dtype", "bfloat16", "--shard-gb", "0.0001"]
    assert main(["weights", "convert", str(original), str(tmp_path / "x"), "--to", "diffusers", *options]) == 0
    assert len(list((tmp_path / "x").glob("*.safetensors"))) > 3
    config = json.loads((tmp_path / "x" / "config.json").read_text())
    assert config["_class_name"] == "HunyuanVideoTransformer3DModel" and config["image_condition_type"] is None
    expected = random_state(DIT, seed=1)
    loaded = load_dit(tmp_path / "x", dtype=torch.bfloat16).state_dict()
    assert all(torch.equal(loaded[name], tensor.bfloat16()) for name, tensor in expected.items())


def test_a_lora_is_recognised_and_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adapters = {"double_blocks.0.img_attn_qkv": Adapter(torch.randn(4, 64), torch.randn(192, 4), 0.5)}
    source, target = tmp_path / "lora.safetensors", tmp_path / "out.safetensors"
    save_file(lay_out(adapters, Layout.ORIGINAL), source)
    facts = _inspected(source, capsys)
    assert (facts["network"], facts["layout"], facts["ranks"], facts["scales"]) == ("lora", "original", [4], [0.5])
    assert main(["weights", "convert", str(source), str(target), "--to", "diffusers"]) == 0
    assert "LoRA of 1 modules, from the original to the diffusers layout" in capsys.readouterr().out
    expected = lay_out(adapters, Layout.DIFFUSERS)
    found = load_file(target)
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)
    assert main(["weights", "convert", str(source), str(tmp_path / "x"), "--to", "comfyui"]) == 2
    assert "a LoRA is one file" in capsys.readouterr().err


RUN = "0123abcd"
STAGES = [
    {"name": "vae", "objective": "vae", "shards": {"image": 1}, "steps": 2},
    {"name": "sft", "objective": "flow", "shards": {"image": 1}, "steps": 3},
    {"name": "later", "objective": "flow", "shards": {"image": 1}, "steps": 9},
]


@pytest.fixture
def trained(tmp_path: Path) -> Workspace:
    """A run whose first two stages are finished, as the trainer leaves it."""
    workspace = Workspace(str(tmp_path / "workspace"))
    workspace.write_bytes(b"", "WORKSPACE")
    facts = {"settings": {"stages": STAGES}, "text_encoder": "tiny"}
    workspace.write_bytes(json.dumps(facts).encode(), "checkpoints", RUN, "run.json")
    workspace.write_bytes(b"", "checkpoints", RUN, "metrics.jsonl")
    for stage, config, network in zip(STAGES, (VAE, DIT), ("vae", "dit"), strict=False):
        tensors = {"model": random_state(config, seed=5)}
        result = {"network": network, "config": asdict(config)}
        store = CheckpointStore(workspace, "checkpoints", RUN, str(stage["name"]))
        store.save(int(str(stage["steps"])), tensors, {"result": result}, True, random_state(config, seed=6))
    return workspace


def test_the_averaged_weights_of_a_run_are_exported(trained: Workspace, tmp_path: Path) -> None:
    export = ["weights", "export", "--workspace", str(tmp_path / "workspace")]
    assert main([*export, str(tmp_path / "dit.safetensors"), "--to", "comfyui"]) == 0
    assert main([*export, str(tmp_path / "vae"), "--to", "diffusers", "--stage", "vae", "--run", RUN]) == 0
    dit, vae = load_dit(tmp_path / "dit.safetensors"), load_vae(tmp_path / "vae")
    for network, config in ((dit, DIT), (vae, VAE)):
        assert network.config == config
        expected = random_state(config, seed=6)
        assert all(torch.equal(tensor, expected[name]) for name, tensor in network.state_dict().items())


def test_the_updates_of_a_lora_stage_are_exported_alone_in_every_layout(
    trained: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = Adapter(torch.randn(2, 64), torch.randn(64, 2), scale=2.0)
    store = CheckpointStore(trained, "checkpoints", RUN, "sft")
    module = "double_blocks.0.img_attn_proj"
    tensors = {
        "lora": {f"{module}.lora_A.weight": adapter.down, f"{module}.lora_B.weight": adapter.up},
    }
    export = ["weights", "export", "--workspace", str(tmp_path / "workspace"), "--lora"]
    assert main([*export, str(tmp_path / "x.safetensors"), "--to", "original"]) == 2
    assert "stage 'sft' learned whole weights, not a LoRA" in capsys.readouterr().err
    settings = {"rank": 2, "alpha": 4.0, "targets": "x"}
    result = {"network": "dit", "config": asdict(DIT), "lora": settings}
    store.save(3, tensors, {"result": result}, wait=True, result=random_state(DIT, seed=6))
    for layout in Layout:
        path = tmp_path / f"{layout}.safetensors"
        assert main([*export, str(path), "--to", layout]) == 0
        found, read = read_lora(open_weights(path))
        assert found is layout
        assert torch.allclose(read[module].scale * read[module].up @ read[module].down, 2 * adapter.up @ adapter.down)


def test_a_stage_that_is_not_finished_or_a_run_that_is_not_there_is_refused(
    trained: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = ["weights", "export", "--workspace", str(tmp_path / "workspace"), str(tmp_path / "x"), "--to", "diffusers"]
    assert main([*export, "--stage", "later"]) == 2
    assert f"run {RUN} has no finished stage later; finished are: vae, sft" in capsys.readouterr().err
    assert main([*export, "--run", "nobody"]) == 2
    assert "there is no training run 'nobody'" in capsys.readouterr().err


def test_damaged_weights_of_a_run_are_not_exported(
    trained: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = trained.local_path("checkpoints", RUN, "sft", "step-000003", "average.safetensors")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    export = ["weights", "export", "--workspace", str(tmp_path / "workspace"), str(tmp_path / "x"), "--to", "diffusers"]
    assert main(export) == 2
    assert "sft/step-000003/average.safetensors is damaged: state.json says sha256" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_presets_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file(random_state(VAE_PRESETS["tiny"]), tmp_path / "x.safetensors")
    facts = _inspected(tmp_path / "x.safetensors", capsys, "--fast")
    assert facts["preset"] == "tiny" and facts["layout"] == "original, diffusers (one set of names)"
