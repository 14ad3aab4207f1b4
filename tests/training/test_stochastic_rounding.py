"""Rounding to 16 bits: right on average, between the neighbours, and a function of place and key alone."""

import torch

from training.stochastic_rounding import store


def stored(value: torch.Tensor, key: int) -> torch.Tensor:
    target = torch.empty(value.shape, dtype=torch.bfloat16)
    store(target, value, key)
    return target


def test_the_mean_is_the_value_and_every_result_a_neighbour():
    for value in (1.001, -3.14159, 2.5e-5):
        rounded = stored(torch.full((400, 500), value), key=1).double()
        below, above = sorted(set(rounded.unique().tolist()))
        assert below < value < above
        spread = (above - below) * (200_000**-0.5)
        assert abs(rounded.mean().item() - value) < 3 * spread


def test_neighbouring_elements_and_keys_get_unrelated_bits():
    half = torch.full((1000, 256), 1 + 2.0**-8)  # half way between two bfloat16 numbers
    ups = [stored(half, key) > 1 for key in range(4)] + [stored(half, 1 << shift) > 1 for shift in (20, 33, 47)]
    for one in range(len(ups)):
        assert abs(ups[one].float().mean().item() - 0.5) < 0.005
        assert abs((ups[one][:, 1:] == ups[one][:, :-1]).float().mean().item() - 0.5) < 0.005
        for other in range(one):
            assert abs((ups[one] == ups[other]).float().mean().item() - 0.5) < 0.005


def test_what_bfloat16_holds_stays_and_so_do_infinities_and_nan():
    held = torch.randn(64, 64).bfloat16().float()
    assert torch.equal(stored(held, key=3).float(), held)
    strange = torch.tensor([float("inf"), float("-inf"), float("nan"), 0.0])
    assert torch.equal(stored(strange, 5).float().nan_to_num(7), strange.nan_to_num(7))


def test_the_same_key_gives_the_same_bits_and_float32_is_copied():
    value = torch.randn(33, 17)
    assert torch.equal(stored(value, 9), stored(value, 9))
    assert not torch.equal(stored(value, 9), stored(value, 10))
    target = torch.empty(33, 17)
    store(target, value, 9)
    assert torch.equal(target, value)


def test_updates_below_the_precision_add_up():
    weight = torch.ones(4000, dtype=torch.bfloat16)
    for step in range(100):
        store(weight, weight.float() + 1e-4, step)
    assert abs(weight.float().mean().item() - 1.01) < 1e-3
    assert (torch.ones(1).bfloat16() + 1e-4).item() == 1.0
