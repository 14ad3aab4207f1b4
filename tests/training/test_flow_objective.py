"""Flow matching, on a real network with latents and texts that a source gives."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from model.dit import VideoDiT
from tests.model.seeded import randomised
from tests.training.encoded_source import CLIPS, TINY, SeededSource, clip_of
from training.caption_settings import CaptionSettings
from training.data import PackedClip, Sample, seed_of
from training.flow_objective import NOISE_LEVELS, FlowBatch, FlowObjective, token_shift
from training.networks import build_network
from training.stages import StageSettings

STAGE = StageSettings(name="mixed", shards={"image": 1, "video": 1}, shift=3.0, text_dropout=0.0)
CAPTIONS = CaptionSettings(variants=3)


def samples_of(clips: Sequence[PackedClip], start: int = 0) -> list[Sample]:
    return [Sample(clip, number, seed_of("test", number)) for number, clip in enumerate(clips, start)]


def flow(dit: VideoDiT | None = None, **changes: object) -> FlowObjective:
    network = dit or build_network(TINY, seed=0)
    assert isinstance(network, VideoDiT)
    return FlowObjective(network, SeededSource(), STAGE.model_copy(update=changes), CAPTIONS)


def prepared(objective: FlowObjective, samples: Sequence[Sample]) -> FlowBatch:
    return objective.prepare(samples, [objective.fetch(sample) for sample in samples])


@pytest.fixture(scope="module")
def lively() -> VideoDiT:
    """A network whose every weight takes part."""
    network = randomised(TINY)
    assert isinstance(network, VideoDiT)
    return network


def test_targets_lead_from_the_noisy_latent_back_to_the_clip():
    objective, samples = flow(), samples_of(CLIPS)
    batch = prepared(objective, samples)
    assert [tuple(latent.shape) for latent in batch.noisy[:2]] == [(16, 1, 4, 4), (16, 2, 4, 4)]
    for sample, noisy, target, s in zip(samples, batch.noisy, batch.target, batch.s_B, strict=True):
        latent = objective.source.latent(sample.clip, seed_of("posterior", sample.seed))
        assert torch.allclose(noisy - s * target, latent, atol=1e-5)


def test_the_noise_is_another_draw_than_that_from_the_posterior():
    objective, (sample,) = flow(), samples_of(CLIPS[3:])
    batch = prepared(objective, [sample])
    drawn = (
        objective.source.latent(sample.clip, seed_of("posterior", sample.seed))
        - SeededSource().latent(sample.clip, None)
    ) / 0.1
    noise = batch.target[0] + objective.source.latent(sample.clip, seed_of("posterior", sample.seed))
    assert abs(torch.corrcoef(torch.stack([drawn.flatten(), noise.flatten()]))[0, 1].item()) < 0.15


def test_a_new_transformer_predicts_zero_so_its_loss_is_the_size_of_the_target():
    objective = flow()
    batch = prepared(objective, samples_of(CLIPS))
    losses = objective.loss(batch)
    assert losses.tolist() == pytest.approx([target.square().mean().item() for target in batch.target])
    assert torch.equal(objective.noise(batch), batch.s_B) and objective.parts() == {}


def test_a_sample_alone_is_the_same_sample_in_a_batch(lively):
    objective, samples = flow(lively, image_to_video=0.5), samples_of(CLIPS)
    together, alone = prepared(objective, samples), prepared(objective, samples[3:])
    assert torch.equal(alone.noisy[0], together.noisy[3]) and torch.equal(alone.s_B[0], together.s_B[3])
    assert torch.equal(alone.states[0], together.states[3])
    assert objective.loss(alone)[0].item() == pytest.approx(objective.loss(together)[3].item(), rel=1e-5)


def test_texts_are_drawn_among_the_variants_of_a_clip():
    objective = flow()
    batch = prepared(objective, [Sample(CLIPS[0], 0, seed) for seed in range(30)])
    assert {len(states) for states in batch.states} == {3, 4, 5}


def test_dropped_text_is_the_empty_one_of_the_clips_kind_and_the_vector_can_be_dropped_by_itself():
    samples = samples_of(CLIPS[:2])
    dropped = prepared(flow(text_dropout=1.0), samples)
    assert [states.unique().tolist() for states in dropped.states] == [[1.0], [2.0]]
    assert dropped.pooled_BD.unique(dim=1).flatten().tolist() == [1.0, 2.0]
    apart = prepared(flow(pooled_text_dropout=1.0), samples)
    assert torch.equal(apart.pooled_BD, dropped.pooled_BD)
    assert torch.equal(apart.states[0], prepared(flow(), samples).states[0])


def test_an_image_to_video_share_keeps_first_frames_clean_and_leaves_them_out_of_the_loss():
    objective, plain, samples = flow(image_to_video=1.0), flow(), samples_of(CLIPS)
    batch, without = prepared(objective, samples), prepared(plain, samples)
    assert batch.clean_frames == [0, 1, 0, 1] and without.clean_frames == [0] * 4
    for i, frames in enumerate(batch.clean_frames):
        latent = without.noisy[i] - without.s_B[i] * without.target[i]
        assert torch.allclose(batch.noisy[i][:, :frames], latent[:, :frames], atol=1e-5)
        assert torch.equal(batch.noisy[i][:, frames:], without.noisy[i][:, frames:])
    pairs = zip(batch.target, batch.clean_frames, strict=True)  # a new transformer predicts zero
    assert objective.loss(batch).tolist() == pytest.approx([x[:, n:].square().mean().item() for x, n in pairs])
    drawn = prepared(flow(image_to_video=0.5), [Sample(CLIPS[1], 0, seed) for seed in range(40)]).clean_frames
    assert 10 <= sum(drawn) <= 30


def test_the_shift_follows_the_tokens_as_open_sora_says():
    assert token_shift((1, 16, 16)) == 1.0
    assert token_shift((1, 64, 64)) == 3.0
    assert token_shift((33, 45, 80)) == pytest.approx((1 + 2 * (3600 - 256) / 3840) * math.sqrt(33))
    long, short = ([Sample(clip_of("x", frames), 0, seed) for seed in range(60)] for frames in (33, 1))
    objective = flow(shift="tokens")
    assert prepared(objective, long).s_B.median() > prepared(objective, short).s_B.median() + 0.1


def test_a_share_of_the_times_is_drawn_evenly_and_is_not_shifted():
    samples = [Sample(CLIPS[0], 0, seed_of("even", seed)) for seed in range(400)]
    shifted, even, mixed = (prepared(flow(shift=20.0, uniform_times=share), samples).s_B for share in (0.0, 1.0, 0.3))
    assert shifted.median() > 0.9 and even.median().item() == pytest.approx(0.5, abs=0.07)
    assert (even < 0.1).float().mean().item() == pytest.approx(0.1, abs=0.05)
    assert torch.isin(mixed, even).float().mean().item() == pytest.approx(0.3, abs=0.07)
    assert torch.isin(mixed, torch.cat((even, shifted))).all()


def test_a_network_that_embeds_guidance_is_told_the_stages_scale():
    network = randomised(replace(TINY, guidance=True))
    assert isinstance(network, VideoDiT)
    objective, samples = flow(network, guidance=4.0), samples_of(CLIPS[:2])
    batch = prepared(objective, samples)
    told = network(
        batch.noisy, batch.s_B * 1000, batch.states, batch.pooled_BD, torch.full((2,), 4000.0), batch.clean_frames
    )
    assert torch.equal(objective.loss(batch), objective.errors(told, batch.target, batch))
    assert not torch.equal(objective.loss(batch), flow(network, guidance=1.0).loss(batch))


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")  # of the norms of query and key
def test_the_loss_is_float32_and_near_in_bfloat16(lively):
    objective = flow(lively)
    batch = prepared(objective, samples_of(CLIPS))
    exact = objective.loss(batch)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = objective.loss(batch)
    narrow = flow(VideoDiT(TINY).bfloat16())
    narrow.dit.load_state_dict(lively.state_dict())
    for losses in (mixed, narrow.loss(batch)):
        assert losses.dtype == torch.float32
        assert not torch.equal(losses, exact)
        assert torch.allclose(losses, exact, rtol=0.02)


def test_measuring_has_nothing_random_in_it_and_names_each_noise_level(lively):
    objective = flow(lively)
    loss, parts = objective.measure(CLIPS)
    assert (loss, parts) == objective.measure(CLIPS)
    assert list(parts) == [f"noise_{level}" for level in NOISE_LEVELS]
    assert loss == pytest.approx(sum(parts.values()) / 5)
    apart, _ = flow(lively, micro_batch_tokens=8).measure(CLIPS)  # one clip at a time
    assert apart == pytest.approx(loss, rel=1e-5)
    assert lively.training


def test_flops_are_three_forwards_and_two_where_weights_are_frozen():
    objective = flow()
    batch = prepared(objective, samples_of(CLIPS))
    forward = objective.forward_flops(batch).forward
    assert objective.flops(batch) == 3 * forward
    objective.dit.requires_grad_(False)
    assert objective.flops(batch) == 2 * forward
