"""The parity table: every promise to equal diffusers 0.42.1 or plain torch, as a row that can be measured.

    python -m tests.model.parity        prints the table with measured differences, then a JSON dict of them

`test_parity.py` holds each row to its tolerance. Weights are random, numbers float32, the device a CPU. A row gives the
largest absolute difference, unless its name says otherwise.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.model.reference import SIZES, answer, reference_of, to_reference  # isort: skip

import torch
from diffusers.models.transformers.transformer_hunyuan_video import HunyuanVideoTransformer3DModel
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn

from model.dit import VideoDiT
from model.presets import DIT_PRESETS, DiTConfig
from model.sampler import guidance_input, sample, sigma_schedule
from model.text import Kind, TextState
from model.text_tiny import build_tiny_text_encoder
from model.tiling import Tiling
from tests.model.seeded import inputs, randomised
from tests.model.test_tiling import SPACE, TIME, set_tiles
from tests.model.text_encoders import CORPUS, against_the_pipeline
from tests.model.vae_pair import vae_pair
from tests.training.sequence_parallel_worker import DEGREES, launch


@dataclass(frozen=True)
class Row:
    """A promise, and how to measure the distance from it."""

    name: str
    tolerance: float
    measure: Callable[[], float]


ROWS: list[Row] = []


def row(name: str, tolerance: float) -> Callable[[Callable[[], float]], Callable[[], float]]:
    """Enter a function that returns the measured difference into the table."""

    def enter(measure: Callable[[], float]) -> Callable[[], float]:
        ROWS.append(Row(name, tolerance, measure))
        return measure

    return enter


def difference(ours: Iterable[Tensor], expected: Iterable[Tensor]) -> float:
    """Largest absolute difference; what is expected must not be next to nothing, or it would prove nothing."""
    pairs = list(zip(ours, expected, strict=True))
    assert pairs and all(a.shape == b.shape and b.abs().mean() > 0.1 for a, b in pairs)
    return max((a - b).abs().max().item() for a, b in pairs)


def relative_gradients(ours: VideoDiT, references: Iterable[nn.Module]) -> float:
    """Largest norm of a gradient's difference, by its own norm; the references' gradients are summed."""
    gradients = {name: p.grad for name, p in ours.named_parameters() if p.grad is not None}
    renamed = to_reference(gradients, ours.config)
    expected: dict[str, Tensor] = {}
    for reference in references:
        for name, parameter in reference.named_parameters():
            if parameter.grad is not None:
                expected[name] = expected.get(name, torch.zeros_like(parameter)) + parameter.grad
    assert renamed.keys() == expected.keys() and len(gradients) == len(list(ours.parameters()))
    # Without a key norm (refiner) softmax ignores the key bias: that gradient is rounding noise around zero.
    loud = [name for name in expected if max(expected[name].norm(), renamed[name].norm()) >= 1e-10]
    assert all(name.endswith("attn.to_k.bias") for name in expected.keys() - set(loud))
    return max(((renamed[name] - expected[name]).norm() / expected[name].norm()).item() for name in loud)


def _scales(config: DiTConfig, count: int) -> Tensor | None:
    return torch.tensor([6000.0, 1000.0, 3000.0, 1000.0])[:count] if config.guidance else None


def _forward_and_gradients(guidance: bool) -> tuple[float, float]:
    ours = randomised(DiTConfig(**SIZES, guidance=guidance))
    reference = reference_of(ours)
    latents, t, text, pooled = inputs(ours.config, [(3, 4, 6)] * 2, [5, 9])
    scale = _scales(ours.config, 2)
    velocities = ours(latents, t, text, pooled, scale)
    expected = answer(reference, latents, t, text, pooled, scale)
    for answers in (velocities, expected):
        torch.stack(answers).square().mean().backward()
    return difference(velocities, expected), relative_gradients(ours, [reference])


@row("DiT forward, guidance embedded", 2e-6)
def dit_forward() -> float:
    return _forward_and_gradients(guidance=True)[0]


@row("DiT forward, no guidance embedding", 2e-6)
def dit_forward_without_guidance() -> float:
    return _forward_and_gradients(guidance=False)[0]


@row("DiT gradients of all parameters, guidance embedded (relative)", 1e-5)
def dit_gradients() -> float:
    return _forward_and_gradients(guidance=True)[1]


@row("DiT gradients of all parameters, no guidance embedding (relative)", 1e-5)
def dit_gradients_without_guidance() -> float:
    return _forward_and_gradients(guidance=False)[1]


@row("DiT text trimmed against padded to 64", 2e-6)
@torch.no_grad()
def dit_trimmed_against_padded() -> float:
    ours = randomised(DiTConfig(**SIZES))
    latents, t, text, pooled = inputs(ours.config, [(2, 4, 4)] * 3, [1, 7, 33])
    scale = _scales(ours.config, 3)
    expected = answer(reference_of(ours), latents, t, text, pooled, scale, padded_length=64)
    return difference(ours(latents, t, text, pooled, scale), expected)


MIXED_SIZES, MIXED_LENGTHS = [(1, 4, 4), (3, 4, 6), (1, 4, 4), (2, 8, 2)], [5, 2, 5, 11]


@row("DiT images and videos packed against one by one", 2e-6)
@torch.no_grad()
def dit_packed_against_one_by_one() -> float:
    ours = randomised(DiTConfig(**SIZES))
    latents, t, text, pooled = inputs(ours.config, MIXED_SIZES, MIXED_LENGTHS)
    scale = _scales(ours.config, 4)
    assert scale is not None
    alone = [ours([latents[i]], t[[i]], [text[i]], pooled[[i]], scale[[i]])[0] for i in range(4)]
    return difference(ours(latents, t, text, pooled, scale), alone)


@row("DiT images and videos mixed in one forward", 2e-6)
@torch.no_grad()
def dit_mixed_forward() -> float:
    ours = randomised(DiTConfig(**SIZES, guidance=False))
    reference = reference_of(ours)
    latents, t, text, pooled = inputs(ours.config, MIXED_SIZES, MIXED_LENGTHS)
    expected = [answer(reference, [latents[i]], t[[i]], [text[i]], pooled[[i]])[0] for i in range(4)]
    return difference(ours(latents, t, text, pooled), expected)


def _image_to_video() -> tuple[float, float]:
    """One row of text-to-video, image-to-video and an image, against the reference's two networks one by one."""
    ours = randomised(DiTConfig(**SIZES))
    plain, replacing = reference_of(ours), reference_of(ours, token_replace=True)
    latents, t, text, pooled = inputs(ours.config, [(3, 4, 6), (3, 4, 6), (1, 4, 4), (2, 4, 4)], MIXED_LENGTHS)
    scale, clean = _scales(ours.config, 4), [0, 1, 0, 1]
    assert scale is not None
    velocities = ours(latents, t, text, pooled, scale, clean)
    expected = [
        answer(replacing if clean[i] else plain, [latents[i]], t[[i]], [text[i]], pooled[[i]], scale[[i]])[0]
        for i in range(4)
    ]
    for answers in (velocities, expected):
        torch.stack([velocity.square().mean() for velocity in answers]).mean().backward()
    return difference(velocities, expected), relative_gradients(ours, [plain, replacing])


