"""Values and gradients of loss networks, taken early and in pieces, against autograd's own."""

import pytest
import torch
from torch import Tensor, nn

from model.early_gradient import early_gradient


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 1)).double()


def rows(count: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(count, 2, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    return x.requires_grad_(), y, torch.rand(count, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("at_once", [1, 2, 5, 100])
def test_values_and_gradients_are_autograd_s_whatever_the_pieces(network: nn.Module, at_once: int) -> None:
    x, y, factor = rows()

    def value(x: Tensor, y: Tensor) -> Tensor:
        return (network(x) - network(y)).square().flatten(1).sum(dim=1)

    early = early_gradient(value, x, y, at_once=at_once)
    (taken,) = torch.autograd.grad((early * factor).sum(), x)
    (expected,) = torch.autograd.grad((value(x, y) * factor).sum(), x)
    torch.testing.assert_close(early, value(x, y))
    torch.testing.assert_close(taken, expected)


def test_the_weights_of_the_loss_get_no_gradient_and_those_before_it_do(network: nn.Module) -> None:
    x, _, _ = rows()
    before = nn.Linear(6, 6).double()
    early_gradient(lambda x: network(x).flatten(1).sum(dim=1), before(x), at_once=2).sum().backward()
    assert all(weight.grad is None for weight in network.parameters())
    assert before.weight.grad is not None and x.grad is not None


def test_nothing_of_the_network_is_kept_until_the_backward(network: nn.Module) -> None:
    x, y, _ = rows()
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        early = early_gradient(lambda x, y: (network(x) - network(y)).flatten(1).sum(dim=1), x, y, at_once=2)
        inside = [tensor for tensor in kept if tensor.shape[0] != len(x)]
    assert early.requires_grad
    assert early.grad_fn is not None and [saved.shape for saved in early.grad_fn.saved_tensors] == [x.shape]  # type: ignore[attr-defined]
    assert inside  # the hooks did see the pieces, which are gone by now


def test_without_gradients_there_is_only_the_value(network: nn.Module) -> None:
    x, _, _ = rows()
    with torch.no_grad():
        value = early_gradient(lambda x: network(x).flatten(1).sum(dim=1), x, at_once=2)
    assert not value.requires_grad
    torch.testing.assert_close(value, network(x).flatten(1).sum(dim=1))
