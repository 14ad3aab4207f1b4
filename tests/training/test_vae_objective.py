"""The VAE's whole loss on a real VAE, a real critic and decoded clips; LPIPS with random weights, as none are here."""

import pickle
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from curation.records import UserError
from model.discriminator import adversarial_loss, critic_loss
from model.perceptual import LPIPS
from model.presets import VAE_PRESETS, VAEConfig
from model.tiling import Tiling
from model.vae import CausalVideoVAE
from model.vae_flops import count_vae_flops
from training.clip_tensors import generator_of, to_tensor
from training.data import ClipLibrary, PackedClip, Sample, seed_of
from training.networks import build_network
from training.stages import LPIPSSettings, StageSettings
from training.vae_objective import CropReader, VAEObjective, VideoGroup, lpips_of, stage_tiling

SMALL = VAEConfig(block_out_channels=(8, 8, 16, 16), num_layers=1, num_groups=4)
STAGE = StageSettings(name="vae", objective="vae", shards={"image": 1, "video": 1}, crop_px=16, crop_frames=5)
WHOLE = STAGE.model_copy(update={"lpips_weight": 0.1, "adversarial_weight": 0.05, "kl_weight": 1e-3})


@pytest.fixture
def library(shapes) -> ClipLibrary:
    return ClipLibrary(shapes, ["image", "video"])


@pytest.fixture
def vae() -> CausalVideoVAE:
    network = build_network(SMALL, seed=0)
    assert isinstance(network, CausalVideoVAE)
    return network


@pytest.fixture(scope="module")
def lpips() -> LPIPS:
    torch.manual_seed(0)
    return LPIPS()


def mixed_samples(library: ClipLibrary) -> list[Sample]:
    images, videos = library.clips["image"], library.clips["video"]
    clips = [images[0], videos[0], images[1], videos[1], images[2]]
    return [Sample(clip, number, seed_of("test", number)) for number, clip in enumerate(clips)]


def batch_of(objective: VAEObjective, samples: Sequence[Sample]) -> list[VideoGroup]:
    return objective.prepare(samples, [objective.fetch(sample) for sample in samples])


def numbered_frames(clip: PackedClip) -> np.ndarray:
    """Pixels that tell which frame, row and column they are; at most 64 of each."""
    t, y, x = np.indices((clip.num_frames, clip.height, clip.width))
    return np.stack((t, y, x), axis=-1).astype(np.uint8)


def clip_like(library: ClipLibrary, num_frames: int) -> PackedClip:
    return replace(library.clips["video"][0], num_frames=num_frames)


def test_images_and_videos_share_a_batch_without_padding_and_losses_keep_the_samples_order(vae, library, lpips):
    objective = VAEObjective(vae, WHOLE, library.pixels, library.clips["image"], lpips)
    samples = mixed_samples(library)
    batch = batch_of(objective, samples)
    assert [tuple(group.video_BCTHW.shape) for group in batch] == [(3, 3, 1, 16, 16), (2, 3, 5, 16, 16)]
    losses, critics = objective.loss(batch, 0), objective.critic_loss(batch)
    for place, sample in enumerate(samples):  # so nothing depends on what else is in the batch
        alone = batch_of(objective, [sample])
        torch.testing.assert_close(objective.loss(alone, 0)[0], losses[place], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(objective.critic_loss(alone)[0], critics[place], rtol=1e-4, atol=1e-5)
    losses.mean().backward()
    assert all(weight.grad is not None for weight in vae.parameters())


def test_the_loss_is_the_weighted_sum_of_its_terms(vae, library, lpips):
    objective = VAEObjective(vae, WHOLE, library.pixels, [], lpips)
    (group,) = batch = batch_of(objective, mixed_samples(library)[1:2])
    loss = objective.loss(batch, 0)
    parts = objective.parts() | {"critic": objective.critic_loss(batch).mean()}
    video = group.video_BCTHW
    with torch.no_grad():
        posterior = vae.encode(video)
        decoded = vae.decode(posterior.sample(generator_of(group.seeds[0])))
        assert objective.critic is not None
        scores, filmed = objective.critic(decoded), objective.critic(video)
        expected = {
            "l1": (decoded - video).abs().mean(),
            "lpips": lpips(decoded, video).mean(),
            "adversarial": adversarial_loss(scores).mean(),
            "kl": posterior.kl().mean() / posterior.mean.numel(),
            "critic": critic_loss(filmed, scores).mean(),
        }
    assert parts.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-4, atol=1e-6, msg=name)
    total = parts["l1"] + 0.1 * parts["lpips"] + 0.05 * parts["adversarial"] + 1e-3 * parts["kl"]
    torch.testing.assert_close(loss.mean().detach(), total)


