"""Activations that travel: equal gradients, no weight among them, and nothing left behind. On a CPU, host to host."""

import gc
from weakref import ref

import pytest
import torch

from tests.training.parallel_worker import CONFIG, build
from training import activation_offload
from training.activation_checkpoint import Checkpointing, apply_checkpointing
from training.activation_offload import offload_activations


def _trips(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Address and bytes of every tensor that is sent from here on."""
    sent = []
    before = activation_offload._Trip.__init__

    def noted(self, tensor, stream):
        sent.append((tensor.data_ptr(), tensor.nbytes))
        before(self, tensor, stream)

    monkeypatch.setattr(activation_offload._Trip, "__init__", noted)
    return sent


@pytest.mark.parametrize("mode", Checkpointing)
@pytest.mark.parametrize("network", ["dit", "vae"])
def test_gradients_are_those_of_activations_that_stayed(network: str, mode: Checkpointing, monkeypatch) -> None:
    sent = _trips(monkeypatch)
    plain, loss = build(network)
    loss(plain, [1, 2]).backward()
    assert not sent
    model, loss = build(network)
    apply_checkpointing(model, mode)
    offload_activations(model, min_bytes=0)
    loss(model, [1, 2]).backward()
    assert sent
    for (name, weight), expected in zip(model.named_parameters(), plain.parameters(), strict=True):
        assert weight.grad is not None and expected.grad is not None
        assert torch.equal(weight.grad, expected.grad), name


def test_full_checkpointing_leaves_little_to_send_and_weights_never_travel(monkeypatch) -> None:
    sent, volume = _trips(monkeypatch), {}
    for mode in (Checkpointing.NONE, Checkpointing.FULL):
        sent.clear()
        model, loss = build("dit")
        apply_checkpointing(model, mode)
        offload_activations(model, min_bytes=0)
        loss(model, [1, 2])
        assert not {address for address, _ in sent} & {weight.data_ptr() for weight in model.parameters()}
        volume[mode] = sum(size for _, size in sent)
    assert 0 < volume[Checkpointing.FULL] < 0.2 * volume[Checkpointing.NONE]


def test_nothing_is_held_after_the_backward(monkeypatch) -> None:
    held = []
    before = activation_offload._Cargo.__init__

    def noted(self, *args):
        before(self, *args)
        held.append(ref(self))

    monkeypatch.setattr(activation_offload._Cargo, "__init__", noted)
    model, loss = build("dit")
    offload_activations(model, min_bytes=0)
    loss(model, [1, 2]).backward()
    gc.collect()
    assert len(held) == CONFIG.num_dual_blocks + CONFIG.num_single_blocks and not any(cargo() for cargo in held)


def test_small_tensors_stay_and_a_second_application_is_refused(monkeypatch) -> None:
    sent = _trips(monkeypatch)
    model, loss = build("dit")
    offload_activations(model, min_bytes=1 << 30)
    loss(model, [0]).backward()
    assert not sent
    with pytest.raises(ValueError, match="applied already"):
        offload_activations(model)
