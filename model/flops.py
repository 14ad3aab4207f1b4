"""How many floating-point operations the transformer needs: the numerator of every utilisation figure.

Counted from the configuration and the lengths of the samples, layer by layer, a multiplication and an addition as two:

    linear     2 * tokens * inputs * outputs     of every projection, embedder, modulation and the refiner
    attention  4 * length^2 * width              of every sample in every block: no product across samples

Norms, activations and rotations are left out, as is the convention (PaLM, arXiv 2204.02311, appendix B): under 1 % of
what `torch.utils.flop_counter` counts is missing, and a test holds it there. A step of training is three forwards, and
one more forward of the blocks where they are recomputed as a whole.

At full size, with 256 text tokens (PFLOP per sample; share of attention):

                         video tokens   forward   training   attention
    256 x 256 image               256    0.0073      0.022         3 %
    512 x 512 image             1,024    0.0187      0.056         6 %
    256 x 256, 65 frames        4,352    0.0784      0.235        20 %
    720 x 1280, 129 frames    118,800    12.07       36.2         87 %
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from model.layers import SINUSOID_CHANNELS
from model.presets import DiTConfig


@dataclass(frozen=True)
class DiTFlops:
    """Floating-point operations of one forward of a batch.

    `linear` and `attention` are those of the dual and single blocks; `around` are the embedders, the text refiner and
    the last layer.
    """

    linear: int
    attention: int
    around: int

    @property
    def forward(self) -> int:
        """Of one forward."""
        return self.linear + self.attention + self.around

    def training(self, recomputed: bool = False) -> int:
        """Of one forward and backward; `recomputed`: every block's forward runs a second time in the backward.

        Utilisation of the model (MFU) leaves `recomputed` false whatever is recomputed; that of the hardware (HFU)
        does not. A policy that keeps the results of all products recomputes none of them.
        """
        return 3 * self.forward + (self.linear + self.attention if recomputed else 0)


def count_flops(
    config: DiTConfig,
    video_tokens: Sequence[int],
    text_tokens: Sequence[int],
    clean_frames: Sequence[int] | None = None,
) -> DiTFlops:
    """Operations of one forward over a batch.

    video_tokens: per sample, T * H * W of the latent over the patch size. text_tokens: per sample, valid ones.
    clean_frames: per sample, 0 or 1, as in `VideoDiT.forward`; a clean frame has modulation vectors of its own.

    Raises ValueError if the samples of the three do not match.
    """
    clean = list(clean_frames) if clean_frames is not None else [0] * len(video_tokens)
    if not len(video_tokens) == len(text_tokens) == len(clean):
        raise ValueError(
            f"every sample has video tokens, text tokens and clean frames; got {len(video_tokens)}, "
            f"{len(text_tokens)} and {len(clean)} samples"
        )
    width, video, text, samples = config.hidden_size, sum(video_tokens), sum(text_tokens), len(clean)
    groups = samples + sum(map(bool, clean))
    per_token = _block_weights(config)  # a dual block has them twice, and each token meets one of the two
    num_blocks = config.num_dual_blocks + config.num_single_blocks
    modulation = config.num_dual_blocks * 6 * (groups + samples) + config.num_single_blocks * 3 * groups
    linear = 2 * (num_blocks * (video + text) * per_token + modulation * width**2)
    joint = zip(video_tokens, text_tokens, strict=True)
    attention = num_blocks * sum(4 * (seen + read) ** 2 * width for seen, read in joint)
    return DiTFlops(linear, attention, _around(config, video, text_tokens, any(clean)))


def _block_weights(config: DiTConfig) -> int:
    """Weights that one token meets in one block: query, key, value, output and MLP."""
    return (4 + 2 * config.mlp_ratio) * config.hidden_size**2


def _around(config: DiTConfig, video: int, text_tokens: Sequence[int], any_clean: bool) -> int:
    """Patches in and out, text in and refined, and the vectors of time, pooled text, mean text and guidance."""
    width, samples, text = config.hidden_size, len(text_tokens), sum(text_tokens)
    patch = config.latent_channels * prod(config.patch_size)
    scalar = SINUSOID_CHANNELS * width + width**2
    times = 2 * samples + any_clean + samples * config.guidance  # the network's, the refiner's, and t = 0 once
    weights = 2 * video * patch * width + text * config.text_width * width + times * scalar
    weights += samples * ((config.pooled_width + config.text_width) * width + 2 * width**2)
    weights += samples * 2 * width**2  # last layer's modulation
    weights += config.num_refiner_blocks * (text * _block_weights(config) + samples * 2 * width**2)
    return 2 * weights + config.num_refiner_blocks * sum(4 * length**2 * width for length in text_tokens)