@row("DiT image-to-video, text-to-video and an image in one forward", 2e-6)
def dit_image_to_video() -> float:
    return _image_to_video()[0]


@row("DiT gradients of image-to-video, text-to-video and an image (relative)", 1e-5)
def dit_image_to_video_gradients() -> float:
    return _image_to_video()[1]


@row("DiT names and shapes at full size (tensors that differ)", 0)
def dit_names_and_shapes() -> float:
    config = DIT_PRESETS["full"]
    with torch.device("meta"):
        ours = to_reference(VideoDiT(config).state_dict(), config)
        reference = HunyuanVideoTransformer3DModel().state_dict()
    shapes = [{(name, tuple(tensor.shape)) for name, tensor in state.items()} for state in (ours, reference)]
    return len(shapes[0] ^ shapes[1])


SMALL = {**SIZES, "hidden_size": 32, "num_heads": 2, "num_dual_blocks": 1, "num_single_blocks": 1, "text_width": 8}
SHAPES = [(16, 3, 4, 4), (16, 2, 4, 6)]


def _scheduler(num_steps: int, shift: float) -> Any:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(sigmas=torch.linspace(1, 0, num_steps + 1)[:-1].tolist())
    return scheduler


@row("flow times of 50 steps at shift 7", 1e-6)
def sampler_schedule() -> float:
    return difference([sigma_schedule(50, 7.0)], [torch.as_tensor(_scheduler(50, 7.0).sigmas)])


@torch.no_grad()
def _walk(first: list[Tensor | None]) -> float:
    """Fifty steps of both samplers with our network, so that only the walk can differ."""
    ours = randomised(DiTConfig(**SMALL, guidance=False))
    _, _, text, pooled = inputs(ours.config, [shape[1:] for shape in SHAPES], [3, 5])
    walked = sample(ours, SHAPES, text, pooled, 50, 7.0, torch.Generator().manual_seed(7), first=first)
    generator = torch.Generator().manual_seed(7)
    expected = []
    for i, x in enumerate([torch.randn(shape, generator=generator) for shape in SHAPES]):
        image = first[i]
        still = 0 if image is None else 1
        if image is not None:  # how the pipeline of image-to-video starts
            x = x * torch.tensor([0.999]) + image.repeat(1, x.shape[1], 1, 1) * (1 - torch.tensor([0.999]))
        scheduler = _scheduler(50, 7.0)
        for t in scheduler.timesteps:
            x = x if image is None else torch.cat((image, x[:, 1:]), dim=1)
            velocity = ours([x], t[None], [text[i]], pooled[[i]], clean_frames=[still])[0]
            moved = scheduler.step(velocity[:, still:], t, x[:, still:], return_dict=False)[0]
            x = torch.cat((x[:, :still], moved), dim=1)
        expected.append(x)
    return difference(walked, expected)


