"""Rates, clipping, and moments that survive a save."""

import pytest
import torch
from torch import nn
from torch.optim import AdamW

from tests.training.optim_worker import CASES, launch
from training.adamw8bit import AdamW8bit
from training.muon import Muon
from training.optim import (
    apply_step,
    build_critic_optimizers,
    build_optimizers,
    learning_rate,
    load_optimizer_tensors,
    optimizer_tensors,
)
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


def test_a_peak_of_its_own_takes_the_same_course():
    assert learning_rate(STAGE, 55, peak=0.02) == pytest.approx(0.02 * learning_rate(STAGE, 55))


def network(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 80), nn.GELU(), nn.Linear(80, 60), nn.Linear(60, 2)).to(dtype)


def one_step(model: nn.Module, optimizer: list[torch.optim.Optimizer], step: int) -> torch.Tensor:
    torch.manual_seed(step)
    model(torch.randn(4, 3).to(next(model.parameters()).dtype)).square().sum().backward()
    return apply_step(optimizer, model, STAGE, step)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["adamw", "adamw8bit", "muon"])
def test_restored_moments_give_the_same_bits(name: str, dtype: torch.dtype):
    stage = STAGE.model_copy(update={"optimizer": name})
    straight = network(dtype)
    optimizer = build_optimizers(straight, stage)
    for step in range(3):
        one_step(straight, optimizer, step)
    resumed = network(dtype)
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


def kinds(model: nn.Module, name: str) -> list[type]:
    stage = STAGE.model_copy(update={"optimizer": name})
    return [type(optimizer) for optimizer in build_optimizers(model, stage)]


def test_every_weight_has_the_optimizer_of_its_kind():
    assert kinds(network(), "adamw") == [AdamW]
    assert kinds(network(torch.bfloat16), "adamw") == [AdamW8bit]
    assert kinds(network(), "adamw8bit") == [AdamW8bit]
    assert kinds(network(), "muon") == [Muon, AdamW]
    assert kinds(network(torch.bfloat16), "muon") == [Muon, AdamW8bit]


def test_bfloat16_weights_have_float32_moments_unless_8_bits_are_asked_for():
    dtypes = {}
    for name in ("adamw", "adamw8bit"):
        model = network(torch.bfloat16)
        optimizers = build_optimizers(model, STAGE.model_copy(update={"optimizer": name}))
        dtypes[name] = {key: tensor.dtype for key, tensor in optimizer_tensors(optimizers, model).items()}
    assert dtypes["adamw"]["2.weight/exp_avg"] is torch.float32
    assert dtypes["adamw8bit"]["2.weight/exp_avg"] is torch.uint8
    assert dtypes["adamw8bit"]["2.bias/exp_avg"] is torch.float32


def test_frozen_weights_have_no_state_and_do_not_move():
    model = network()
    model[0].requires_grad_(False)  # pyright: ignore[reportIndexIssue]
    before = model[0].weight.clone()  # pyright: ignore[reportIndexIssue]
    optimizers = build_optimizers(model, STAGE)
    one_step(model, optimizers, 0)
    assert torch.equal(model[0].weight, before)  # pyright: ignore[reportIndexIssue]
    assert not any(name.startswith("0.") for name in optimizer_tensors(optimizers, model))


def test_the_state_is_whole_before_the_first_step_and_changes_nothing():
    asked, unasked = network(), network()
    optimizers = [build_optimizers(model, STAGE) for model in (asked, unasked)]
    assert set(optimizer_tensors(optimizers[0], asked)) == {
        f"{name}/{key}" for name, _ in asked.named_parameters() for key in ("step", "exp_avg", "exp_avg_sq")
    }
    for model, each in zip((asked, unasked), optimizers, strict=True):
        one_step(model, each, 0)
    assert all(torch.equal(a, b) for a, b in zip(asked.parameters(), unasked.parameters(), strict=True))


def test_a_critic_learns_at_its_own_rate():
    stage = STAGE.model_copy(update={"critic_learning_rate": 1e-3, "learning_rate": 0.0, "warmup_steps": 0})
    critic = network()
    before = critic[3].bias.clone()  # pyright: ignore[reportIndexIssue]
    critic(torch.ones(1, 3)).sum().backward()
    apply_step(build_critic_optimizers(critic, stage), critic, stage, 0, peak=stage.critic_learning_rate)
    moved = critic[3].bias - before  # pyright: ignore[reportIndexIssue]
    torch.testing.assert_close(moved, torch.full((2,), -1e-3), rtol=1e-3, atol=0)


@pytest.fixture(scope="module")
def spread(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, list[str]]]]:
    return launch(tmp_path_factory.mktemp("processes"))


@pytest.mark.slow
@pytest.mark.parametrize("case", [f"{name} {dtype}" for name, dtype in CASES])
def test_spread_weights_learn_the_same_bits_and_continue_elsewhere(
    spread: list[dict[str, dict[str, list[str]]]], case: str
):
    for rank in spread:
        assert rank[case] == {"trained": [], "continued": []}