def test_each_term_moves_the_vae_and_the_critic_is_moved_by_its_own_loss_alone(vae, library, lpips):
    objective = VAEObjective(vae, WHOLE, library.pixels, [], lpips)
    batch = batch_of(objective, mixed_samples(library)[:2])
    last = vae.get_parameter("decoder.conv_out.conv.weight")
    gradients = []
    for name in ("kl_weight", "lpips_weight", "adversarial_weight"):
        objective.stage = WHOLE.model_copy(update={name: 0.0})
        (without,) = torch.autograd.grad(objective.loss(batch, 0).mean(), last)
        gradients.append(without)
    objective.stage = WHOLE
    objective.loss(batch, 0).mean().backward()
    assert objective.critic is not None and last.grad is not None
    assert all(weight.grad is None for weight in objective.critic.parameters())
    assert all(weight.grad is None for weight in lpips.parameters())
    assert [torch.equal(without, last.grad) for without in gradients] == [True, False, False]  # KL is the encoder's
    before = last.grad.clone()
    objective.critic_loss(batch).mean().backward()
    assert all(weight.grad is not None for weight in objective.critic.parameters())
    assert torch.equal(before, last.grad)


def test_the_vae_listens_to_the_critic_from_its_step_on_and_the_critic_learns_before(vae, library):
    stage = STAGE.model_copy(update={"adversarial_weight": 0.05, "adversarial_from": 3})
    objective = VAEObjective(vae, stage, library.pixels, [])
    plain = VAEObjective(vae, STAGE, library.pixels, [])
    batch = batch_of(objective, mixed_samples(library)[:2])
    assert plain.critic is None
    assert torch.equal(objective.loss(batch, 2), plain.loss(batch, 2))
    assert "adversarial" not in objective.parts() and objective.critic_loss(batch).requires_grad
    assert not torch.equal(objective.loss(batch, 3), plain.loss(batch, 3))
    assert "adversarial" in objective.parts()


def test_crops_follow_from_the_sample_and_lie_within_the_clip(library):
    read, clip = CropReader(library.pixels, STAGE), library.clips["video"][0]
    whole = to_tensor(library.pixels(clip))
    crops = [to_tensor(read(Sample(clip, 0, seed))) for seed in range(6)]
    assert torch.equal(crops[0], to_tensor(read(Sample(clip, 9, 0))))
    assert len({tuple(crop.flatten().tolist()) for crop in crops}) > 3
    windows = whole.unfold(2, 16, 1).unfold(3, 16, 1)
    for crop in crops:
        assert (windows == crop[:, :, None, None]).flatten(4).all(-1).all(0).all(0).any()


@pytest.mark.parametrize(("num_frames", "largest"), [(5, 1), (9, 2), (33, 8), (61, 8), (1, 1)])
def test_frames_of_a_crop_are_an_interval_apart_that_the_clip_has_room_for(library, num_frames: int, largest: int):
    read = CropReader(numbered_frames, STAGE.model_copy(update={"frame_interval": 8}))
    clip = clip_like(library, num_frames)
    drawn, starts = [], set()
    for seed in range(120):
        times = read(Sample(clip, 0, seed_of("interval test", seed)))[:, 0, 0, 0].astype(int).tolist()
        assert len(times) == min(5, num_frames) and len(set(np.diff(times))) <= 1
        drawn.append(times[1] - times[0] if num_frames > 1 else 1)
        starts.add(times[0])
    counts = [drawn.count(interval) for interval in range(1, largest + 1)]
    assert sum(counts) == 120 and min(counts) > 60 / largest / 2
    assert min(starts) == 0 and (num_frames in (1, 5) or len(starts) > 2)


def test_reading_knows_no_network_and_can_be_sent_to_another_process(vae, library):
    objective = VAEObjective(vae, STAGE, numbered_frames, [])
    sent = pickle.dumps(objective.fetch)
    assert len(sent) < 10_000
    sample = Sample(clip_like(library, 9), 0, 4)
    frames = pickle.loads(sent)(sample)
    assert np.array_equal(frames, objective.fetch(sample)) and frames.flags.owndata and frames.flags.writeable


