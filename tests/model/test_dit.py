"""The transformer's promises about packed rows, and what it refuses. `test_parity.py` holds it to the reference."""

import pytest
import torch
from torch import Tensor

from model.dit import VideoDiT
from model.flow import interpolate, velocity_target
from model.presets import DIT_PRESETS, DiTConfig
from tests.model.reference import SIZES
from tests.model.seeded import inputs, randomised


def test_a_sample_never_sees_its_neighbour() -> None:
    model = randomised(DiTConfig(**SIZES, guidance=False)).eval()
    latents, t, text, pooled = inputs(model.config, [(1, 4, 4), (2, 4, 4)], [3, 6])
    with torch.no_grad():
        before = model(latents, t, text, pooled)
        after = model([latents[0], latents[1] + 1], t, [text[0], text[1] * 2], pooled)
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])


def test_a_clean_frame_is_seen_at_time_zero_whatever_the_sample_s_time_and_guidance() -> None:
    model = randomised(DiTConfig(**SIZES))
    latents, t, text, pooled = inputs(model.config, [(2, 4, 4)], [3])
    embedded: list[Tensor] = []
    model.double_blocks[0].get_submodule("img_mod").register_forward_hook(
        lambda _, given, __: embedded.append(given[0])
    )
    with torch.no_grad():
        model(latents, t, text, pooled, torch.tensor([6000.0]), clean_frames=[1])
        model(latents, t / 2, text, pooled, torch.tensor([1000.0]), clean_frames=[1])
    assert [tuple(vectors.shape) for vectors in embedded] == [(2, 64)] * 2
    assert torch.equal(embedded[0][0], embedded[1][0]) and not torch.equal(embedded[0][1], embedded[1][1])


def test_no_clean_frames_is_the_same_as_none_named() -> None:
    model = randomised(DiTConfig(**SIZES, guidance=False))
    given = inputs(model.config, [(2, 4, 4), (1, 4, 4)], [3, 2])
    with torch.no_grad():
        assert all(map(torch.equal, model(*given), model(*given, clean_frames=[0, 0])))


@pytest.mark.parametrize(
    ("clean", "message"),
    [
        ([1], r"0 or 1 for each of 2 latents, got \[1\]"),
        ([0, 2], r"0 or 1 for each of 2 latents, got \[0, 2\]"),
        ([1, 1], r"latents \[1\] are images"),
    ],
)
def test_clean_frames_that_make_no_sense_are_refused(clean: list[int], message: str) -> None:
    model = VideoDiT(DiTConfig(**SIZES, guidance=False))
    with pytest.raises(ValueError, match=message):
        model(*inputs(model.config, [(2, 4, 4), (1, 4, 4)], [3, 4]), clean_frames=clean)


def test_a_new_network_answers_zero() -> None:
    model = VideoDiT(DIT_PRESETS["tiny"])
    latents, t, text, pooled = inputs(model.config, [(1, 4, 4)], [3])
    assert model(latents, t, text, pooled)[0].abs().max() == 0


def test_the_tiny_preset_learns_four_latents() -> None:
    torch.manual_seed(0)
    model = VideoDiT(DIT_PRESETS["tiny"])
    data, _, text, pooled = inputs(model.config, [(1, 4, 4), (1, 4, 4), (2, 4, 4), (2, 4, 4)], [4, 4, 4, 4])
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
        model(*_break(*inputs(model.config, [(1, 4, 4)] * 2, [3, 4]), which))


def test_a_guided_preset_asks_for_guidance() -> None:
    model = VideoDiT(DiTConfig(**SIZES))
    with pytest.raises(ValueError, match=r"needs guidance.*; got none"):
        model(*inputs(model.config, [(1, 4, 4)], [3]))
