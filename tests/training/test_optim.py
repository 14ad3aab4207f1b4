"""Rates, clipping, and moments that survive a save."""

import pytest
import torch
from torch import nn

from training.optim import apply_step, build_optimizers, learning_rate, load_optimizer_tensors, optimizer_tensors
from training.stages import StageSettings

STAGE = StageSettings(name="a", shards={"image": 1}, steps=100, warmup_steps=9, learning_rate=1.0, final_rate_share=0.1)


def test_the_rate_rises_then_falls_to_its_final_share():
    rates = [learning_rate(STAGE, step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == 1.0
    assert rates[100] == pytest.approx(0.1)
    assert rates == sorted(rates[:10]) + sorted(rates[10:], reverse=True)


def test_without_decay_the_rate_stays():
    flat = STAGE.model_copy(update={"final_rate_share": 1.0})
    assert {learning_rate(flat, step) for step in range(9, 200)} == {1.0}


def one_step(model: nn.Module, optimizer: list[torch.optim.Optimizer], step: int) -> torch.Tensor:
    torch.manual_seed(step)
    model(torch.randn(4, 3)).square().sum().backward()
    return apply_step(optimizer, model, STAGE, step)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_restored_moments_give_the_same_bits(name):
    stage = STAGE.model_copy(update={"optimizer": name})
    torch.manual_seed(0)
    straight = nn.Sequential(nn.Linear(3, 8), nn.GELU(), nn.Linear(8, 2))
    optimizer = build_optimizers(straight, stage)
    for step in range(3):
        one_step(straight, optimizer, step)
    resumed = nn.Sequential(nn.Linear(3, 8), nn.GELU(), nn.Linear(8, 2))
    resumed.load_state_dict(straight.state_dict())
    other = build_optimizers(resumed, stage)
    load_optimizer_tensors(other, resumed, {k: v.clone() for k, v in optimizer_tensors(optimizer, straight).items()})
    for step in range(3, 6):
        one_step(straight, optimizer, step)
        one_step(resumed, other, step)
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), resumed.parameters(), strict=True))


def test_moments_of_another_network_are_refused():
    model = nn.Linear(3, 2)
    with pytest.raises(KeyError, match="nowhere"):
        load_optimizer_tensors(build_optimizers(model, STAGE), model, {"nowhere/exp_avg": torch.zeros(1)})


def test_the_norm_is_reported_before_clipping():
    model = nn.Linear(3, 1, bias=False)
    model(torch.full((1, 3), 1000.0)).sum().backward()
    optimizer = build_optimizers(model, STAGE)
    assert apply_step(optimizer, model, STAGE, 0).item() == pytest.approx(1000 * 3**0.5, rel=1e-5)
    assert model.weight.grad is None