TILED = STAGE.model_copy(update={"crop_px": 48, "crop_frames": 9, "tile_px": 32, "tile_frames": 4, "tiled": 1.0})


def test_a_share_of_the_samples_goes_through_the_tiles_of_inference(vae, library):
    clips = [clip_like(library, 9)]
    objective = VAEObjective(vae, TILED, numbered_frames, clips)
    tiling = stage_tiling(TILED, vae.config)
    assert tiling == Tiling(tile_px=32, overlap_px=8, tile_frames=4, overlap_frames=0)
    (group,) = batch = batch_of(objective, [Sample(clips[0], 0, 7)])
    objective.loss(batch, 0).mean().backward()
    assert group.tiled and all(weight.grad is not None and weight.grad.any() for weight in vae.parameters())
    losses = []
    with torch.no_grad():
        for tiles in (tiling, None):
            posterior = vae.encode(group.video_BCTHW, tiles)
            decoded = vae.decode(posterior.sample(generator_of(7)), tiles)
            losses.append((decoded - group.video_BCTHW).abs().mean())
    torch.testing.assert_close(objective.parts()["l1"], losses[0], rtol=1e-4, atol=1e-6)
    assert abs(losses[0] - losses[1]) > 1e-4


def test_tiles_are_drawn_by_sample_and_share_a_batch_with_whole_crops(vae, library):
    objective = VAEObjective(vae, TILED.model_copy(update={"tiled": 0.5}), numbered_frames, [])
    clip = clip_like(library, 9)
    samples = [Sample(clip, 0, seed) for seed in range(40)]
    drawn = {sample.seed: batch_of(objective, [sample])[0].tiled for sample in samples}
    assert 10 < sum(drawn.values()) < 30
    groups = batch_of(objective, samples[:6])
    assert len(groups) == 2 and all(drawn[seed] == group.tiled for group in groups for seed in group.seeds)
    assert sorted(place for group in groups for place in group.places) == list(range(6))


@pytest.mark.parametrize(
    ("stage", "tiling"),
    [
        (STAGE, Tiling()),
        (STAGE.model_copy(update={"tile_px": 48, "tile_frames": 8}), Tiling(48, 8, 8, 4)),
        (STAGE.model_copy(update={"tile_px": 16, "tile_frames": 16}), Tiling(16, 8, 16, 4)),
    ],
)
def test_tiles_share_a_quarter_in_whole_latents(stage: StageSettings, tiling: Tiling):
    assert stage_tiling(stage, VAE_PRESETS["full"]) == tiling


def test_held_out_clips_are_measured_whole_in_tiles_and_by_lpips(vae, library, lpips):
    clips = [replace(clip_like(library, num_frames), width=32, height=16) for num_frames in (5, 1)]
    stage = TILED.model_copy(update={"crop_px": 16, "crop_frames": 5, "tile_px": 16})
    loss, parts = VAEObjective(vae, stage, numbered_frames, [], lpips).measure(clips)
    names = ("l1", "psnr_db", "ssim", "lpips")
    assert list(parts) == [*names, *(f"tiled_{name}" for name in names)]
    videos = [to_tensor(numbered_frames(clip))[None] for clip in clips]
    for prefix, tiling in (("", None), ("tiled_", stage_tiling(stage, vae.config))):
        with torch.no_grad():
            decoded = [vae.decode(vae.encode(video, tiling).mode(), tiling).clamp(-1, 1) for video in videos]
        pairs = list(zip(decoded, videos, strict=True))
        psnr = [-10 * ((one - other) / 2).square().mean().log10().item() for one, other in pairs]
        assert parts[prefix + "psnr_db"] == pytest.approx(np.mean(psnr), rel=1e-4)
        assert parts[prefix + "l1"] == pytest.approx(np.mean([(a - b).abs().mean() for a, b in pairs]), rel=1e-4)
        assert parts[prefix + "lpips"] == pytest.approx(np.mean([lpips(a, b).mean() for a, b in pairs]), rel=1e-4)
    assert loss == parts["l1"] != parts["tiled_l1"] and vae.training
    assert list(VAEObjective(vae, STAGE, numbered_frames, []).measure(clips[1:])[1]) == ["l1", "psnr_db", "ssim"]


