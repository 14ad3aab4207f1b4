"""The VAE's meter against torch's own counter, which watches every product of a real forward and backward."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from model.presets import VAE_PRESETS, VAEConfig
from model.vae import CausalVideoVAE
from model.vae_flops import count_vae_flops

OTHER = VAEConfig(block_out_channels=(8, 16, 16, 32), num_layers=2, num_groups=4)


@pytest.mark.parametrize("config", [VAE_PRESETS["tiny"], OTHER], ids=["tiny", "other"])
@pytest.mark.parametrize("sizes", [(1, 64, 48), (5, 16, 32), (9, 32, 16)], ids=str)
def test_the_meter_agrees_with_torch_within_one_percent(config: VAEConfig, sizes: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    vae = CausalVideoVAE(config)
    # A video that asks for gradients makes the first layer's backward twice its forward, like that of all others.
    video = torch.rand(1, 3, *sizes, requires_grad=True)
    with sdpa_kernel(SDPBackend.MATH):  # on a CPU, torch counts attention in its plain form only
        with FlopCounterMode(display=False) as encoding:
            posterior = vae.encode(video)
        with FlopCounterMode(display=False) as decoding:
            decoded = vae.decode(posterior.mode())
        with FlopCounterMode(display=False) as backward:
            (decoded.sum() + posterior.kl().sum()).backward()
    flops = count_vae_flops(config, sizes)
    assert flops.encoder == pytest.approx(encoding.get_total_flops(), rel=0.01)
    assert flops.decoder == pytest.approx(decoding.get_total_flops(), rel=0.01)
    measured = sum(counter.get_total_flops() for counter in (encoding, decoding, backward))
    assert flops.training == pytest.approx(measured, rel=0.01)


def test_attention_grows_with_the_square_of_the_cells() -> None:
    config = VAE_PRESETS["full"]
    small, large = (count_vae_flops(config, (17, side, side)) for side in (128, 256))
    assert large.attention == 16 * small.attention
    assert large.forward - large.attention == 4 * (small.forward - small.attention)


@pytest.mark.parametrize(
    ("sizes", "encoder_tflop", "decoder_tflop"), [((1, 256, 256), 0.273, 0.622), ((17, 256, 256), 10.35, 19.52)]
)
def test_the_figures_of_the_full_vae(sizes: tuple[int, int, int], encoder_tflop: float, decoder_tflop: float) -> None:
    flops = count_vae_flops(VAE_PRESETS["full"], sizes)
    assert (flops.encoder / 1e12, flops.decoder / 1e12) == pytest.approx((encoder_tflop, decoder_tflop), rel=0.01)
