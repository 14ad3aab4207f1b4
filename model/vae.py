"""HunyuanVideo's causal video VAE: 4n + 1 frames of 8m x 8k pixels to 16 channels of (n + 1) x m x k, and back.

    video [-1, 1] --encode--> Posterior --to_latent--> latent (about unit size, what the DiT sees)
    video         <--decode-- sample    <--from_latent-- latent

An image is a video of one frame. Names of parameters are those of the released checkpoint, so that it loads as it is
(246,478,803 parameters in the `full` preset). Method: arXiv 2412.03603 s4.1.

Legend: B batch, C channels, T H W frames and pixels, or latent frames and cells.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn

from model.presets import VAEConfig
from model.tiling import Tiling, tiles_in_space, tiles_in_time
from model.vae_layers import NORM_EPS, CausalConv3d, DownBlock, MidBlock, UpBlock

LOGVAR_RANGE = (-30.0, 20.0)


@dataclass(frozen=True)
class Posterior:
    """Diagonal Gaussian over latents; `mean` and `logvar` are [B, C, T, H, W], unscaled, logvar within [-30, 20]."""

    mean: Tensor
    logvar: Tensor

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Draw mean + exp(logvar / 2) * noise; noise comes from the generator, on the generator's device."""
        device = self.mean.device if generator is None else generator.device
        noise = torch.randn(self.mean.shape, generator=generator, device=device, dtype=self.mean.dtype)
        return self.mean + torch.exp(0.5 * self.logvar) * noise.to(self.mean.device)

    def mode(self) -> Tensor:
        """The most likely latent: the mean."""
        return self.mean

    def kl(self) -> Tensor:
        """Divergence from N(0, 1) in nats, summed over everything but the batch: [B]."""
        each = 0.5 * (self.mean.square() + self.logvar.exp() - 1.0 - self.logvar)
        return each.flatten(1).sum(dim=1)


class Encoder(nn.Module):
    """Video to the posterior's mean and log variance, before `quant_conv`."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        channels, groups = config.block_out_channels, config.num_groups
        self.conv_in = CausalConv3d(config.in_channels, channels[0])
        strides = (*config.strides, None)
        self.down_blocks = nn.ModuleList(
            DownBlock(channels[max(i - 1, 0)], channels[i], config.num_layers, groups, stride)
            for i, stride in enumerate(strides)
        )
        self.mid_block = MidBlock(channels[-1], groups)
        self.conv_norm_out = nn.GroupNorm(groups, channels[-1], eps=NORM_EPS)
        self.conv_out = CausalConv3d(channels[-1], 2 * config.latent_channels)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """[B, 3, T, H, W] to [B, 2 * latent, (T - 1) / 4 + 1, H / 8, W / 8]."""
        x = self.conv_in(x_BCTHW)
        for layer in _layers(*self.down_blocks, self.mid_block):
            x = layer(x)
        return self.conv_out(x, self.conv_norm_out)


class Decoder(nn.Module):
    """Latent sample, after `post_quant_conv`, to video."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        channels, groups = config.block_out_channels[::-1], config.num_groups
        self.conv_in = CausalConv3d(config.latent_channels, channels[0])
        self.mid_block = MidBlock(channels[0], groups)
        factors = (*config.strides, None)
        self.up_blocks = nn.ModuleList(
            UpBlock(channels[max(i - 1, 0)], channels[i], config.num_layers + 1, groups, factor)
            for i, factor in enumerate(factors)
        )
        self.conv_norm_out = nn.GroupNorm(groups, channels[-1], eps=NORM_EPS)
        self.conv_out = CausalConv3d(channels[-1], config.in_channels)

    def forward(self, z_BCTHW: Tensor) -> Tensor:
        """[B, latent, T, H, W] to [B, 3, 4 * (T - 1) + 1, 8 * H, 8 * W]."""
        x = self.conv_in(z_BCTHW)
        for layer in _layers(self.mid_block, *self.up_blocks):
            x = layer(x)
        return self.conv_out(x, self.conv_norm_out)


def _layers(*blocks: nn.Module) -> Iterator[nn.Module]:
    """Of all blocks in one row: a block called as one would keep its input alive until its last layer is done."""
    for block in blocks:
        assert isinstance(block, DownBlock | MidBlock | UpBlock)
        yield from block.layers()


