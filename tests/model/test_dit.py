"""The transformer against diffusers' implementation of the released one, and its promises about packed rows."""

import re

import pytest
import torch
from diffusers.models.transformers.transformer_hunyuan_video import HunyuanVideoTransformer3DModel
from torch import Tensor

from model.dit import VideoDiT
from model.flow import interpolate, velocity_target
from model.presets import DIT_PRESETS, DiTConfig

SIZES = {
    "hidden_size": 64,
    "num_heads": 4,
    "num_dual_blocks": 2,
    "num_single_blocks": 2,
    "rope_dims": (4, 6, 6),
    "text_width": 24,
    "pooled_width": 12,
}
# Facts about the two naming schemes, written for this test: released name -> the reference's names, with
# "split" for fused rows and "swap" for the one pair of halves stored the other way round.
_ATTENTION = ("attn.to_q", "attn.to_k", "attn.to_v")
_TOP = {
    "img_in.proj": "x_embedder.proj",
    "time_in.mlp.0": "time_text_embed.timestep_embedder.linear_1",
    "time_in.mlp.2": "time_text_embed.timestep_embedder.linear_2",
    "guidance_in.mlp.0": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.mlp.2": "time_text_embed.guidance_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "txt_in.input_embedder": "context_embedder.proj_in",
    "txt_in.t_embedder.mlp.0": "context_embedder.time_text_embed.timestep_embedder.linear_1",
    "txt_in.t_embedder.mlp.2": "context_embedder.time_text_embed.timestep_embedder.linear_2",
    "txt_in.c_embedder.linear_1": "context_embedder.time_text_embed.text_embedder.linear_1",
    "txt_in.c_embedder.linear_2": "context_embedder.time_text_embed.text_embedder.linear_2",
    "final_layer.linear": "proj_out",
    "final_layer.adaLN_modulation.1": "norm_out.linear",
}
_BLOCKS = {
    "txt_in.individual_token_refiner.blocks": (
        "context_embedder.token_refiner.refiner_blocks",
        {
            "norm1": "norm1",
            "norm2": "norm2",
            "self_attn_qkv": _ATTENTION,
            "self_attn_proj": "attn.to_out.0",
            "mlp.fc1": "ff.net.0.proj",
            "mlp.fc2": "ff.net.2",
            "adaLN_modulation.1": "norm_out.linear",
        },
    ),
    "double_blocks": (
        "transformer_blocks",
        {
            "img_mod.linear": "norm1.linear",
            "txt_mod.linear": "norm1_context.linear",
            "img_attn_qkv": _ATTENTION,
            "txt_attn_qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
            "img_attn_q_norm": "attn.norm_q",
            "img_attn_k_norm": "attn.norm_k",
            "txt_attn_q_norm": "attn.norm_added_q",
            "txt_attn_k_norm": "attn.norm_added_k",
            "img_attn_proj": "attn.to_out.0",
            "txt_attn_proj": "attn.to_add_out",
            "img_mlp.fc1": "ff.net.0.proj",
            "img_mlp.fc2": "ff.net.2",
            "txt_mlp.fc1": "ff_context.net.0.proj",
            "txt_mlp.fc2": "ff_context.net.2",
        },
    ),
    "single_blocks": (
        "single_transformer_blocks",
        {
            "linear1": (*_ATTENTION, "proj_mlp"),
            "linear2": "proj_out",
            "q_norm": "attn.norm_q",
            "k_norm": "attn.norm_k",
            "modulation.linear": "norm.linear",
        },
    ),
}


def _to_reference(tensors: dict[str, Tensor], width: int) -> dict[str, Tensor]:
    """Tensors (weights or gradients) under released names, under the reference's names."""
    renamed: dict[str, Tensor] = {}
    for full_name, tensor in tensors.items():
        name, kind = full_name.rsplit(".", 1)
        match = re.fullmatch(r"(.+blocks)\.(\d+)\.(.+)", name)
        if match is None:
            target, prefix = _TOP[name], ""
        else:
            reference, table = _BLOCKS[match[1]]
            target, prefix = table[match[3]], f"{reference}.{match[2]}."
        if isinstance(target, tuple):
            rows = [width] * 3 + [tensor.shape[0] - 3 * width] * (len(target) - 3)
            for one, piece in zip(target, tensor.split(rows), strict=True):
                renamed[f"{prefix}{one}.{kind}"] = piece
        else:
            swap = name == "final_layer.adaLN_modulation.1"
            renamed[f"{prefix}{target}.{kind}"] = torch.cat(tensor.chunk(2)[::-1]) if swap else tensor
    return renamed


