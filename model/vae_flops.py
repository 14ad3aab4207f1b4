"""How many floating-point operations the VAE needs, a multiplication and an addition as two.

Counted by walking the encoder and the decoder as they are built, with sizes alone:

    convolution   2 * cells out * channels in * channels out * taps     of an image only the taps in space: 9, not 27
    attention     4 * channels * cells^2 * (1 + 2 + ... + latent frames), each frame with itself and all before it

These are the operations of training. Norms and activations are left out, under 1 % of what `torch.utils.flop_counter`
counts is missing, and a test holds it there. Without gradients an upsampling convolves before it repeats, with 8 taps
instead of 27; tiles overlap and so need more: neither is counted, as useful work stays the same.

The `full` VAE (TFLOP per sample; a step of training is three forwards):

                             encoder   decoder   training   attention
    256 x 256 image            0.273     0.622       2.69       0.5 %
    256 x 256, 17 frames        10.3      19.5       89.6       0.2 %
    256 x 256, 65 frames        39.2      72.8        336       0.6 %
    720 x 1280, 129 frames     1,320     2,249     10,706        13 %
"""

from dataclasses import dataclass
from math import prod

from model.presets import VAEConfig
from model.vae_layers import Stride

Sizes = tuple[int, int, int]  # frames, height, width


@dataclass(frozen=True)
class VAEFlops:
    """Operations of one forward of one video; `attention` is the part of both that is attention."""

    encoder: int
    decoder: int
    attention: int

    @property
    def forward(self) -> int:
        """Encode and decode."""
        return self.encoder + self.decoder

    @property
    def training(self) -> int:
        """Forward and backward of both."""
        return 3 * self.forward


def count_vae_flops(config: VAEConfig, sizes: Sizes) -> VAEFlops:
    """Operations of a video of 4n + 1 frames, sides multiples of 8 px; its sizes are (frames, height, width)."""
    latent, channels, strides = 2 * config.latent_channels, config.block_out_channels, config.strides
    encoder = _convolution(sizes, config.in_channels, channels[0])
    size = sizes
    for number, width in enumerate(channels):
        encoder += _residuals(size, channels[max(number - 1, 0)], width, config.num_layers)
        if number < len(strides):
            size = _shrunk(size, strides[number])
            encoder += _convolution(size, width, width)
    middle, attention = _middle(size, channels[-1])
    encoder += middle + _convolution(size, channels[-1], latent) + _linear(size, latent, latent)

    widths = channels[::-1]
    decoder = _linear(size, latent // 2, latent // 2) + _convolution(size, latent // 2, widths[0]) + middle
    for number, width in enumerate(widths):
        decoder += _residuals(size, widths[max(number - 1, 0)], width, config.num_layers + 1)
        if number < len(strides):
            size = _grown(size, strides[number])
            decoder += _convolution(size, width, width)
    return VAEFlops(encoder, decoder + _convolution(size, widths[-1], config.in_channels), 2 * attention)


def _convolution(out: Sizes, inputs: int, outputs: int) -> int:
    """Three taps along every axis; those in time are one where there is but one frame."""
    return 2 * prod(out) * inputs * outputs * (9 if out[0] == 1 else 27)


def _linear(size: Sizes, inputs: int, outputs: int) -> int:
    return 2 * prod(size) * inputs * outputs


def _residuals(size: Sizes, inputs: int, width: int, number: int) -> int:
    """So many residual blocks in a row, the first of which changes the channels."""
    change = _linear(size, inputs, width) if inputs != width else 0
    return change + _convolution(size, inputs, width) + (2 * number - 1) * _convolution(size, width, width)


def _middle(size: Sizes, width: int) -> tuple[int, int]:
    """Two residual blocks around attention; and what of it are the products of attention."""
    num_frames, cells = size[0], size[1] * size[2]
    attention = 4 * width * cells**2 * (num_frames * (num_frames + 1) // 2)
    return _residuals(size, width, width, 2) + 4 * _linear(size, width, width) + attention, attention


def _shrunk(size: Sizes, stride: Stride) -> Sizes:
    return (size[0] - 1) // stride[0] + 1, size[1] // stride[1], size[2] // stride[2]


def _grown(size: Sizes, factor: Stride) -> Sizes:
    return (size[0] - 1) * factor[0] + 1, size[1] * factor[1], size[2] * factor[2]
