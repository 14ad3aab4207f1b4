"""The parts of the causal video VAE: convolutions that look back in time, and resampling that spares the first frame.

    frames        0 | 1 2 3 4 | 5 6 7 8 | ...     4n + 1 of them: the first stands alone, as an image would
    latent frame  0 |    1    |    2    | ...     n + 1

Convolutions repeat the border pixels in space and the first frame, twice, in front of time; nothing is padded with
zeros. GroupNorm still takes its statistics over all frames, so a later frame does change earlier latents a little:
the released network is causal in its convolutions and attention only (arXiv 2503.20314 s4.1.1 replaces the norm).

Without gradients, layers work through a clip a few frames at a time and carry the last frames of each window over to
the next, which is exact (only the norm's statistics need the whole clip first):

    norm statistics of x | frames 0..1 -> normalise, pad, convolve -> out | frames 2..3 -> ... (two frames carried)

So a residual block holds its input and its output and no copies of them (peak: 0.41 x diffusers'). An upsampling
convolves the cells before it repeats them, by weights added up for each of the 8 places that a cell goes to: 8 taps
instead of 27.

Names of modules and parameters are those of the released checkpoint. Legend: B batch, C channels, T H W frames and
pixels or latent cells, S tokens.
"""

from collections.abc import Callable, Iterator
from itertools import product

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

NORM_EPS = 1e-6
Stride = tuple[int, int, int]  # time, height, width


CHUNK_NUMBERS = {"cpu": 1 << 21, "cuda": 1 << 27}  # per window of frames; one frame at least


