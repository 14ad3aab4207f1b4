"""The meter against torch's own counter, which watches every product of a real forward and backward."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from model.dit import VideoDiT
from model.flops import count_flops
from model.presets import DIT_PRESETS, DiTConfig

WIDE = DiTConfig(
    hidden_size=96, num_heads=3, num_dual_blocks=1, num_single_blocks=2, rope_dims=(8, 12, 12), text_width=40
)
IMAGES = ([(1, 8, 8)] * 3, [7, 7, 7], None)
MIXED = ([(1, 8, 8), (3, 4, 6), (2, 8, 12)], [5, 30, 12], None)
FROM_IMAGE = ([(3, 4, 6), (3, 8, 8), (1, 6, 6)], [5, 9, 3], [1, 1, 0])
Batch = tuple[list[tuple[int, int, int]], list[int], list[int] | None]


def _tokens(sizes: list[tuple[int, int, int]]) -> list[int]:
    return [time * height // 2 * width // 2 for time, height, width in sizes]


@pytest.mark.parametrize("config", [DIT_PRESETS["tiny"], WIDE], ids=["tiny", "guided"])
@pytest.mark.parametrize("batch", [IMAGES, MIXED, FROM_IMAGE], ids=["images", "mixed", "from an image"])
def test_the_meter_agrees_with_torch_within_one_percent(config: DiTConfig, batch: Batch) -> None:
    sizes, lengths, clean = batch
    torch.manual_seed(0)
    model = VideoDiT(config)
    # Inputs that ask for gradients make the first layers' backward twice their forward, like that of all others.
    latents = [torch.randn(16, *size, requires_grad=True) for size in sizes]
    text = [torch.randn(length, config.text_width, requires_grad=True) for length in lengths]
    pooled = torch.randn(len(sizes), config.pooled_width, requires_grad=True)
    t = torch.rand(len(sizes)) * 1000
    # On a CPU, torch counts attention in its plain form only.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as forward:
        velocity = model(latents, t, text, pooled, t if config.guidance else None, clean)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as backward:
        torch.stack([each.sum() for each in velocity]).sum().backward()
    flops = count_flops(config, _tokens(sizes), lengths, clean)
    assert flops.forward == pytest.approx(forward.get_total_flops(), rel=0.01)
    assert flops.training() == pytest.approx(forward.get_total_flops() + backward.get_total_flops(), rel=0.01)


def test_recomputing_adds_a_forward_of_the_blocks() -> None:
    flops = count_flops(DIT_PRESETS["tiny"], [64], [8])
    assert flops.training(recomputed=True) - flops.training() == flops.forward - flops.around


def test_samples_in_one_row_cost_what_they_cost_alone() -> None:
    config = DIT_PRESETS["tiny"]
    apart = [count_flops(config, [tokens], [8]).forward for tokens in (64, 256)]
    assert count_flops(config, [64, 256], [8, 8]).forward == sum(apart)


@pytest.mark.parametrize(("video", "forward_pflop"), [(256, 0.00728), (1024, 0.0187), (4352, 0.0784), (118_800, 12.07)])
def test_the_figures_of_the_full_network(video: int, forward_pflop: float) -> None:
    assert count_flops(DIT_PRESETS["full"], [video], [256]).forward / 1e15 == pytest.approx(forward_pflop, rel=0.01)


def test_samples_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="got 2, 1 and 2 samples"):
        count_flops(DIT_PRESETS["tiny"], [64, 64], [8])
