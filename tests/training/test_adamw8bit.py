"""AdamW of 8-bit moments beside torch's AdamW, and its codes beside torchless arithmetic."""

import pytest
import torch
from torch import Tensor, nn
from torch.optim import AdamW

from training.adamw8bit import BLOCK, AdamW8bit, code_values, dequantise, quantise


@pytest.mark.parametrize("signed", [True, False])
def test_eight_bits_stand_for_256_numbers_over_seven_powers_of_ten(signed: bool):
    values = code_values(signed)
    assert len(set(values)) == 256
    assert values[-1] == 1 and 0.0 in values
    assert 1e-7 < min(value for value in values if value > 0) < 1e-6
    assert (min(values) < -0.99) == signed


@pytest.mark.parametrize("shape", [(3, 256), (5, 1000), (2, 40), (0, 300)])
def test_a_code_is_the_nearest_number_of_its_block(shape: tuple[int, int]):
    torch.manual_seed(0)
    values = torch.randn(shape) * torch.logspace(-4, 1, shape[1])
    codes, scale = quantise(values, signed=True)
    assert codes.shape == values.shape
    assert scale.shape == (shape[0], -(-shape[1] // BLOCK))
    found = dequantise(codes, scale, signed=True)
    numbers = torch.tensor(code_values(True))
    for row in range(shape[0]):
        for block in range(scale.shape[1]):
            part = slice(block * BLOCK, (block + 1) * BLOCK)
            assert scale[row, block] == values[row, part].abs().max()
            best = (values[row, part, None] - numbers * scale[row, block]).abs().amin(dim=1)
            torch.testing.assert_close((found[row, part] - values[row, part]).abs(), best, rtol=1e-4, atol=1e-9)


def test_the_variance_of_a_weight_beside_a_much_larger_one_never_becomes_zero():
    values = torch.tensor([[1.0, 1e-12, 0.0] + [0.5] * (BLOCK - 3)])
    found = dequantise(*quantise(values, signed=False), signed=False)
    assert found[0, 1] > 0
    assert found[0, 2] == 0


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int, first: int = 0) -> list[float]:
    losses = []
    for step in range(first, first + steps):
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(32, 64, generator=generator).to(next(model.parameters()).dtype)
        loss = (model(x).float() - x.float().roll(1, dims=1).tanh()).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def network(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 96), nn.GELU(), nn.Linear(96, 64)).to(dtype)


def test_without_quantised_moments_it_is_adamw():
    ours, theirs = network(), network()
    options = {"lr": 1e-3, "betas": (0.9, 0.99), "weight_decay": 0.1}
    train(ours, AdamW8bit(ours.parameters(), quantised_from=None, **options), 10)
    train(theirs, AdamW(theirs.parameters(), **options), 10)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-6)


def test_eight_bits_learn_as_well_as_thirty_two():
    ours, theirs = network(), network()
    found = train(ours, AdamW8bit(ours.parameters(), lr=3e-3), 150)
    expected = train(theirs, AdamW(theirs.parameters(), lr=3e-3, betas=(0.9, 0.99)), 150)
    assert sum(found[-10:]) < 1.05 * sum(expected[-10:]) < 0.3 * sum(expected[:10])


def test_sixteen_bit_weights_learn_where_rounding_to_the_nearest_stands_still():
    ours, nearest = network(torch.bfloat16), network(torch.bfloat16)
    found = train(ours, AdamW8bit(ours.parameters(), lr=3e-5), 80)
    expected = train(nearest, AdamW(nearest.parameters(), lr=3e-5, betas=(0.9, 0.99)), 80)
    exact = network()
    target = train(exact, AdamW(exact.parameters(), lr=3e-5, betas=(0.9, 0.99)), 80)
    assert abs(sum(found[-10:]) - sum(target[-10:])) < 0.2 * abs(sum(expected[-10:]) - sum(target[-10:]))


def test_moments_take_a_byte_and_vectors_stay_float32():
    model = network(torch.bfloat16)
    optimizer = AdamW8bit(model.parameters(), lr=1e-3)
    train(model, optimizer, 1)

    def stored_bytes(weight: Tensor) -> float:
        return sum(t.nbytes for t in optimizer.state[weight].values()) / weight.numel()

    matrix, vector = list(model.parameters())[2:]
    assert stored_bytes(matrix) == pytest.approx(2 + 8 / 96, abs=1e-3)
    assert stored_bytes(vector) == pytest.approx(8 + 4 / 64)
