"""Parts of whole tensors; of spread ones in `test_optim.py`, on two processes."""

import torch

from training.local_parts import local, offset_of, part_of, spread_like


def test_a_tensor_that_is_not_spread_is_its_own_part():
    tensor = torch.arange(12).view(3, 4)
    assert local(tensor) is tensor
    assert offset_of(tensor) == (0, 0)
    assert torch.equal(part_of(tensor * 2, tensor), tensor * 2)
    assert spread_like(tensor, tensor, (3, 4)) is tensor
