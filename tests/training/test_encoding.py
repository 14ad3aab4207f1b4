"""One clip, one settings: the same bits from files and on the fly; latents of other settings are refused by name."""

import json

import pytest
import torch

from curation.records import UserError
from model.text import TextState
from tests.training.encoders import Encoders, vae_of
from tests.training.moving_shapes import pack_items, pack_shapes, shape_item
from training.caption_settings import CaptionSettings
from training.captions import caption_texts
from training.clip_tensors import to_tensor
from training.data import PackedClip, SampleStream
from training.encoding import (
    draw,
    encode_key,
    encoded_sources,
    open_encoded_source,
    text_identity,
    tiling_of,
    write_key,
)
from training.latent_settings import LatentSettings
from training.loader import StepLoader
from training.stages import StageSettings, TextSettings, TrainSettings

STAGES = (
    {"name": "vae", "objective": "vae", "shards": {"image": 1}},
    {"name": "mixed", "shards": {"video": 1, "image": 1}},
)


def settings(cached: bool = True, **latents: object) -> TrainSettings:
    return TrainSettings.model_validate({"latents": {"cached": cached, **latents}, "stages": STAGES})


CACHED = settings()


def all_clips(encoders: Encoders) -> list[PackedClip]:
    return [clip for clips in encoders.library.clips.values() for clip in clips]


def same(one: TextState, other: TextState) -> bool:
    return torch.equal(one.states, other.states) and torch.equal(one.pooled, other.pooled)


@pytest.mark.parametrize(
    "latents", [{}, {"dtype": "bfloat16"}, {"dtype": "float32"}, {"tile_px": 32, "tile_frames": 4}]
)
def test_files_and_encoding_on_the_fly_give_the_same_bits(shapes, latents):
    encoders = Encoders(shapes, settings(**latents))
    encoders.write_all()
    stored, live = encoders.stored(), encoders.on_the_fly(cache_mb=0)
    for clip in all_clips(encoders):
        for seed in (None, 1, 2):
            one, other = stored.latent(clip, seed), live.latent(clip, seed)
            assert one.dtype == torch.float32 and torch.equal(one, other)
        for variant in range(4):
            assert same(stored.text(clip, variant), live.text(clip, variant))
            assert stored.text(clip, variant).states.dtype == getattr(torch, encoders.settings.latents.dtype)
        assert same(stored.empty_text(clip), live.empty_text(clip))


def test_a_latent_is_the_posterior_of_the_frozen_vae_in_the_transformers_scale(shapes):
    encoders = Encoders(shapes, settings(dtype="float32"))
    (clip, *_) = encoders.library.clips["video"]
    posterior = encoders.vae.encode(to_tensor(encoders.library.pixels(clip))[None])
    source = encoders.on_the_fly()
    mean = source.latent(clip, None)
    assert torch.equal(mean, encoders.vae.to_latent(posterior.mode())[0])
    drawn = torch.stack([source.latent(clip, seed) for seed in range(200)])
    deviation = encoders.vae.to_latent(torch.exp(0.5 * posterior.logvar))[0]
    assert (drawn.std(dim=0) / deviation).mean().item() == pytest.approx(1, abs=0.02)
    assert torch.equal(source.latent(clip, 7), drawn[7]) and not torch.equal(drawn[7], drawn[8])


def test_each_variant_is_its_own_text_under_the_template_of_the_clips_kind(shapes):
    encoders = Encoders(shapes, settings(dtype="float32"))
    source = encoders.on_the_fly()
    for group, kind in (("image", "image"), ("video", "video")):
        clip = encoders.library.clips[group][0]
        texts = caption_texts(clip, encoders.settings.captions)
        assert len(set(texts)) > 1
        for variant, text in enumerate(texts):
            (alone,) = encoders.text.encode([text], kind)
            found = source.text(clip, variant)
            assert found.states.shape == alone.states.shape
            assert torch.allclose(found.states, alone.states, atol=1e-5)
        (empty,) = encoders.text.encode([""], kind)
        assert same(source.empty_text(clip), empty)


def test_a_cache_that_holds_everything_encodes_nothing_twice(shapes):
    encoders = Encoders(shapes, settings())
    source, clip = encoders.on_the_fly(), encoders.library.clips["video"][0]
    asked = []
    source.pixels = lambda wanted: asked.append(wanted) or encoders.library.pixels(wanted)
    first, again = source.latent(clip, None), source.latent(clip, None)
    assert torch.equal(first, again) and asked == [clip]
    assert source.text(clip, 1).states is source.text(clip, 1).states


def test_numbers_that_the_dtype_cannot_hold_are_refused(shapes):
    encoders = Encoders(shapes, settings())
    source, clip = encoders.on_the_fly(), encoders.library.clips["image"][0]
    (text, *_), _ = source.encode_texts(clip)
    source.text_encoder.encode = lambda prompts, kind: [  # type: ignore[method-assign]
        TextState(text.states.float() * 1e6, text.pooled.float()) for _ in prompts
    ]
    with pytest.raises(UserError, match=rf"texts of clip {clip.clip_id}: numbers up to .* set train\.latents\.dtype"):
        source.text(clip, 0)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("tiling", {"latents": {"cached": True, "tile_px": 32}}),
        ("dtype", {"latents": {"cached": True, "dtype": "bfloat16"}}),
        ("captions", {"captions": {"variants": 2}}),
        ("templates", {"text": {"max_tokens": 100}}),
    ],
)
def test_latents_of_other_settings_are_refused_and_the_difference_is_named(shapes, part, change):
    encoders = Encoders(shapes, CACHED)
    encoders.write_all()
    write_key(shapes, encoders.key)
    changed = Encoders(shapes, TrainSettings.model_validate({**CACHED.model_dump(), **change}))
    with pytest.raises(UserError, match=rf"of other settings or weights: {part} \(there .*Run `dailies encode` again"):
        changed.stored()


