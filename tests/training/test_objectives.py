"""What the stages optimise, on real networks and decoded clips."""

import numpy as np
import pytest
import torch

from curation.tables import Workspace
from model.presets import DIT_PRESETS, VAE_PRESETS
from model.text import TextEncoder
from model.vae import CausalVideoVAE
from training.data import ClipLibrary, PackedClip, Sample, seed_of
from training.networks import build_network, make_text_encoder, open_text_encoder
from training.objectives import NOISE_LEVELS, FlowObjective, VAEObjective, generator_of, to_tensor
from training.stages import StageSettings, TextSettings

VAE_STAGE = StageSettings(name="vae", objective="vae", shards={"image": 1, "video": 1}, crop_px=16, crop_frames=5)
FLOW_STAGE = StageSettings(name="mixed", shards={"image": 1, "video": 1}, shift=3.0, text_dropout=0.0)


@pytest.fixture
def library(shapes) -> ClipLibrary:
    return ClipLibrary(shapes, ["image", "video"])


@pytest.fixture
def vae() -> CausalVideoVAE:
    network = build_network(VAE_PRESETS["tiny"], seed=0)
    assert isinstance(network, CausalVideoVAE)
    return network


@pytest.fixture
def text(shapes: Workspace) -> TextEncoder:
    return open_text_encoder(shapes, TextSettings(), make_text_encoder(shapes, ["a red disc moves right"], seed=0))


def samples_of(clips: list[PackedClip]) -> list[Sample]:
    return [Sample(clip, number, seed_of("test", number)) for number, clip in enumerate(clips)]


def mixed_samples(library: ClipLibrary) -> list[Sample]:
    images, videos = library.clips["image"], library.clips["video"]
    return samples_of([images[0], videos[0], images[1], videos[1], images[2]])


def flow(vae: CausalVideoVAE, text: TextEncoder, library: ClipLibrary, stage: StageSettings = FLOW_STAGE):
    dit = build_network(DIT_PRESETS["tiny"], seed=0)
    vae.eval().requires_grad_(False)
    return FlowObjective(dit, vae, text, stage, library.pixels)  # type: ignore[arg-type]


def test_pixels_map_to_minus_one_to_one():
    frames = np.array([0, 255, 127], np.uint8).reshape(1, 1, 1, 3)
    video = to_tensor(frames)
    assert video.shape == (3, 1, 1, 1)
    assert video.flatten().tolist() == pytest.approx([-1, 1, -1 / 255])


def test_images_and_videos_share_a_vae_batch_without_padding(vae, library):
    objective = VAEObjective(vae, VAE_STAGE, library.pixels, library.clips["image"])
    batch = objective.prepare(mixed_samples(library))
    assert [tuple(group.video_BCTHW.shape) for group in batch] == [(3, 3, 1, 16, 16), (2, 3, 5, 16, 16)]
    losses = objective.loss(batch)
    assert losses.shape == (5,)
    losses.mean().backward()
    assert all(weight.grad is not None for weight in vae.parameters())


def test_crops_follow_from_the_sample_and_lie_within_the_clip(vae, library):
    objective = VAEObjective(vae, VAE_STAGE, library.pixels, library.clips["image"])
    clip = library.clips["video"][0]
    whole = to_tensor(library.pixels(clip))
    crops = [objective.prepare([Sample(clip, 0, seed)])[0].video_BCTHW[0] for seed in range(6)]
    assert torch.equal(crops[0], objective.prepare([Sample(clip, 0, 0)])[0].video_BCTHW[0])
    assert len({tuple(crop.flatten().tolist()) for crop in crops}) > 3
    windows = whole.unfold(2, 16, 1).unfold(3, 16, 1)
    for crop in crops:
        assert (windows == crop[:, :, None, None]).flatten(4).all(-1).all(0).all(0).any()


def test_the_kl_term_is_weighted(vae, library):
    samples = mixed_samples(library)
    plain = VAEObjective(vae, VAE_STAGE.model_copy(update={"kl_weight": 0.0}), library.pixels, [])
    heavy = VAEObjective(vae, VAE_STAGE.model_copy(update={"kl_weight": 1.0}), library.pixels, [])
    with torch.no_grad():
        extra = heavy.loss(heavy.prepare(samples)) - plain.loss(plain.prepare(samples))
        group = heavy.prepare(samples)[1].video_BCTHW
        posterior = vae.encode(group)
    assert torch.allclose(extra[3:], posterior.kl() / posterior.mean[0].numel(), atol=1e-5)


def test_the_vae_learns_and_its_scale_brings_latents_to_unit_size(vae, library):
    objective = VAEObjective(vae, VAE_STAGE, library.pixels, library.clips["image"])
    result = objective.result()
    scale = result["config"]["scaling_factor"]
    latents = [vae.encode(to_tensor(library.pixels(clip))[None]) for clip in library.clips["image"]]
    sampled = torch.cat([scale * posterior.sample(generator_of(0)) for posterior in latents])
    assert sampled.square().mean().item() == pytest.approx(1.0, abs=0.1)