class CausalConv3d(nn.Module):
    """Convolution with replicated borders, symmetric in space, all in front in time. [B, C, T, H, W] in and out."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 3, stride: Stride = (1, 1, 1)) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, out_channels, kernel, stride=stride)

    def forward(self, x_BCTHW: Tensor, norm: nn.GroupNorm | None = None) -> Tensor:
        """T frames become ceil(T / stride); `norm` and SiLU go before, where there is one."""
        if is_recorded(self, x_BCTHW):
            x_BCTHW = x_BCTHW if norm is None else F.silu(norm(x_BCTHW))
            return self.convolve(_pad(x_BCTHW, self.kernel(x_BCTHW)), x_BCTHW)
        out: Tensor | None = None
        for frames, part in self.parts(x_BCTHW, norm):
            if out is None:
                if part.shape[2] == self.num_frames(x_BCTHW):
                    return part
                out = part.new_empty(*part.shape[:2], self.num_frames(x_BCTHW), *part.shape[3:])
            out[:, :, frames] = part
        assert out is not None
        return out

    def parts(self, x_BCTHW: Tensor, norm: nn.GroupNorm | None) -> Iterator[tuple[slice, Tensor]]:
        """The frames of `forward`, a few at a time; `x_BCTHW` may be overwritten up to where its frames were used."""
        for frames, window in windows(x_BCTHW, norm, self.kernel(x_BCTHW), self.conv):
            yield frames, self.convolve(window, x_BCTHW)

    def num_frames(self, x_BCTHW: Tensor) -> int:
        """Frames that come out."""
        return (x_BCTHW.shape[2] - 1) // self.conv.stride[0] + 1

    def kernel(self, x_BCTHW: Tensor) -> tuple[int, int]:
        """Taps in time and space. All taps in time see the one frame of an image: there their sum is the one tap."""
        return (1 if x_BCTHW.shape[2] == 1 else self.conv.kernel_size[0]), self.conv.kernel_size[1]

    def convolve(self, window_BCTHW: Tensor, x_BCTHW: Tensor) -> Tensor:
        """Of a padded window of x: nothing is padded here."""
        if x_BCTHW.shape[2] > 1:
            return self.conv(window_BCTHW)
        weight = self.conv.weight.sum(dim=2)
        return F.conv2d(window_BCTHW[:, :, 0], weight, self.conv.bias, self.conv.stride[1:])[:, :, None]


def is_recorded(module: nn.Module, x: Tensor) -> bool:
    """Whether gradients will be asked for, so that nothing may be overwritten."""
    return torch.is_grad_enabled() and (x.requires_grad or any(one.requires_grad for one in module.parameters()))


def windows(
    x_BCTHW: Tensor, norm: nn.GroupNorm | None, kernel: tuple[int, int], conv: nn.Conv3d
) -> Iterator[tuple[slice, Tensor]]:
    """Output frames and the padded, normalised input frames they need, a few at a time and each normalised once."""
    (taps, side), stride = kernel, conv.stride[0]
    prepare = _identity if norm is None else normaliser(norm, x_BCTHW)
    num_out = (x_BCTHW.shape[2] - 1) // stride + 1
    step = _frames_at_once(x_BCTHW, max(conv.in_channels, conv.out_channels), stride)
    border: Tensor | None = None
    read = 0
    for start in range(0, num_out, step):
        end = min(start + step, num_out)
        fresh = prepare(x_BCTHW[:, :, read : (end - 1) * stride + 1])
        read = (end - 1) * stride + 1
        if border is None:
            window = _pad(fresh, (taps, side))
        else:
            window = torch.cat((border, _pad(fresh, (1, side))), dim=2)
        border = window[:, :, window.shape[2] - max(taps - stride, 0) :].clone()
        del fresh
        yield slice(start, end), window


def normaliser(norm: nn.GroupNorm, x_BCTHW: Tensor) -> Callable[[Tensor], Tensor]:
    """Norm and SiLU of frames of x, by statistics of the whole of x: to the last bit what both give for the whole.

    Statistics are taken a few groups at a time, since torch gives them only together with a normalised copy.
    """
    batch, channels = x_BCTHW.shape[:2]
    dtype = torch.promote_types(x_BCTHW.dtype, torch.float32)  # as the norm works itself
    each, numbers = channels // norm.num_groups, x_BCTHW[0, 0].numel()
    at_once = min(max(_limit(x_BCTHW) // (batch * each * numbers), 1), norm.num_groups)
    means, inverses = [], []
    for some in x_BCTHW.split(at_once * each, dim=1):
        groups = some.shape[1] // each
        some = some.to(dtype).contiguous()  # split along the channels, a batch of several is not
        _, mean, inverse = torch.native_group_norm(some, None, None, batch, groups * each, numbers, groups, norm.eps)
        means.append(mean)
        inverses.append(inverse)
    scale_BC = torch.cat(inverses, dim=1).repeat_interleave(each, dim=1) * norm.weight.to(dtype)
    mean_BC = torch.cat(means, dim=1).repeat_interleave(each, dim=1)
    shift_BC = torch.addcmul(norm.bias.to(dtype), mean_BC, scale_BC, value=-1)
    scale, shift = scale_BC[..., None, None, None], shift_BC[..., None, None, None]
    return lambda part: F.silu(torch.addcmul(shift, part.to(dtype), scale), inplace=True).to(part.dtype)


def _identity(part: Tensor) -> Tensor:
    return part


def _pad(x_BCTHW: Tensor, kernel: tuple[int, int]) -> Tensor:
    taps, side = kernel[0] - 1, kernel[1] // 2
    return F.pad(x_BCTHW, (side, side, side, side, taps, 0), mode="replicate") if taps or side else x_BCTHW


def _frames_at_once(x_BCTHW: Tensor, channels: int, stride: int) -> int:
    """Output frames whose input is about as many numbers as are worth a call on this device."""
    batch, height, width = len(x_BCTHW), *x_BCTHW.shape[3:]
    return max(_limit(x_BCTHW) // (batch * channels * height * width * stride), 1)


def _limit(x: Tensor) -> int:
    return CHUNK_NUMBERS.get(x.device.type, CHUNK_NUMBERS["cuda"])


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
        shortcut = _identity if self.conv_shortcut is None else self.conv_shortcut
        h = self.conv1(x_BCTHW, self.norm1)
        if is_recorded(self, x_BCTHW):
            return self.conv2(h, self.norm2) + shortcut(x_BCTHW)
        for frames, part in self.conv2.parts(h, self.norm2):
            h[:, :, frames] = part.add_(shortcut(x_BCTHW[:, :, frames]))
        return h


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

    def layers(self) -> list[nn.Module]:
        """In order."""
        return [self.resnets[0], self.attentions[0], self.resnets[1]]


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
        if factor not in ((1, 2, 2), (2, 2, 2)):
            raise ValueError(f"upsampling is by (1, 2, 2) or (2, 2, 2) in time, height and width, not by {factor}")
        self.factor = factor
        self.conv = CausalConv3d(channels, channels)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """[B, C, T, H, W] to [B, C, (T - 1) * factor + 1, H * factor, W * factor]."""
        return self.conv(self.repeat(x_BCTHW)) if is_recorded(self, x_BCTHW) else self._convolve_first(x_BCTHW)

    def repeat(self, x_BCTHW: Tensor) -> Tensor:
        """The nearest neighbours alone."""
        time, height, width = self.factor
        x = F.interpolate(x_BCTHW, scale_factor=(1.0, float(height), float(width)), mode="nearest")
        return torch.cat((x[:, :, :1], x[:, :, 1:].repeat_interleave(time, dim=2)), dim=2) if time > 1 else x

    def _convolve_first(self, x_BCTHW: Tensor) -> Tensor:
        """Every place that a cell goes to sees two cells along each repeated axis, one of them through two taps."""
        conv, (num_frames, height, width) = self.conv.conv, x_BCTHW.shape[2:]
        weight = conv.weight.sum(dim=2, keepdim=True) if num_frames == 1 else conv.weight
        twice = self.factor[0] == 2 and num_frames > 1
        # Of a latent frame repeated twice the first copy is the odd frame and the second the even one after it.
        weights = [weight] if not twice else [_pairs(weight, 2)[1], _pairs(weight, 2)[0]]
        phases = {
            (i, j): torch.cat([_pairs(_pairs(one, 3)[i], 4)[j] for one in weights])
            for i, j in product((0, 1), repeat=2)
        }
        bias = None if conv.bias is None else conv.bias.repeat(len(weights))
        num_out = self.factor[0] * (num_frames - 1) + 1
        out = x_BCTHW.new_empty(len(x_BCTHW), conv.out_channels, num_out, 2 * height, 2 * width)
        for frames, window in windows(x_BCTHW, None, (weights[0].shape[2], 3), conv):
            for (i, j), phase in phases.items():
                part = F.conv3d(window[..., i : i + height + 1, j : j + width + 1], phase, bias)
                place = out[..., i::2, j::2]
                if not twice:
                    place[:, :, frames] = part
                    continue
                odd, even = part.chunk(2, dim=1)
                first = frames.start == 0  # whose odd frame would come before the clip
                place[:, :, 2 * frames.start : 2 * frames.stop : 2] = even
                place[:, :, 2 * frames.start - 1 + 2 * first : 2 * frames.stop - 1 : 2] = odd[:, :, int(first) :]
        return out


def _pairs(weight: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Three taps over repeated cells as two over cells: for the even place (before, own), for the odd (own, next)."""
    before, own, after = weight.unbind(dim)
    return torch.stack((before, own + after), dim), torch.stack((before + own, after), dim)


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

    def layers(self) -> list[nn.Module]:
        """In order."""
        return [*self.resnets, *self.downsamplers]


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

    def layers(self) -> list[nn.Module]:
        """In order."""
        return [*self.resnets, *self.upsamplers]
