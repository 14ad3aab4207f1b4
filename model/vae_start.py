"""New weights of the video VAE that pass a small picture through from the first step.

    video --RGB and -RGB, halved by averages--> latents 0 .. 5 --repeated--> video             + torch's random weights,
            time: the newest frame of each four                                                  made small

With torch's weights alone the network first learns to draw the median of every pixel, then something still: on the toy
set its latents did not change over time after 1,050 steps, 5 CPU minutes. Begun like this, colour and direction of all
clips came through after 25 CPU seconds (training/LOG.md). Nothing is fixed: all of it is weights, and learns.

A channel and its negative make the nonlinearity before the last convolution harmless, for SiLU(x) - SiLU(-x) = x. One
channel of ones gives the norms something to measure brightness by. Residual branches begin small (as in arXiv
1901.09321), so that depth does not matter; the rest of the channels carry random features of the same small size.
"""

import torch
from torch import Tensor, nn

from model.vae import CausalVideoVAE
from model.vae_layers import CausalConv3d, Downsample, FrameCausalAttention, ResnetBlock, Upsample

RANDOM_SHARE = 0.15  # of torch's weights, where a path leads through; 0.3 was slower, 0.5 with twice the rate failed
BRANCH_SHARE = 0.1
NORM_OUT = 0.4  # brings the picture to about its own contrast after the decoder's last norm
INITIAL_LOGVAR = -6.0  # at 0, the latents of the first steps are mostly noise

Pairs = list[tuple[int, int, float]]  # (to, from, weight) of channels


@torch.no_grad()
def begin_with_small_pictures(vae: CausalVideoVAE) -> None:
    """Lay the path through weights that torch has drawn, in place."""
    latent, colours = vae.config.latent_channels, vae.config.in_channels
    spread: Pairs = [(c, c, 1.0) for c in range(colours)] + [(c + colours, c, -1.0) for c in range(colours)]
    join: Pairs = [(c, c, 1.0) for c in range(colours)] + [(c, c + colours, -1.0) for c in range(colours)]
    for module in vae.modules():
        if isinstance(module, ResnetBlock):
            module.conv2.conv.weight.mul_(BRANCH_SHARE)
            if module.conv_shortcut is not None:
                _lead(module.conv_shortcut.conv, _same(module.conv_shortcut.conv))
        elif isinstance(module, FrameCausalAttention):
            module.to_out.get_parameter("0.weight").mul_(BRANCH_SHARE)
        elif isinstance(module, Downsample):
            _lead(module.conv.conv, _same(module.conv.conv), halve=True)
        elif isinstance(module, Upsample):
            _lead(module.conv.conv, _same(module.conv.conv))
    for half in (vae.encoder, vae.decoder):
        _lead(half.conv_in.conv, spread)
        _lead(half.conv_out.conv, join)
        _ones(half.conv_in, 2 * colours)
    _lead(vae.quant_conv, _same(vae.quant_conv))
    _lead(vae.post_quant_conv, _same(vae.post_quant_conv))
    vae.decoder.conv_norm_out.weight.fill_(NORM_OUT)
    _bias(vae.quant_conv)[latent:] += INITIAL_LOGVAR


def _same(conv: nn.Conv3d) -> Pairs:
    return [(c, c, 1.0) for c in range(min(conv.in_channels, conv.out_channels))]


def _lead(conv: nn.Conv3d, pairs: Pairs, halve: bool = False) -> None:
    """Add to the newest tap what leads from channel to channel, in the middle or over the next two by two pixels."""
    weight, side = conv.weight.mul_(RANDOM_SHARE), conv.kernel_size[1]
    for to, origin, share in pairs:
        if to < conv.out_channels and origin < conv.in_channels:
            if halve:
                weight[to, origin, -1, side // 2 :, side // 2 :] += share / 4
            else:
                weight[to, origin, -1, side // 2, side // 2] += share


def _ones(conv: CausalConv3d, channel: int) -> None:
    if channel < conv.conv.out_channels:
        _bias(conv.conv)[channel] += 1.0


def _bias(conv: nn.Conv3d) -> Tensor:
    assert conv.bias is not None
    return conv.bias