def test_flow_targets_lead_from_the_noisy_latent_back_to_the_clip(vae, text, library):
    objective = flow(vae, text, library)
    samples = mixed_samples(library)
    batch = objective.prepare(samples)
    assert [tuple(latent.shape) for latent in batch.noisy[:2]] == [(16, 1, 8, 8), (16, 2, 8, 8)]
    for i, sample in enumerate(samples):
        posterior = vae.encode(to_tensor(library.pixels(sample.clip))[None])
        latent = vae.to_latent(posterior.sample(generator_of(sample.seed)))[0]
        s = batch.t_B[i] / 1000
        assert torch.allclose(batch.noisy[i] - s * batch.target[i], latent, atol=1e-4)


def test_a_new_transformer_predicts_zero_so_its_loss_is_the_size_of_the_target(vae, text, library):
    objective = flow(vae, text, library)
    batch = objective.prepare(mixed_samples(library))
    losses = objective.loss(batch)
    assert losses.tolist() == pytest.approx([target.square().mean().item() for target in batch.target])


def test_a_sample_alone_is_the_same_sample_in_a_batch(vae, text, library):
    objective = flow(vae, text, library)
    samples = mixed_samples(library)
    together = objective.prepare(samples)
    alone = objective.prepare(samples[3:4])
    assert torch.equal(alone.noisy[0], together.noisy[3])
    assert torch.equal(alone.t_B[0], together.t_B[3])
    assert torch.allclose(alone.text[0].states, together.text[3].states, atol=1e-5)


def test_dropped_text_is_the_empty_prompt(vae, text, library):
    objective = flow(vae, text, library, FLOW_STAGE.model_copy(update={"text_dropout": 1.0}))
    samples = mixed_samples(library)[:2]
    batch = objective.prepare(samples)
    (empty,) = text.encode([""], "image")
    assert torch.allclose(batch.text[0].states, empty.states, atol=1e-5)


def test_the_vector_is_dropped_by_itself_where_it_has_a_chance_of_its_own(vae, text, library):
    stage = FLOW_STAGE.model_copy(update={"text_dropout": 0.0, "pooled_text_dropout": 1.0})
    samples = mixed_samples(library)[:2]
    batch, whole = (flow(vae, text, library, each).prepare(samples) for each in (stage, FLOW_STAGE))
    (empty,) = text.encode([""], "image")
    assert torch.allclose(batch.text[0].pooled, empty.pooled, atol=1e-5)
    assert torch.equal(batch.text[0].states, whole.text[0].states)
    assert not torch.allclose(whole.text[0].pooled, empty.pooled, atol=1e-3)


def test_an_image_to_video_share_keeps_first_frames_clean_and_leaves_them_out_of_the_loss(vae, text, library):
    plain = flow(vae, text, library)
    objective = flow(vae, text, library, FLOW_STAGE.model_copy(update={"image_to_video": 1.0}))
    samples = mixed_samples(library)
    batch, without = objective.prepare(samples), plain.prepare(samples)
    assert batch.clean_frames == [0, 1, 0, 1, 0] and without.clean_frames == [0] * 5
    for i, frames in enumerate(batch.clean_frames):
        latent = without.noisy[i] - without.t_B[i] / 1000 * without.target[i]
        assert torch.allclose(batch.noisy[i][:, :frames], latent[:, :frames], atol=1e-4)
        assert torch.equal(batch.noisy[i][:, frames:], without.noisy[i][:, frames:])
    pairs = zip(batch.target, batch.clean_frames, strict=True)  # a new transformer predicts zero
    assert objective.loss(batch).tolist() == pytest.approx([x[:, n:].square().mean().item() for x, n in pairs])


def test_the_share_of_image_to_video_is_drawn_by_sample(vae, text, library):
    objective = flow(vae, text, library, FLOW_STAGE.model_copy(update={"image_to_video": 0.5}))
    clip = library.clips["video"][0]
    drawn = [objective.prepare([Sample(clip, 0, seed)]).clean_frames[0] for seed in range(20)]
    assert drawn == [objective.prepare([Sample(clip, 0, seed)]).clean_frames[0] for seed in range(20)]
    assert 4 <= sum(drawn) <= 16


def test_measuring_has_nothing_random_in_it_and_names_each_noise_level(vae, text, library):
    objective = flow(vae, text, library)
    loss, parts = objective.measure(library.clips["video"])
    assert (loss, parts) == objective.measure(library.clips["video"])
    assert list(parts) == [f"noise_{level}" for level in NOISE_LEVELS]
    assert loss == pytest.approx(sum(parts.values()) / 5)


def test_the_vae_is_measured_on_whole_clips(vae, library):
    objective = VAEObjective(vae, VAE_STAGE, library.pixels, [])
    loss, parts = objective.measure(library.clips["video"][:1])
    video = to_tensor(library.pixels(library.clips["video"][0]))[None]
    with torch.no_grad():
        decoded = vae.decode(vae.encode(video).mode()).clamp(-1, 1)
    assert loss == parts["l1"] == pytest.approx((decoded - video).abs().mean().item(), rel=1e-5)
    mse = ((decoded - video) / 2).square().mean().item()
    assert parts["psnr_db"] == pytest.approx(-10 * np.log10(mse), rel=1e-4)
