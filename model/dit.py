"""HunyuanVideo's diffusion transformer: dual-stream blocks, then single-stream blocks, over rows without padding.

    latents --patchify--> video row --+                            joint row
                                      |== dual blocks ==> join ==> single blocks ==> video part --> velocity
    text ----refiner----> text row ---+        ^                        ^                ^
    t, pooled, guidance --> vec ---------------+------------------------+----------------+

In a dual block video and text have weights of their own and meet in attention; in a single block they share weights,
and attention and MLP run side by side. Images and videos of any size, with prompts of any length, go through one
forward: an image is a video of one frame, and a sample never sees another (see model/rows.py).

Image-to-video is the token-replace variant of HunyuanVideo-I2V: the first latent frame is given clean, and its tokens
are modulated by another vector, that of t = 0 without guidance. Text tokens, the refiner and the last layer know only
the sample's own t.

Parameter names are those of the released checkpoint, so that it loads as it is. Method: arXiv 2412.03603 s4.3;
arXiv 2403.03206 (dual stream). 12,821,012,544 parameters in the `full` preset.

Legend: B samples, G groups of tokens (model/rows.py), S tokens, D width, L text tokens, C T H W a latent.
"""

from collections.abc import Sequence
from math import prod

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from model.attention import segment_attention
from model.layers import (
    MLP,
    NORM_EPS,
    Modulation,
    PooledEmbedder,
    ScalarEmbedder,
    TextMeanEmbedder,
    add_gated,
    modulate,
    split_heads,
)
from model.presets import DiTConfig
from model.rope import grid_rotation, rotate
from model.rows import Layout, RowSplit, WholeRows, lay_out


class RefinerBlock(nn.Module):
    """Bidirectional attention among a prompt's tokens; the conditioning only gates, it neither shifts nor scales."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.num_heads = config.num_heads
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.self_attn_qkv = nn.Linear(width, 3 * width)
        self.self_attn_proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = MLP(width, config.mlp_ratio * width, nn.SiLU())
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, text_SD: Tensor, vec_BD: Tensor, lengths: Sequence[int]) -> Tensor:
        """One block over the packed text row."""
        attention_gate, mlp_gate = self.adaLN_modulation(vec_BD).chunk(2, dim=-1)
        qkv = split_heads(self.self_attn_qkv(self.norm1(text_SD)), self.num_heads)
        text_SD = add_gated(text_SD, self.self_attn_proj(segment_attention(*qkv, lengths)), attention_gate, lengths)
        return add_gated(text_SD, self.mlp(self.norm2(text_SD)), mlp_gate, lengths)


class RefinerStack(nn.Module):
    """The refiner's blocks; a module of its own because the released names say so."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(RefinerBlock(config) for _ in range(config.num_refiner_blocks))