def _pair(guidance: bool) -> tuple[VideoDiT, HunyuanVideoTransformer3DModel]:
    config = DiTConfig(**SIZES, guidance=guidance)
    ours = _randomised(config)
    reference = HunyuanVideoTransformer3DModel(
        num_attention_heads=config.num_heads,
        attention_head_dim=config.head_dim,
        num_layers=config.num_dual_blocks,
        num_single_layers=config.num_single_blocks,
        guidance_embeds=guidance,
        text_embed_dim=config.text_width,
        pooled_projection_dim=config.pooled_width,
        rope_axes_dim=config.rope_dims,
    )
    reference.load_state_dict(_to_reference(ours.state_dict(), config.hidden_size), strict=True)
    return ours, reference


def _randomised(config: DiTConfig) -> VideoDiT:
    """A network whose every parameter takes part: a fresh one would answer zero."""
    torch.manual_seed(0)
    model = VideoDiT(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.03)
    return model


def _inputs(
    config: DiTConfig, sizes: list[tuple[int, int, int]], lengths: list[int]
) -> tuple[list[Tensor], Tensor, list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(1)
    latents = [torch.randn(16, *size, generator=generator) for size in sizes]
    text = [torch.randn(length, config.text_width, generator=generator) for length in lengths]
    pooled = torch.randn(len(sizes), config.pooled_width, generator=generator)
    return latents, torch.rand(len(sizes), generator=generator) * 1000, text, pooled


@pytest.mark.parametrize("guidance", [True, False])
def test_forward_and_gradients_equal_the_reference_with_its_padded_text(guidance: bool) -> None:
    ours, reference = _pair(guidance)
    latents, t, text, pooled = _inputs(ours.config, [(3, 4, 6)] * 2, [5, 9])
    scale = torch.tensor([6000.0, 1000.0]) if guidance else None
    padded = torch.full((2, 12, ours.config.text_width), 7.0)  # what the padding holds must not matter
    mask = torch.zeros(2, 12, dtype=torch.bool)
    for row, states in enumerate(text):
        padded[row, : len(states)] = states
        mask[row, : len(states)] = True

    velocity = torch.stack(ours(latents, t, text, pooled, scale))
    expected = reference(torch.stack(latents), t, padded, mask, pooled, guidance=scale, return_dict=False)[0]
    assert expected.abs().mean() > 0.1
    torch.testing.assert_close(velocity, expected, rtol=0, atol=2e-6)

    velocity.square().mean().backward()
    expected.square().mean().backward()
    gradients = {name: p.grad for name, p in ours.named_parameters() if p.grad is not None}
    assert len(gradients) == len(list(ours.parameters()))
    renamed = _to_reference(gradients, ours.config.hidden_size)
    for name, parameter in reference.named_parameters():
        assert parameter.grad is not None, name
        error, size = (renamed[name] - parameter.grad).norm(), parameter.grad.norm()
        # Without a key norm (refiner) softmax ignores the key bias: that gradient is rounding noise around zero.
        assert error < 1e-5 * size or max(error, size) < 1e-7, f"{name}: {error} of {size}"


def test_images_and_videos_packed_together_equal_one_by_one() -> None:
    model = _randomised(DiTConfig(**SIZES)).eval()
    sizes = [(1, 4, 4), (3, 4, 6), (1, 4, 4), (2, 8, 2)]
    latents, t, text, pooled = _inputs(model.config, sizes, [5, 2, 5, 11])
    scale = torch.tensor([6000.0, 1000.0, 1000.0, 3000.0])
    with torch.no_grad():
        packed = model(latents, t, text, pooled, scale)
        for i, velocity in enumerate(packed):
            assert velocity.shape == latents[i].shape
            alone = model([latents[i]], t[i : i + 1], [text[i]], pooled[i : i + 1], scale[i : i + 1])[0]
            torch.testing.assert_close(velocity, alone, rtol=0, atol=2e-6)


def test_a_sample_never_sees_its_neighbour() -> None:
    model = _randomised(DiTConfig(**SIZES, guidance=False)).eval()
    latents, t, text, pooled = _inputs(model.config, [(1, 4, 4), (2, 4, 4)], [3, 6])
    with torch.no_grad():
        before = model(latents, t, text, pooled)
        after = model([latents[0], latents[1] + 1], t, [text[0], text[1] * 2], pooled)
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])