def test_latents_of_another_vae_or_text_encoder_are_refused_by_name(shapes):
    encoders = Encoders(shapes, CACHED)
    encoders.write_all()
    write_key(shapes, encoders.key)
    with pytest.raises(UserError, match=r"of other settings or weights: VAE weights \(there"):
        Encoders(shapes, CACHED, seed=1).stored()
    vae = encoders.vae
    rescaled = encode_key(vae, 0.5, encoders.text_encoder_id, CACHED)
    with pytest.raises(UserError, match=r"weights: VAE scaling \(there .*, here 0\.5\)"):
        encoders.stored(rescaled)
    other = encode_key(vae, vae.scaling_factor, "another", CACHED)
    with pytest.raises(UserError, match=r"weights: text encoder weights \(there .*, here another\)"):
        encoders.stored(other)


def test_clips_packed_again_and_clips_without_latents_are_refused_by_name(shapes):
    encoders = Encoders(shapes, CACHED)
    encoders.write_all(but=1)
    with pytest.raises(UserError, match=r"shards: 1 of 8 clips of curation stage 'image' have no latents.*`dailies en"):
        encoders.stored()
    encoders.write_all()
    encoders.stored()
    pack_items(shapes, "image", [shape_item("image", index, 96, 1) for index in range(8)])
    packed_again = Encoders(shapes, CACHED)
    with pytest.raises(UserError, match=r"shards: 8 of 8 clips of curation stage 'image'"):
        packed_again.stored(encoders.key)


def test_without_any_latents_it_says_what_to_run(shapes):
    encoders = Encoders(shapes, CACHED)
    with pytest.raises(UserError, match=r"there are no latents in .*; run `dailies encode`, or set .*cached = false"):
        open_encoded_source(shapes, CACHED, encoders.vae, None, encoders.library, encoders.text_encoder_id)


def test_the_settings_decide_between_files_and_encoders(shapes):
    encoders = Encoders(shapes, CACHED)
    encoders.write_all()
    given = (encoders.vae, encoders.text, encoders.library, encoders.text_encoder_id)
    files = open_encoded_source(shapes, CACHED, *given)
    live = open_encoded_source(shapes, settings(cached=False), *given)
    assert files.may_fork and not live.may_fork
    clip = encoders.library.clips["video"][0]
    assert torch.equal(files.latent(clip, 3), live.latent(clip, 3))
    assert encoded_sources(CACHED) == ["image", "video"]


def test_a_flipped_byte_of_a_latent_shard_stops_with_its_name(shapes):
    encoders = Encoders(shapes, CACHED)
    written = encoders.write_all()
    for shard in written:
        data = bytearray(shapes.read_bytes(shard.uri))
        for place in range(3000, len(data), 1024):
            data[place] ^= 1
        shapes.write_bytes(bytes(data), shard.uri)
    library = encoders.stored()
    with pytest.raises(UserError, match=r"shard latents/.*\.tar is damaged: .*safetensors .*write it again"):
        for clip in all_clips(encoders):
            library.latent(clip, None)


def test_forked_workers_read_latents_from_an_object_store_by_ranges(object_store):
    pack_shapes(object_store, "image", count=4)
    pack_shapes(object_store, "video", count=2, num_frames=5)
    encoders = Encoders(object_store, CACHED)
    encoders.write_all()
    stored, live = encoders.stored(), encoders.on_the_fly()
    clips = all_clips(encoders)
    assert torch.equal(stored.latent(clips[0], 1), live.latent(clips[0], 1))
    stage = StageSettings(name="mixed", shards={"image": 1, "video": 1})
    stream = SampleStream(encoders.library.clips, stage, 0)
    planned = [stream.next_samples(3) for _ in range(2)]
    loader = StepLoader(lambda one: (stored.latent(one.clip, one.seed), stored.text(one.clip, 1)), planned, 1)
    for samples, fetched in loader:
        for sample, (latent, text) in zip(samples, fetched, strict=True):
            assert torch.equal(latent, live.latent(sample.clip, sample.seed))
            assert same(text, live.text(sample.clip, 1))


def test_the_key_is_the_same_on_every_machine_and_follows_from_all_weights(tmp_path):
    vae = vae_of()
    key = encode_key(vae, 0.5, "text", CACHED)
    assert key.id == encode_key(vae, 0.5, "text", CACHED).id
    assert json.loads(json.dumps(dict(key.parts))) == dict(key.parts)
    assert text_identity(TextSettings(), "built") == "built"
    with pytest.raises(UserError, match=r"train\.text does not fit"):
        text_identity(TextSettings(llm=str(tmp_path / "no"), clip=str(tmp_path / "no")), "")


def test_tiles_share_a_quarter_in_whole_cells():
    assert tiling_of(LatentSettings()) is None
    tiling = tiling_of(LatentSettings(tile_px=256, tile_frames=64))
    assert tiling is not None and (tiling.overlap_px, tiling.overlap_frames) == (64, 16)
    small = tiling_of(LatentSettings(tile_px=48, tile_frames=4))
    assert small is not None and (small.overlap_px, small.overlap_frames) == (8, 0)


def test_a_draw_leaves_what_is_stored_as_it_is():
    mean, logvar = torch.ones(1, 2, 2, 2), torch.zeros(1, 2, 2, 2)
    draw(mean, logvar, 0.5, None)
    draw(mean, logvar, 0.5, 1)
    assert mean.eq(1).all() and logvar.eq(0).all()
    assert CaptionSettings().variants == 4