class CausalVideoVAE(nn.Module):
    """Encoder and decoder with the released names and mathematics; see the top of the file for the scaled latents."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        self.scaling_factor = config.scaling_factor
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quant_conv = nn.Conv3d(2 * config.latent_channels, 2 * config.latent_channels, 1)
        self.post_quant_conv = nn.Conv3d(config.latent_channels, config.latent_channels, 1)

    def encode(self, video: Tensor, tiling: Tiling | None = None) -> Posterior:
        """Posterior of a video [B, 3, T, H, W] in [-1, 1] with T = 4n + 1, H and W multiples of 8.

        With a tiling, memory beside the video and the latents is that of one tile; the latents are others than whole
        ones. Raises ValueError that names the nearest legal size.
        """
        self._check_video(video)
        return self.encode_pieces([video], tiling)

    def encode_pieces(self, pieces: Iterable[Tensor], tiling: Tiling | None = None) -> Posterior:
        """`encode` of a video that is read while it is encoded: pieces [B, 3, any T, H, W], 4n + 1 frames in all.

        With tiles in time no more of the video is held than one tile and one piece. Raises ValueError as `encode`.
        """
        time, space = (self.config.temporal_compression, self.config.spatial_compression)
        steps = None if tiling is None else tiling.space(space, decoding=False)
        in_time = None if tiling is None else tiling.time(time, decoding=False)
        parts = tiles_in_time(self._checked(pieces), lambda tile: tiles_in_space(tile, self._moments, steps), in_time)
        mean, logvar = torch.cat(list(parts), dim=2).chunk(2, dim=1)
        return Posterior(mean, logvar.clamp(*LOGVAR_RANGE))

    def decode(self, sample: Tensor, tiling: Tiling | None = None) -> Tensor:
        """Video [B, 3, 4 * (T - 1) + 1, 8 * H, 8 * W], about [-1, 1] and not clamped, of an **unscaled** latent.

        A latent in the DiT's scale goes through `from_latent` first. With a tiling, memory beside the video is that of
        one tile; `decode_pieces` does not hold the video either. Raises ValueError for a wrong shape.
        """
        pieces = self.decode_pieces(sample, tiling)
        video = next(pieces)
        num_frames = (sample.shape[2] - 1) * self.config.temporal_compression + 1
        if video.shape[2] == num_frames:
            return video
        whole = video.new_empty(*video.shape[:2], num_frames, *video.shape[3:])
        end = 0
        for piece in chain([video], pieces):
            start, end = end, end + piece.shape[2]
            whole[:, :, start:end] = piece
        return whole

    def decode_pieces(self, sample: Tensor, tiling: Tiling | None = None) -> Iterator[Tensor]:
        """The video of `decode` as consecutive pieces [B, 3, frames, 8 * H, 8 * W], each as soon as it is finished.

        Peak memory is that of one temporal tile, whatever the length. Raises ValueError as `decode`, at once.
        """
        if sample.ndim != 5 or sample.shape[1] != self.config.latent_channels or not sample.numel():
            raise ValueError(
                f"a latent is [B, {self.config.latent_channels}, T, H, W] and not empty, got {list(sample.shape)}"
            )
        time, space = (self.config.temporal_compression, self.config.spatial_compression)
        steps = None if tiling is None else tiling.space(space, decoding=True)
        in_time = None if tiling is None else tiling.time(time, decoding=True)
        return tiles_in_time([sample], lambda tile: tiles_in_space(tile, self._pixels, steps), in_time)

    def to_latent(self, sample: Tensor) -> Tensor:
        """Scale what the encoder gave (`posterior.sample()` or `.mode()`) to the DiT's latent."""
        return sample * self.scaling_factor

    def from_latent(self, latent: Tensor) -> Tensor:
        """Scale the DiT's latent back to what `decode` takes."""
        return latent / self.scaling_factor

    def _moments(self, video: Tensor) -> Tensor:
        return self.quant_conv(self.encoder(video))

    def _pixels(self, sample: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(sample))

    def _checked(self, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
        """The pieces; the whole video's size is checked as far as it is known, the number of frames at the end."""
        num_frames, last = 0, None
        for piece in pieces:
            if last is not None and (*piece.shape[:2], *piece.shape[3:]) != (*last[:2], *last[3:]):
                raise ValueError(f"pieces of one video differ in time only, got {list(last)}, then {list(piece.shape)}")
            if last is None:
                self._check_video(piece[:, :, :1])
            num_frames, last = num_frames + piece.shape[2], piece.shape
            yield piece
        if last is not None:
            self._check_size(num_frames, *last[3:])

    def _check_video(self, video: Tensor) -> None:
        if video.ndim != 5 or video.shape[1] != self.config.in_channels or not video.numel():
            raise ValueError(
                f"a video is [B, {self.config.in_channels}, T, H, W] and not empty, got {list(video.shape)}"
            )
        self._check_size(*video.shape[2:])

    def _check_size(self, num_frames: int, height: int, width: int) -> None:
        time, space = self.config.temporal_compression, self.config.spatial_compression
        nearest = (
            round((num_frames - 1) / time) * time + 1,
            max(round(height / space), 1) * space,
            max(round(width / space), 1) * space,
        )
        if (num_frames, height, width) != nearest:
            raise ValueError(
                f"a video has {time}n + 1 frames and sides that are multiples of {space} px; got {num_frames} frames "
                f"of {width} x {height}, the nearest legal size is {nearest[0]} frames of {nearest[2]} x {nearest[1]}"
            )
