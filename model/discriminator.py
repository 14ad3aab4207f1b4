"""The critic of the VAE's adversarial loss: scores patches of a video by whether they look filmed or decoded.

    video -> conv, 2x -> conv, 2x -> conv, 2x -> conv -> conv -> score per patch        (strides in time: 1, 2, 2, 1, 1)
             width       2 width     4 width     8 width  1      a patch sees 70 x 70 px of 25 frames

PatchGAN (arXiv 1611.07004, s3.2.2) with kernels of 3 x 4 x 4, as a video needs to look filmed in motion too. Not
causal: a score looks at frames on both sides. Beyond the border, in space and time, the outermost pixels and frames
repeat, so **an image scores exactly as a video that stands still**, and one critic serves both without a special case.

GroupNorm in place of the original's BatchNorm, on the same three inner layers: a sample's score must not depend on what
else is in its batch, which changes with the number of processes, and images and videos have statistics of their own.
Without any norm, scores grow without bound as the critic trains, and the VAE's adversarial gradient, whose weight is
fixed, with them.

Losses are the hinge's (arXiv 1705.02894, eq. 4 and 5; with the same critic in 2012.09841, the VQGAN):

    critic       1/2 (max(0, 1 - score(filmed)) + max(0, 1 + score(decoded)))      0 when sure, 1 when it cannot tell
    adversarial  -score(decoded)                                                   what the VAE minimises

Legend: B batch, C channels, T H W frames and pixels, or patches.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.presets import VAEConfig

MAX_WIDTH = 64
LEAK = 0.2
INITIAL_DEVIATION = 0.02
PATCH_PX = 8  # between the middles of two patches


@dataclass(frozen=True)
class CriticConfig:
    """Channels of the first layer, doubled three times, and the groups of the norms.

    16: 525,233 parameters, beside the `tiny` VAE; 64, PatchGAN's own: 8,294,081, beside the `full` one.
    """

    width: int = MAX_WIDTH
    num_groups: int = 8


def critic_config(vae: VAEConfig) -> CriticConfig:
    """As wide as the VAE is at its pixels, in eights, from 8 to 64."""
    return CriticConfig(max(min(vae.block_out_channels[0], MAX_WIDTH) // 8 * 8, 8))


class PatchCritic(nn.Module):
    """Scores of a video's patches; see the top of the file."""

    def __init__(self, config: CriticConfig) -> None:
        super().__init__()
        self.config = config
        channels = [3, *(config.width << number for number in range(4)), 1]
        strides = [(1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 1, 1), (1, 1, 1)]
        self.convolutions = nn.ModuleList(
            nn.Conv3d(channels[i], channels[i + 1], (3, 4, 4), stride) for i, stride in enumerate(strides)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(config.num_groups, width) for width in channels[2:5])

    def forward(self, video_BCTHW: Tensor) -> Tensor:
        """[B, 3, T, H, W] in [-1, 1] to scores [B, ceil(ceil(T / 2) / 2), H / 8, W / 8].

        Raises ValueError for what is no colour video with sides that are multiples of 8 px.
        """
        shape = list(video_BCTHW.shape)
        if len(shape) != 5 or shape[1] != 3 or not video_BCTHW.numel() or shape[3] % PATCH_PX or shape[4] % PATCH_PX:
            raise ValueError(
                f"the critic scores videos [B, 3, T, H, W] with sides that are multiples of {PATCH_PX} px, got {shape}"
            )
        norms = [None, *self.norms]
        x = video_BCTHW
        for number, layer in enumerate(self.convolutions[:-1]):
            norm = norms[number]
            x = _convolve(x, layer)
            x = F.leaky_relu(x if norm is None else norm(x), LEAK)
        return _convolve(x, self.convolutions[-1])[:, 0]


def _convolve(x_BCTHW: Tensor, layer: nn.Module) -> Tensor:
    """Borders repeated so far that sides shrink by the stride alone; of an even kernel's, one more behind."""
    assert isinstance(layer, nn.Conv3d)
    behind = layer.kernel_size[2] - layer.stride[2] - 1
    return layer(F.pad(x_BCTHW, (1, behind, 1, behind, 1, 1), mode="replicate"))


def build_critic(config: CriticConfig, seed: int) -> PatchCritic:
    """A critic with new weights that follow from the seed: normal with deviation 0.02 and no biases, as PatchGAN's."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):  # torch's own first weights, all replaced, draw from the global generator
        critic = PatchCritic(config)
    with torch.no_grad():
        for layer in critic.convolutions:
            assert isinstance(layer, nn.Conv3d) and layer.bias is not None
            layer.weight.normal_(0.0, INITIAL_DEVIATION, generator=generator)
            layer.bias.zero_()
    return critic


def critic_loss(filmed: Tensor, decoded: Tensor) -> Tensor:
    """Hinge over the scores of patches, mean per sample: [B]."""
    return 0.5 * (F.relu(1 - filmed) + F.relu(1 + decoded)).flatten(1).mean(dim=1)


def adversarial_loss(decoded: Tensor) -> Tensor:
    """Minus the mean score of each sample's patches: [B]."""
    return -decoded.flatten(1).mean(dim=1)