class TokenRefiner(nn.Module):
    """Turns a causal language model's states into text tokens that have seen the whole prompt and the time."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.input_embedder = nn.Linear(config.text_width, width)
        self.t_embedder = ScalarEmbedder(width)
        self.c_embedder = TextMeanEmbedder(config.text_width, width)
        self.individual_token_refiner = RefinerStack(config)

    def forward(self, text_SD: Tensor, t_B: Tensor, lengths: Sequence[int]) -> Tensor:
        """Packed states [S, text_width] to packed tokens [S, D]."""
        mean_BD = torch.stack([sample.mean(dim=0) for sample in text_SD.split(list(lengths))])
        vec_BD = self.t_embedder(t_B) + self.c_embedder(mean_BD)
        text_SD = self.input_embedder(text_SD)
        for block in self.individual_token_refiner.blocks:
            text_SD = block(text_SD, vec_BD, lengths)
        return text_SD


class DualBlock(nn.Module):
    """Video and text side by side, each with its own weights, meeting in one attention."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        width, head_dim, hidden = config.hidden_size, config.head_dim, config.mlp_ratio * config.hidden_size
        self.num_heads = config.num_heads
        self.img_mod = Modulation(width, 6)
        self.img_attn_qkv = nn.Linear(width, 3 * width)
        self.img_attn_q_norm = nn.RMSNorm(head_dim, eps=NORM_EPS)
        self.img_attn_k_norm = nn.RMSNorm(head_dim, eps=NORM_EPS)
        self.img_attn_proj = nn.Linear(width, width)
        self.img_mlp = MLP(width, hidden, nn.GELU(approximate="tanh"))
        self.txt_mod = Modulation(width, 6)
        self.txt_attn_qkv = nn.Linear(width, 3 * width)
        self.txt_attn_q_norm = nn.RMSNorm(head_dim, eps=NORM_EPS)
        self.txt_attn_k_norm = nn.RMSNorm(head_dim, eps=NORM_EPS)
        self.txt_attn_proj = nn.Linear(width, width)
        self.txt_mlp = MLP(width, hidden, nn.GELU(approximate="tanh"))

    def forward(
        self, video_SD: Tensor, text_SD: Tensor, vec_GD: Tensor, vec_BD: Tensor, layout: Layout
    ) -> tuple[Tensor, Tensor]:
        """One block over the packed video row, modulated by group, and the packed text row, modulated by sample."""
        groups = layout.video_groups
        shift, scale, video_gate, *video_mlp = self.img_mod(vec_GD)
        q, k, video_v = split_heads(self.img_attn_qkv(modulate(video_SD, shift, scale, groups)), self.num_heads)
        video_q, video_k = self.img_attn_q_norm(q), self.img_attn_k_norm(k)

        shift, scale, text_gate, *text_mlp = self.txt_mod(vec_BD)
        q, k, text_v = split_heads(self.txt_attn_qkv(modulate(text_SD, shift, scale, layout.text)), self.num_heads)
        text_q, text_k = self.txt_attn_q_norm(q), self.txt_attn_k_norm(k)

        q = rotate(layout.join(video_q, text_q), layout.rotation)
        k = rotate(layout.join(video_k, text_k), layout.rotation)
        attended = layout.attend(q, k, layout.join(video_v, text_v))
        video_attended, text_attended = layout.part(attended)

        video_SD = add_gated(video_SD, self.img_attn_proj(video_attended), video_gate, groups)
        shift, scale, gate = video_mlp
        video_SD = add_gated(video_SD, self.img_mlp(modulate(video_SD, shift, scale, groups)), gate, groups)

        text_SD = add_gated(text_SD, self.txt_attn_proj(text_attended), text_gate, layout.text)
        shift, scale, gate = text_mlp
        text_SD = add_gated(text_SD, self.txt_mlp(modulate(text_SD, shift, scale, layout.text)), gate, layout.text)
        return video_SD, text_SD


class SingleBlock(nn.Module):
    """Video and text in one row with shared weights; attention and MLP in parallel between two wide projections."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        width, hidden = config.hidden_size, config.mlp_ratio * config.hidden_size
        self.num_heads = config.num_heads
        self.widths = [width, width, width, hidden]
        self.modulation = Modulation(width, 3)
        self.linear1 = nn.Linear(width, 3 * width + hidden)
        self.linear2 = nn.Linear(width + hidden, width)
        self.q_norm = nn.RMSNorm(config.head_dim, eps=NORM_EPS)
        self.k_norm = nn.RMSNorm(config.head_dim, eps=NORM_EPS)

    def forward(self, joint_SD: Tensor, vec_GD: Tensor, layout: Layout) -> Tensor:
        """One block over the joint row."""
        groups = layout.joint_groups
        shift, scale, gate = self.modulation(vec_GD)
        wide = self.linear1(modulate(joint_SD, shift, scale, groups))
        *qkv, hidden = wide.split(self.widths, dim=-1)
        q, k, v = (part.unflatten(-1, (self.num_heads, -1)) for part in qkv)
        q, k = rotate(self.q_norm(q), layout.rotation), rotate(self.k_norm(k), layout.rotation)
        attended = layout.attend(q, k, v)
        hidden = F.gelu(hidden, approximate="tanh")
        return add_gated(joint_SD, self.linear2(torch.cat((attended, hidden), dim=-1)), gate, groups)


class FinalLayer(nn.Module):
    """Modulated norm and the projection to one patch's velocity. Starts at zero."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        time, height, width = config.patch_size
        self.linear = nn.Linear(config.hidden_size, config.latent_channels * time * height * width)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(config.hidden_size, 2 * config.hidden_size))

    def forward(self, video_SD: Tensor, vec_BD: Tensor, lengths: Sequence[int]) -> Tensor:
        """Packed video row to packed patches [S, C * patch]."""
        shift, scale = self.adaLN_modulation(vec_BD).chunk(2, dim=-1)
        return self.linear(modulate(video_SD, shift, scale, lengths))


