"""Facts about weights: one digest for one network, whatever file it lies in."""

import hashlib
from pathlib import Path

import torch
from safetensors.torch import save_file

from model.conversion import Target, convert
from model.keys import Layout
from model.weight_facts import describe, file_digest, not_finite, weights_digest
from model.weight_files import open_weights
from model.weights import identify
from tests.model.weight_samples import DIT, random_state


def test_the_digest_of_the_weights_does_not_depend_on_the_file(tmp_path: Path) -> None:
    save_file(random_state(DIT), tmp_path / "x.safetensors")
    weights = identify(open_weights(tmp_path / "x.safetensors"))
    convert(weights, Target(tmp_path / "y", Layout.DIFFUSERS, shard_bytes=200_000))
    expected = weights_digest(weights)
    assert weights_digest(identify(open_weights(tmp_path / "y"))) == expected
    state = random_state(DIT)
    state["final_layer.linear.bias"][0] += 1e-3
    save_file(state, tmp_path / "z.safetensors")
    assert weights_digest(identify(open_weights(tmp_path / "z.safetensors"))) != expected


def test_the_digest_of_a_file_is_the_usual_one(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc" * 1000)
    assert file_digest(tmp_path / "x") == hashlib.sha256(b"abc" * 1000).hexdigest()


def test_values_that_are_no_numbers_are_counted_in_every_type(tmp_path: Path) -> None:
    nan = torch.tensor([float("nan"), 1.0, float("nan")])
    tensors = {str(dtype): nan.to(dtype) for dtype in (torch.float8_e4m3fn, torch.bfloat16, torch.float64)}
    save_file({**tensors, "whole": torch.arange(3), "fine": torch.ones(3)}, tmp_path / "x.safetensors")
    counts = not_finite(open_weights(tmp_path / "x.safetensors"))
    assert counts == {name: {"nan": 2, "infinite": 0} for name in tensors}


def test_unknown_weights_are_described_as_far_as_they_go(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(3, 4), "b": torch.zeros(2).bfloat16()}, tmp_path / "x.safetensors")
    facts = describe(open_weights(tmp_path / "x.safetensors"), digests=False)
    assert facts["parameters"] == 14 and facts["bytes"] == 52 and facts["dtypes"] == {"float32": 1, "bfloat16": 1}
    assert "holds no weights of HunyuanVideo" in facts["problem"] and "network" not in facts