@row("sampler, 50 steps of text-to-video", 1e-6)
def sampler_walk() -> float:
    return _walk([None, None])


@row("sampler, 50 steps of image-to-video beside text-to-video", 1e-6)
def sampler_image_walk() -> float:
    return _walk([torch.randn(16, 1, 4, 4, generator=torch.Generator().manual_seed(3)), None])


@row("guidance input in bfloat16 against 6016, 4992, 3008", 0)
def guidance_rounding() -> float:
    released = {6.0: 6016.0, 5.0: 4992.0, 3.0: 3008.0}
    return max(abs(guidance_input(scale, bfloat16_rounding=True) - value) for scale, value in released.items())


@torch.no_grad()
def _vae(size: tuple[int, int, int], dtype: torch.dtype = torch.float32, convention: str = "") -> tuple[float, float]:
    """Differences of latents and of decoded pixels, whole or in the tiles of a convention shrunk fourfold."""
    ours, reference = (side.to(dtype) for side in vae_pair())
    tiling = Tiling(**SPACE, **TIME[convention]) if convention else None
    if tiling:
        set_tiles(reference, tiling)
    video = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1)).to(dtype) * 2 - 1
    posterior, expected = ours.encode(video, tiling), reference.encode(video).latent_dist
    encoded = difference([posterior.mean, posterior.logvar], [expected.mean, expected.logvar])
    return encoded, difference([ours.decode(posterior.mean, tiling)], [reference.decode(posterior.mean).sample])


TILED = {"size": (29, 24, 88), "dtype": torch.float64}
for _what, _tolerances, _how in (
    ("clip", (1e-6, 2e-5), {"size": (21, 32, 48)}),
    ("clip in tiles of the original convention, in float64", (1e-11, 1e-11), {**TILED, "convention": "original"}),
    ("clip in tiles of diffusers' convention, in float64", (1e-11, 1e-11), {**TILED, "convention": "diffusers"}),
    ("image in float64", (1e-12, 1e-12), {"size": (1, 32, 48), "dtype": torch.float64}),
    ("image in float32, whose taps in time are added up first", (5e-6, 4e-5), {"size": (1, 32, 48)}),
):
    for _at, _name in enumerate(("encode", "decode")):
        row(f"VAE {_name}, {_what}", _tolerances[_at])(lambda at=_at, how=_how: _vae(**how)[at])


def _text(kind: Kind) -> list[tuple[TextState, TextState]]:
    with TemporaryDirectory() as folder:
        return against_the_pipeline(build_tiny_text_encoder(folder, CORPUS, seed=0), kind, [*CORPUS, "", "rain " * 99])


@row("text tokens of image and video prompts (too many or too few)", 0)
def text_tokens() -> float:
    pairs = [*_text("image"), *_text("video")]
    return float(sum(abs(len(ours.states) - len(theirs.states)) for ours, theirs in pairs))


@row("text states and vectors of image and video prompts", 1e-6)
def text_states() -> float:
    pairs = [*_text("image"), *_text("video")]
    return difference(
        *zip(*((getattr(a, name), getattr(b, name)) for a, b in pairs for name in ("states", "pooled")), strict=True)
    )


def processes() -> list[Row]:
    """Rows of the sequence-parallel processes, which tests/training/test_sequence_parallel.py holds to 1e-5."""
    with TemporaryDirectory() as folder:
        found = launch(Path(folder))
    rows = []
    for degree in DEGREES:
        ranks = [rank[str(degree)] for rank in found[:degree]]
        for name in ("forward", "gradients"):
            worst = max(rank[row][name] for rank in ranks for row in ("alone", "packed"))
            rows.append(Row(f"DiT {name} on {degree} processes against one", 1e-5, partial(float, worst)))
        worst = max(rank["sample"] for rank in ranks)
        rows.append(Row(f"sampler on {degree} processes against one", 1e-5, partial(float, worst)))
    return rows


def main() -> None:
    """Measure every row and print the table."""
    torch.set_num_threads(1)
    print("| what | tolerance | measured |\n|---|---|---|")
    measured = {}
    for one in [*ROWS, *processes()]:
        measured[one.name] = one.measure()
        print(f"| {one.name} | {one.tolerance:g} | {measured[one.name]:.1e} |", flush=True)
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
