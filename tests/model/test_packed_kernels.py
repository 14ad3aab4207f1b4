"""Blocks of FlexAttention follow from the lengths of samples alone. (What the kernels compute: test_attention.py.)"""

import pytest
import torch

from model.packed_kernels import FLEX_BLOCK, block_mask
from tests.model.test_attention import CPU, same_sample


@pytest.mark.parametrize("lengths", [[1], [128], [300], [128, 128, 256], [5, 300, 1, 130, 64, 64]])
def test_blocks_are_visited_where_samples_meet_and_whole_where_nothing_is_masked(lengths: list[int]) -> None:
    mask = block_mask(tuple(lengths), CPU)
    allowed = same_sample(lengths)
    num_blocks = -(-len(allowed) // FLEX_BLOCK)
    padded = torch.zeros(num_blocks * FLEX_BLOCK, num_blocks * FLEX_BLOCK, dtype=torch.bool)
    padded[: len(allowed), : len(allowed)] = allowed
    tiles = padded.unflatten(1, (num_blocks, FLEX_BLOCK)).unflatten(0, (num_blocks, FLEX_BLOCK))
    any_QK, all_QK = tiles.any(dim=3).any(dim=1), tiles.all(dim=3).all(dim=1)
    assert mask.full_kv_num_blocks is not None and mask.full_kv_indices is not None
    partly, fully = (
        [sorted(row[:count].tolist()) for row, count in zip(indices[0, 0], counts[0, 0].tolist(), strict=True)]
        for indices, counts in (
            (mask.kv_indices, mask.kv_num_blocks),
            (mask.full_kv_indices, mask.full_kv_num_blocks),
        )
    )
    assert fully == [row.nonzero().flatten().tolist() for row in all_QK]
    assert partly == [row.nonzero().flatten().tolist() for row in any_QK & ~all_QK]