def test_a_new_network_answers_zero() -> None:
    model = VideoDiT(DIT_PRESETS["tiny"])
    latents, t, text, pooled = _inputs(model.config, [(1, 4, 4)], [3])
    assert model(latents, t, text, pooled)[0].abs().max() == 0


def test_full_preset_has_the_released_names_and_count() -> None:
    config = DIT_PRESETS["full"]
    with torch.device("meta"):
        ours, reference = VideoDiT(config), HunyuanVideoTransformer3DModel()
        renamed = _to_reference(ours.state_dict(), config.hidden_size)
    assert sum(parameter.numel() for parameter in ours.parameters()) == 12_821_012_544
    assert len(ours.state_dict()) == 856
    shapes = {name: tuple(tensor.shape) for name, tensor in reference.state_dict().items()}
    assert {name: tuple(tensor.shape) for name, tensor in renamed.items()} == shapes


def test_the_tiny_preset_learns_four_latents() -> None:
    torch.manual_seed(0)
    model = VideoDiT(DIT_PRESETS["tiny"])
    data, _, text, pooled = _inputs(model.config, [(1, 4, 4), (1, 4, 4), (2, 4, 4), (2, 4, 4)], [4, 4, 4, 4])
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(60):
        s = torch.rand(4) * 0.8 + 0.1
        noise = [torch.randn_like(latent) for latent in data]
        noisy = [interpolate(*each) for each in zip(data, noise, s, strict=True)]
        velocities = model(noisy, s * 1000, text, pooled)
        targets = map(velocity_target, data, noise)
        loss = torch.stack([(v - x).square().mean() for v, x in zip(velocities, targets, strict=True)]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10]), losses


def _break(latents: list[Tensor], t: Tensor, text: list[Tensor], pooled: Tensor, which: str) -> tuple:
    if which == "count":
        return latents, t[:1], text, pooled, None
    if which == "size":
        return [latents[0][:, :, :3], latents[1]], t, text, pooled, None
    if which == "channels":
        return [latents[0][:8], latents[1]], t, text, pooled, None
    if which == "text":
        return latents, t, [text[0][:, :5], text[1]], pooled, None
    if which == "empty":
        return latents, t, [text[0][:0], text[1]], pooled, None
    if which == "pooled":
        return latents, t, text, pooled[:, :5], None
    return latents, t, text, pooled, t


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("count", "2 latents, 1 times, 2 texts, 2 pooled"),
        ("size", r"multiples of the patch \(1, 2, 2\), got \[16, 1, 3, 4\]"),
        ("channels", r"got \[8, 1, 4, 4\]"),
        ("text", r"\[L, 24\] with at least one token, got \[3, 5\]"),
        ("empty", r"at least one token, got \[0, 24\]"),
        ("pooled", r"pooled is \[B, 12\], got \[2, 5\]"),
        ("guidance", "has no guidance embedding; got guidance"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(which: str, message: str) -> None:
    model = VideoDiT(DiTConfig(**SIZES, guidance=False))
    with pytest.raises(ValueError, match=message):
        model(*_break(*_inputs(model.config, [(1, 4, 4)] * 2, [3, 4]), which))


def test_a_guided_preset_asks_for_guidance() -> None:
    model = VideoDiT(DiTConfig(**SIZES))
    with pytest.raises(ValueError, match=r"needs guidance.*; got none"):
        model(*_inputs(model.config, [(1, 4, 4)], [3]))