class PatchEmbedder(nn.Module):
    """Latent patches to tokens; the weight keeps the released Conv3d shape [D, C, time, height, width]."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.proj = nn.Conv3d(config.latent_channels, config.hidden_size, config.patch_size, stride=config.patch_size)

    def forward(self, patches_SD: Tensor) -> Tensor:
        """Packed patches, channel-major, to packed tokens: the convolution as the matrix product it is."""
        return F.linear(patches_SD, self.proj.weight.flatten(1), self.proj.bias)


class VideoDiT(nn.Module):
    """Predicts the velocity noise - data of noisy latents, given time, text and, if the preset has it, guidance.

    A new network starts as the zero function (zero-initialised modulation and last layer). `row_split` is replaced from
    outside where several processes share one row (training/sequence_parallel.py).
    """

    row_split: RowSplit

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        self.row_split = WholeRows()
        self.img_in = PatchEmbedder(config)
        self.txt_in = TokenRefiner(config)
        self.time_in = ScalarEmbedder(config.hidden_size)
        self.vector_in = PooledEmbedder(config.pooled_width, config.hidden_size)
        self.guidance_in = ScalarEmbedder(config.hidden_size) if config.guidance else None
        self.double_blocks = nn.ModuleList(DualBlock(config) for _ in range(config.num_dual_blocks))
        self.single_blocks = nn.ModuleList(SingleBlock(config) for _ in range(config.num_single_blocks))
        self.final_layer = FinalLayer(config)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Xavier for projections, N(0, 0.02) for embedders, zero where a residual branch begins (arXiv 2212.09748)."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.img_in.proj.weight.flatten(1))
        for module in self.modules():
            if isinstance(module, ScalarEmbedder | PooledEmbedder | TextMeanEmbedder):
                for weight in (parameter for parameter in module.parameters() if parameter.ndim == 2):
                    nn.init.normal_(weight, std=0.02)
            elif isinstance(module, Modulation | FinalLayer):
                for parameter in module.parameters():
                    nn.init.zeros_(parameter)
            elif isinstance(module, RefinerBlock):
                for parameter in module.adaLN_modulation.parameters():
                    nn.init.zeros_(parameter)

    def forward(
        self,
        latents: Sequence[Tensor],
        t: Tensor,
        text: Sequence[Tensor],
        pooled: Tensor,
        guidance: Tensor | None = None,
        clean_frames: Sequence[int] | None = None,
    ) -> list[Tensor]:
        """Velocity of each latent.

        latents: B tensors [C, T, H, W], sizes may differ; H and W (and T) multiples of the patch size.
        t: [B] times, 1000 = pure noise, 0 = data.
        text: B tensors [L, text_width] of valid tokens only, L at least 1 and free to differ.
        pooled: [B, pooled_width].
        guidance: [B], 1000 times the guidance scale, for a preset with `guidance`; None for one without.
        clean_frames: per sample, how many leading latent frames are clean, 0 or 1 (image-to-video); None: 0 for all.
            What is predicted for a clean frame has no meaning.

        Returns B tensors shaped like `latents`. Raises ValueError naming what does not fit.
        """
        clean = list(clean_frames) if clean_frames is not None else [0] * len(latents)
        self._check(latents, t, text, pooled, guidance)
        self._check_clean(latents, clean)
        grids = [self._grid(latent) for latent in latents]
        # Samples of equal length become neighbours, which lets them share an attention call; undone at the end.
        order = sorted(range(len(grids)), key=lambda i: (prod(grids[i]) + len(text[i]), len(text[i]), clean[i]))
        index = torch.tensor(order, device=t.device)
        clean = [clean[i] for i in order]
        groups = [self._groups(grids[i], frames) for i, frames in zip(order, clean, strict=True)]
        video, lengths = [tokens for sample in groups for tokens in sample], [len(text[i]) for i in order]
        split, layout = self.row_split, self._layout([grids[i] for i in order], groups, lengths, t.device)

        t_B, guidance_B = t[index], None if guidance is None else guidance[index]
        vec_GD, vec_BD = self._vectors(t_B, pooled[index], guidance_B, clean)
        video_SD = self.img_in(split.take(torch.cat([self._patchify(latents[i]) for i in order]), video))
        text_SD = split.take(self.txt_in(torch.cat([text[i] for i in order]), t_B, lengths), lengths)
        for block in self.double_blocks:
            video_SD, text_SD = block(video_SD, text_SD, vec_GD, vec_BD, layout)
        joint_SD = layout.join(video_SD, text_SD)
        for block in self.single_blocks:
            joint_SD = block(joint_SD, vec_GD, layout)
        patches_SD = split.gather(self.final_layer(layout.part(joint_SD)[0], vec_BD, layout.video), video)

        pieces = patches_SD.split(list(map(sum, groups)))
        return [self._unpatchify(pieces[order.index(i)], grid) for i, grid in enumerate(grids)]

    def _vectors(
        self, t_B: Tensor, pooled_BD: Tensor, guidance_B: Tensor | None, clean: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Conditioning vectors of the groups and of the samples; one tensor if no frame is clean."""
        pooled_BD = self.vector_in(pooled_BD)
        vec_BD = self.time_in(t_B) + pooled_BD
        if self.guidance_in is not None and guidance_B is not None:
            vec_BD = vec_BD + self.guidance_in(guidance_B)
        if not any(clean):
            return vec_BD, vec_BD
        clean_BD = self.time_in(torch.zeros_like(t_B[:1])) + pooled_BD
        pairs = zip(clean, clean_BD, vec_BD, strict=True)
        return torch.stack([vec for frames, *both in pairs for vec in (both if frames else both[1:])]), vec_BD

    def _grid(self, latent: Tensor) -> tuple[int, int, int]:
        """Tokens along time, height and width."""
        sizes = (size // patch for size, patch in zip(latent.shape[1:], self.config.patch_size, strict=True))
        time, height, width = sizes
        return time, height, width

    def _patchify(self, latent_CTHW: Tensor) -> Tensor:
        time, height, width = self.config.patch_size
        pattern = "c (t pt) (h ph) (w pw) -> (t h w) (c pt ph pw)"
        return rearrange(latent_CTHW, pattern, pt=time, ph=height, pw=width)

    def _unpatchify(self, patches_SD: Tensor, grid: tuple[int, int, int]) -> Tensor:
        sizes = dict(zip(("pt", "ph", "pw", "t", "h", "w"), (*self.config.patch_size, *grid), strict=True))
        return rearrange(patches_SD, "(t h w) (c pt ph pw) -> c (t pt) (h ph) (w pw)", **sizes)

    def _groups(self, grid: tuple[int, int, int], clean_frames: int) -> tuple[int, ...]:
        """Video tokens of a sample that share a vector: all of them, or clean and noisy ones."""
        time, height, width = grid
        clean = clean_frames * height * width
        return (clean, time * height * width - clean) if clean else (time * height * width,)

    def _layout(
        self,
        grids: Sequence[tuple[int, int, int]],
        groups: Sequence[tuple[int, ...]],
        text: Sequence[int],
        device: torch.device,
    ) -> Layout:
        dims, theta = self.config.rope_dims, self.config.rope_theta
        turned = {grid: grid_rotation(grid, dims, theta, device) for grid in set(grids)}
        return lay_out(groups, text, [turned[grid] for grid in grids], self.row_split)

    def _check(
        self, latents: Sequence[Tensor], t: Tensor, text: Sequence[Tensor], pooled: Tensor, guidance: Tensor | None
    ) -> None:
        config, count = self.config, len(latents)
        if not count or {len(text), len(t), len(pooled)} != {count}:
            raise ValueError(
                f"every sample needs a latent, a time, text states and a pooled vector; "
                f"got {count} latents, {len(t)} times, {len(text)} texts, {len(pooled)} pooled vectors"
            )
        for latent in latents:
            sizes, channels = list(latent.shape), config.latent_channels
            fits = len(sizes) == 4 and sizes[0] == channels and all(sizes)
            if not fits or any(size % step for size, step in zip(sizes[1:], config.patch_size, strict=True)):
                raise ValueError(
                    f"a latent is [{channels}, T, H, W] with T, H, W multiples of the patch {config.patch_size}, "
                    f"got {sizes}"
                )
        for states in text:
            if states.ndim != 2 or states.shape[1] != config.text_width or not len(states):
                raise ValueError(
                    f"text states are [L, {config.text_width}] with at least one token, got {list(states.shape)}"
                )
        if pooled.shape[1:] != (config.pooled_width,):
            raise ValueError(f"pooled is [B, {config.pooled_width}], got {list(pooled.shape)}")
        if config.guidance != (guidance is not None):
            expected = "needs guidance [B], 1000 times the scale" if config.guidance else "has no guidance embedding"
            raise ValueError(f"this preset {expected}; got {'none' if guidance is None else 'guidance'}")

    def _check_clean(self, latents: Sequence[Tensor], clean_frames: Sequence[int]) -> None:
        if len(clean_frames) != len(latents) or set(clean_frames) - {0, 1}:
            raise ValueError(
                f"clean_frames is 0 or 1 for each of {len(latents)} latents, got {list(clean_frames)}; "
                "1 = the first latent frame is clean (image-to-video)"
            )
        if any(clean_frames) and self.config.patch_size[0] != 1:
            raise ValueError(f"a clean first frame needs patches of one frame, got {self.config.patch_size}")
        still = [i for i, frames in enumerate(clean_frames) if frames and latents[i].shape[1] == 1]
        if still:
            raise ValueError(f"latents {still} are images: with the first frame clean there is nothing left to predict")
