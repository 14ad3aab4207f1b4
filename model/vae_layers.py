"""The parts of the causal video VAE: convolutions that look back in time, and resampling that spares the first frame.

    frames        0 | 1 2 3 4 | 5 6 7 8 | ...     4n + 1 of them: the first stands alone, as an image would
    latent frame  0 |    1    |    2    | ...     n + 1

Convolutions repeat the border pixels in space and the first frame, twice, in front of time; nothing is padded with
zeros. GroupNorm still takes its statistics over all frames, so a later frame does change earlier latents a little:
the released network is causal in its convolutions and attention only (arXiv 2503.20314 s4.1.1 replaces the norm).

Names of modules and parameters are those of the released checkpoint. Legend: B batch, C channels, T H W frames and
pixels or latent cells, S tokens.
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

NORM_EPS = 1e-6
Stride = tuple[int, int, int]  # time, height, width


class CausalConv3d(nn.Module):
    """Convolution with replicated borders, symmetric in space, all in front in time. [B, C, T, H, W] in and out."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 3, stride: Stride = (1, 1, 1)) -> None:
        super().__init__()
        side = kernel // 2
        self.padding = (side, side, side, side, kernel - 1, 0)  # width, height, time: F.pad counts from the last
        self.conv = nn.Conv3d(in_channels, out_channels, kernel, stride=stride)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """T frames become ceil(T / stride)."""
        if x_BCTHW.shape[2] == 1:
            return self._convolve_image(x_BCTHW[:, :, 0])[:, :, None]
        return self.conv(F.pad(x_BCTHW, self.padding, mode="replicate") if any(self.padding) else x_BCTHW)

    def _convolve_image(self, x_BCHW: Tensor) -> Tensor:
        """All taps in time see the one frame there is, so their sum convolves it in space: a third of the work."""
        if any(self.padding):
            x_BCHW = F.pad(x_BCHW, self.padding[:4], mode="replicate")
        return F.conv2d(x_BCHW, self.conv.weight.sum(dim=2), self.conv.bias, self.conv.stride[1:])


class ResnetBlock(nn.Module):
    """Norm, SiLU, convolution, twice, around a residual; the channels change in the first convolution."""

    def __init__(self, in_channels: int, out_channels: int, num_groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(num_groups, in_channels, eps=NORM_EPS)
        self.conv1 = CausalConv3d(in_channels, out_channels)
        self.norm2 = nn.GroupNorm(num_groups, out_channels, eps=NORM_EPS)
        self.conv2 = CausalConv3d(out_channels, out_channels)
        self.conv_shortcut = CausalConv3d(in_channels, out_channels, kernel=1) if in_channels != out_channels else None

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Same T, H, W."""
        h = self.conv1(F.silu(self.norm1(x_BCTHW)))
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (x_BCTHW if self.conv_shortcut is None else self.conv_shortcut(x_BCTHW))


class FrameCausalAttention(nn.Module):
    """One attention head over all cells of a clip, each seeing its own and earlier latent frames.

    Frame by frame over the growing prefix of keys: the same products as a masked S x S attention needs, and no mask.
    """

    def __init__(self, channels: int, num_groups: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(num_groups, channels, eps=NORM_EPS)
        self.to_q = nn.Linear(channels, channels)
        self.to_k = nn.Linear(channels, channels)
        self.to_v = nn.Linear(channels, channels)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Same shape; residual included."""
        num_frames, height, width = x_BCTHW.shape[2:]
        cells = height * width
        h_BSC = rearrange(self.group_norm(x_BCTHW), "b c t h w -> b (t h w) c")
        q, k, v = (linear(h_BSC)[:, None] for linear in (self.to_q, self.to_k, self.to_v))  # one head
        frames = [
            F.scaled_dot_product_attention(q[:, :, end - cells : end], k[:, :, :end], v[:, :, :end])
            for end in range(cells, num_frames * cells + 1, cells)
        ]
        h_BSC = self.to_out[0](torch.cat(frames, dim=2)[:, 0])
        return x_BCTHW + rearrange(h_BSC, "b (t h w) c -> b c t h w", t=num_frames, h=height)


class MidBlock(nn.Module):
    """Residual block, attention, residual block, at the smallest size."""

    def __init__(self, channels: int, num_groups: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock(channels, channels, num_groups) for _ in range(2))
        self.attentions = nn.ModuleList([FrameCausalAttention(channels, num_groups)])

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Same shape."""
        return self.resnets[1](self.attentions[0](self.resnets[0](x_BCTHW)))


class Downsample(nn.Module):
    """Strided causal convolution: 2n + 1 frames become n + 1 where the time stride is 2."""

    def __init__(self, channels: int, stride: Stride) -> None:
        super().__init__()
        self.conv = CausalConv3d(channels, channels, stride=stride)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """[B, C, T, H, W] to [B, C, ceil(T / stride), H / stride, W / stride]."""
        return self.conv(x_BCTHW)


class Upsample(nn.Module):
    """Repeat cells in space, and frames in time except the first, then convolve: n + 1 frames become 2n + 1."""

    def __init__(self, channels: int, factor: Stride) -> None:
        super().__init__()
        self.factor = factor
        self.conv = CausalConv3d(channels, channels)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """[B, C, T, H, W] to [B, C, (T - 1) * factor + 1, H * factor, W * factor]."""
        time, height, width = self.factor
        x = F.interpolate(x_BCTHW, scale_factor=(1.0, float(height), float(width)), mode="nearest")
        if time > 1:
            x = torch.cat((x[:, :, :1], x[:, :, 1:].repeat_interleave(time, dim=2)), dim=2)
        return self.conv(x)


class DownBlock(nn.Module):
    """Residual blocks, then a downsampling where there is a stride."""

    def __init__(
        self, in_channels: int, out_channels: int, num_layers: int, num_groups: int, stride: Stride | None
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            ResnetBlock(in_channels if i == 0 else out_channels, out_channels, num_groups) for i in range(num_layers)
        )
        self.downsamplers = nn.ModuleList([Downsample(out_channels, stride)] if stride else [])

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """See `Downsample` for the sizes."""
        for layer in (*self.resnets, *self.downsamplers):
            x_BCTHW = layer(x_BCTHW)
        return x_BCTHW


class UpBlock(nn.Module):
    """Residual blocks, then an upsampling where there is a factor."""

    def __init__(
        self, in_channels: int, out_channels: int, num_layers: int, num_groups: int, factor: Stride | None
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            ResnetBlock(in_channels if i == 0 else out_channels, out_channels, num_groups) for i in range(num_layers)
        )
        self.upsamplers = nn.ModuleList([Upsample(out_channels, factor)] if factor else [])

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """See `Upsample` for the sizes."""
        for layer in (*self.resnets, *self.upsamplers):
            x_BCTHW = layer(x_BCTHW)
        return x_BCTHW