def test_the_scale_brings_latents_to_unit_size(vae, library):
    scale = VAEObjective(vae, STAGE, library.pixels, library.clips["image"]).result()["config"]["scaling_factor"]
    latents = [vae.encode(to_tensor(library.pixels(clip))[None]) for clip in library.clips["image"]]
    sampled = torch.cat([scale * posterior.sample(generator_of(0)) for posterior in latents])
    assert sampled.square().mean().item() == pytest.approx(1.0, abs=0.1)


def test_operations_are_counted_for_each_sample(vae, library):
    objective = VAEObjective(vae, STAGE, library.pixels, [])
    image, video = (count_vae_flops(SMALL, (frames, 16, 16)).training for frames in (1, 5))
    assert objective.flops(batch_of(objective, mixed_samples(library))) == 3 * image + 2 * video


def test_vae_and_critic_learn_beside_each_other(vae, library):
    stage = STAGE.model_copy(update={"crop_frames": 1, "adversarial_weight": 0.05})
    objective = VAEObjective(vae, stage, library.pixels, [])
    assert objective.critic is not None
    optimizer = torch.optim.AdamW(vae.parameters(), lr=2e-3)
    opponent = torch.optim.AdamW(objective.critic.parameters(), lr=1e-3, betas=(0.5, 0.9))
    samples = [Sample(clip, 0, seed) for seed, clip in enumerate(library.clips["image"][:4])]
    batch, history = batch_of(objective, samples), []
    for step in range(25):
        for losses, network in ((objective.loss, optimizer), (lambda batch, _: objective.critic_loss(batch), opponent)):
            network.zero_grad()
            losses(batch, step).mean().backward()
            network.step()
        history.append({name: value.item() for name, value in objective.parts().items()})
    assert history[-1]["l1"] < 0.6 * history[0]["l1"]
    assert history[-1]["critic"] < 0.8 * history[0]["critic"]
    assert all(np.isfinite(list(parts.values())).all() for parts in history)


def test_the_critic_follows_from_seed_and_stage(vae, library):
    def first(seed: int, stage: StageSettings) -> torch.Tensor:
        critic = VAEObjective(vae, stage, library.pixels, [], seed=seed).critic
        assert critic is not None
        return next(critic.parameters())

    stage = STAGE.model_copy(update={"adversarial_weight": 0.05})
    assert torch.equal(first(0, stage), first(0, stage))
    assert not torch.equal(first(0, stage), first(1, stage))
    assert not torch.equal(first(0, stage), first(0, stage.model_copy(update={"name": "later"})))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lpips_weight": 0.1}, r"lpips_weight = 0.1, but no weights of LPIPS are given: name train.lpips.backbone"),
        ({"crop_frames": 0, "frame_interval": 8}, r"intervals of up to 8 frames, but takes clips whole"),
        ({"tiled": 0.5}, r"50% of its samples through tiles of 256 px and 64 frames.* largest crops are 16 px and 5"),
    ],
)
def test_a_stage_that_could_not_do_what_it_says_is_refused(vae, library, change: dict, message: str):
    with pytest.raises(UserError, match=message):
        VAEObjective(vae, STAGE.model_copy(update=change), library.pixels, library.clips["video"])


def test_lpips_is_read_from_both_files_or_from_neither(tmp_path):
    assert lpips_of(LPIPSSettings()) is None
    with pytest.raises(UserError, match=r"both files or neither, got backbone='a' and linear=''"):
        lpips_of(LPIPSSettings(backbone="a"))
    with pytest.raises(UserError, match=r"train.lpips does not fit: there is no file .*nowhere.pth; expected"):
        lpips_of(LPIPSSettings(backbone=str(tmp_path / "nowhere.pth"), linear="b"))
    network = LPIPS()
    stored = network.state_dict()
    save_file({name: value for name, value in stored.items() if "features" in name}, tmp_path / "vgg.safetensors")
    linear = {f"lin{i}.model.1.weight": stored[f"linear.{i}"].view(1, -1, 1, 1).clone() for i in range(5)}
    torch.save(linear, tmp_path / "lin.pth")
    read = lpips_of(LPIPSSettings(backbone=str(tmp_path / "vgg.safetensors"), linear=str(tmp_path / "lin.pth")))
    assert read is not None and torch.equal(read.state_dict()["features.28.bias"], stored["features.28.bias"])
