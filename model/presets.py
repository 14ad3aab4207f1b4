"""The sizes the networks come in, from two CPU cores to the released HunyuanVideo weights.

| DiT | parameters | width, heads, blocks (dual + single) | VAE | weights, gradients and AdamW, float32 |
|---|---|---|---|---|
| `tiny` | 2,861,888 | 128, 4 of 32, 2 + 4 | `tiny`, 1,780,083 | 46 MB |
| `50m` | 47,728,448 | 384, 3 of 128, 4 + 8 | `full`, 246,478,803 | 0.8 GB |
| `300m` | 300,244,544 | 768, 6 of 128, 7 + 14 | `full` | 4.8 GB |
| `1b` | 1,029,792,832 | 1536, 12 of 128, 6 + 12 | `full` | 16.5 GB |
| `full` | 12,821,012,544 | 3072, 24 of 128, 20 + 40 | `full` | 205 GB |

The toy set's DiT is `tiny`, too, on latents of the VAE `shapes`, 751,323: one group per norm, since groups of two
channels forget how bright a flat picture is. All but `tiny` keep the released head (128 channels, turned 16 + 56 + 56),
one dual block to two single ones, the MLP ratio and the widths of the released text encoders, so kernels and cached
text fit every size. They see latents of the `full` VAE, whose released weights are the better start: a DiT can only be
as good as what its VAE decodes. Only `full` embeds a guidance scale, since only a distilled network has learned one.
Heads also bound how many processes can share a sample (training/sequence_parallel.py).

A configuration holds only what decides the shapes and the mathematics of a network, so that it can be saved beside
a checkpoint and rebuild the same module. Source of the `full` sizes: arXiv 2412.03603 and the released configuration
files.
"""

from dataclasses import dataclass
from math import prod


@dataclass(frozen=True)
class VAEConfig:
    """Sizes of the causal video VAE.

    `block_out_channels` are the channels of the encoder's blocks from the pixels inwards; `strides` (time, height,
    width) follow each block but the last, and the decoder undoes them in the same order. `num_layers` residual
    blocks per encoder block, one more per decoder block. The mid attention has one head of the last block's width.
    """

    block_out_channels: tuple[int, ...] = (128, 256, 512, 512)
    strides: tuple[tuple[int, int, int], ...] = ((1, 2, 2), (2, 2, 2), (2, 2, 2))
    num_layers: int = 2
    num_groups: int = 32
    in_channels: int = 3
    latent_channels: int = 16
    scaling_factor: float = 0.476986

    def __post_init__(self) -> None:
        if len(self.strides) != len(self.block_out_channels) - 1:
            raise ValueError(
                f"{len(self.block_out_channels)} blocks need {len(self.block_out_channels) - 1} strides, "
                f"got {len(self.strides)}: {self.strides}"
            )
        bad = [channels for channels in self.block_out_channels if channels % self.num_groups]
        if bad:
            raise ValueError(f"block_out_channels {bad} are not multiples of num_groups {self.num_groups}")

    @property
    def temporal_compression(self) -> int:
        """Frames per latent frame after the first, which stands alone: 4."""
        return prod(stride[0] for stride in self.strides)

    @property
    def spatial_compression(self) -> int:
        """Pixels per latent cell along each side: 8."""
        return prod(stride[1] for stride in self.strides)


@dataclass(frozen=True)
class DiTConfig:
    """Sizes of the video diffusion transformer.

    `rope_dims` (time, height, width) share out one head's channels and must sum to `hidden_size / num_heads`.
    `text_width` is the width of the language model's states, `pooled_width` that of the CLIP vector. `guidance` adds
    the embedded guidance scale, which only a guidance-distilled network has learned.
    """

    hidden_size: int = 3072
    num_heads: int = 24
    num_dual_blocks: int = 20
    num_single_blocks: int = 40
    num_refiner_blocks: int = 2
    mlp_ratio: int = 4
    patch_size: tuple[int, int, int] = (1, 2, 2)
    latent_channels: int = 16
    rope_dims: tuple[int, int, int] = (16, 56, 56)
    rope_theta: float = 256.0
    text_width: int = 4096
    pooled_width: int = 768
    guidance: bool = True

    def __post_init__(self) -> None:
        if self.hidden_size % self.num_heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of num_heads {self.num_heads}")
        if sum(self.rope_dims) != self.head_dim or any(dim % 2 for dim in self.rope_dims):
            raise ValueError(
                f"rope_dims {self.rope_dims} must be even and sum to the head width "
                f"{self.head_dim} (hidden_size {self.hidden_size} / num_heads {self.num_heads})"
            )

    @property
    def head_dim(self) -> int:
        """Channels of one attention head."""
        return self.hidden_size // self.num_heads


VAE_PRESETS: dict[str, VAEConfig] = {
    "tiny": VAEConfig(block_out_channels=(16, 32, 48, 48), num_layers=1, num_groups=8),
    "shapes": VAEConfig(block_out_channels=(8, 16, 32, 32), num_layers=1, num_groups=1),
    "full": VAEConfig(),
}

DIT_PRESETS: dict[str, DiTConfig] = {
    "tiny": DiTConfig(
        hidden_size=128,
        num_heads=4,
        num_dual_blocks=2,
        num_single_blocks=4,
        rope_dims=(8, 12, 12),
        text_width=128,
        pooled_width=64,
        guidance=False,
    ),
    "50m": DiTConfig(hidden_size=384, num_heads=3, num_dual_blocks=4, num_single_blocks=8, guidance=False),
    "300m": DiTConfig(hidden_size=768, num_heads=6, num_dual_blocks=7, num_single_blocks=14, guidance=False),
    "1b": DiTConfig(hidden_size=1536, num_heads=12, num_dual_blocks=6, num_single_blocks=12, guidance=False),
    "full": DiTConfig(),
}
