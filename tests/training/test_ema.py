"""Averaged weights."""

import pytest
import torch
from torch import nn

from training.ema import WeightAverage


def test_the_average_follows_its_formula():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    average = WeightAverage(model, decay=0.5)
    expected = 1.0
    for update, value in enumerate([2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0, 19.0, 23.0, 29.0]):
        nn.init.constant_(model.weight, value)
        average.update(update)
        decay = min(0.5, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * value
    assert average.average["weight"].item() == pytest.approx(expected)


def test_the_average_is_in_place_only_within_the_block_even_if_it_fails():
    model = nn.Linear(2, 2)
    average = WeightAverage(model, decay=0.9)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    nn.init.zeros_(model.weight)
    with pytest.raises(RuntimeError), average.in_place():
        assert torch.equal(model.weight, before["weight"])
        raise RuntimeError
    assert not model.weight.any()


def test_a_loaded_average_continues():
    model = nn.Linear(2, 2)
    first, second = WeightAverage(model, 0.9), WeightAverage(nn.Linear(2, 2), 0.9)
    nn.init.ones_(model.weight)
    first.update(0)
    second.load(first.average)
    assert all(torch.equal(second.average[name], first.average[name]) for name in first.average)
    with pytest.raises(KeyError):
        second.load({})
