"""What is computed again, what is kept, and that gradients do not notice."""

from collections import Counter

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from model.dit import VideoDiT
from model.presets import DIT_PRESETS
from tests.model.seeded import inputs, randomised
from training.activation_checkpoint import Checkpointing, apply_checkpointing

TINY = DIT_PRESETS["tiny"]
ATTENTION = "_scaled_dot_product_flash_attention_for_cpu"


class Calls(TorchDispatchMode):
    """Counts the operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.counts[func._opname] += 1
        return func(*args, **(kwargs or {}))


def _step(mode: Checkpointing) -> tuple[VideoDiT, Counter[str], int]:
    """A network after one backward, the operators that ran, and the bytes kept between forward and backward."""
    model = randomised(TINY)
    apply_checkpointing(model, mode)
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with Calls() as calls:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            velocity = model(*inputs(TINY, [(1, 16, 16), (2, 8, 8)], [5, 9]))
        sum((each.square().mean() for each in velocity), torch.zeros(())).backward()
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    return model, calls.counts, sum(size for at, size in kept.items() if at not in weights)


@pytest.fixture(scope="module")
def steps() -> dict[Checkpointing, tuple[VideoDiT, Counter[str], int]]:
    return {mode: _step(mode) for mode in Checkpointing}


@pytest.mark.parametrize("mode", [Checkpointing.SELECTIVE, Checkpointing.FULL])
def test_gradients_and_names_are_what_they_were(mode: Checkpointing, steps) -> None:
    plain, model = steps[Checkpointing.NONE][0], steps[mode][0]
    assert list(model.state_dict()) == list(plain.state_dict())
    for (name, parameter), expected in zip(model.named_parameters(), plain.parameters(), strict=True):
        assert parameter.grad is not None and expected.grad is not None
        assert torch.equal(parameter.grad, expected.grad), name


def test_full_runs_every_block_twice_and_selective_no_product(steps) -> None:
    counts = {mode: step[1] for mode, step in steps.items()}
    plain, selective, full = (counts[mode] for mode in Checkpointing)
    blocks = TINY.num_dual_blocks + TINY.num_single_blocks
    # Two samples of unlike length: two calls a block. Ten products in a dual block (modulation, query-key-value, output
    # and the two of the MLP, for video and for text), three in a single one.
    assert full[ATTENTION] - plain[ATTENTION] == 2 * blocks
    assert full["addmm"] - plain["addmm"] == 10 * TINY.num_dual_blocks + 3 * TINY.num_single_blocks
    assert selective[ATTENTION] == plain[ATTENTION] and selective["addmm"] == plain["addmm"]
    assert selective["native_layer_norm"] > plain["native_layer_norm"]


def test_full_keeps_little_of_what_was_kept(steps) -> None:
    assert steps[Checkpointing.FULL][2] < 0.3 * steps[Checkpointing.NONE][2]


def test_a_second_application_is_refused() -> None:
    model = VideoDiT(TINY)
    apply_checkpointing(model, Checkpointing.NONE)
    apply_checkpointing(model, Checkpointing.SELECTIVE)
    with pytest.raises(ValueError, match="applied already"):
        apply_checkpointing(model, Checkpointing.FULL)
