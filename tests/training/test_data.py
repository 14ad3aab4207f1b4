"""Samples from shards: order, shares, resuming, what is held out, what is refused."""

from collections import Counter

import numpy as np
import pytest

from curation.records import UserError
from curation.tables import Workspace
from tests.training.moving_shapes import encode_mp4, pack_items, pack_shapes, shape_item
from training.data import ClipLibrary, PackedClip, SampleStream, held_out_ids, seed_of
from training.stages import StageSettings

STAGE = StageSettings(name="mixed", shards={"video": 3, "image": 1})


def clips(source: str, ids: range) -> list[PackedClip]:
    return [PackedClip(f"clip{i:03d}", source, "a.tar", 64, 64, 1, {"short": "x"}, 8.0, {}) for i in ids]


def stream(seed: int = 0) -> SampleStream:
    return SampleStream({"image": clips("image", range(7)), "video": clips("video", range(10))}, STAGE, seed)


def test_every_stretch_of_samples_holds_the_shares():
    samples = stream().next_samples(400)
    for start in range(0, 400, 8):
        assert Counter(sample.clip.source for sample in samples[start : start + 8]) == {"video": 6, "image": 2}


def test_an_epoch_reads_every_clip_once_and_the_next_in_another_order():
    ids = [sample.clip.clip_id for sample in stream().next_samples(400) if sample.clip.source == "video"]
    epochs = [ids[start : start + 10] for start in range(0, 300, 10)]
    assert all(len(set(epoch)) == 10 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 25


@pytest.mark.parametrize("read_before", [0, 1, 39, 40, 41, 77])
def test_a_restored_place_continues_the_same_sequence(read_before):
    whole, first, second = stream(), stream(), stream()
    expected = whole.next_samples(read_before + 60)[read_before:]
    first.next_samples(read_before)
    second.load_state(first.state())
    assert second.next_samples(60) == expected


def test_the_place_is_an_epoch_and_a_position_per_source():
    place = stream()
    place.next_samples(40)
    assert place.state() == {"image": {"epoch": 1, "position": 3}, "video": {"epoch": 3, "position": 0}}


def test_batches_do_not_change_the_samples_and_seeds_do():
    one = stream()
    assert [sample for _ in range(10) for sample in one.next_samples(3)] == stream().next_samples(30)
    assert stream(1).next_samples(30) != stream().next_samples(30)
    assert len({sample.seed for sample in stream().next_samples(400)}) == 400


def test_a_seed_is_the_same_on_every_machine():
    assert seed_of("a", 1) == 4742018630964328543
    assert seed_of("a", 1) != seed_of("a1")


def test_a_clip_is_held_out_everywhere_or_nowhere_and_adding_clips_moves_none():
    few = {"image": clips("image", range(40)), "video": clips("video", range(20))}
    more = {"image": clips("image", range(80)), "video": clips("video", range(20))}
    held_out = held_out_ids(few, 0.2)
    assert 3 <= len(held_out) <= 15
    assert held_out <= held_out_ids(more, 0.2)
    assert held_out_ids(few, 0.0) == frozenset()


@pytest.mark.parametrize("share", [0.001, 0.5, 0.99])
def test_even_a_small_stage_has_clips_on_both_sides(share):
    groups = {"sft": clips("sft", range(2)), "video": clips("video", range(9)), "one": clips("one", range(5, 6))}
    held_out = held_out_ids(groups, share)
    for group in groups.values():
        assert any(clip.clip_id not in held_out for clip in group)
    assert len(held_out.intersection(clip.clip_id for clip in groups["sft"])) == 1


def test_pixels_are_those_that_were_packed(shapes):
    library = ClipLibrary(shapes, ["image", "video"])
    assert {source: len(group) for source, group in library.clips.items()} == {"image": 8, "video": 4}
    for clip in library.clips["video"]:
        frames = library.pixels(clip)
        assert frames.shape == (5, 64, 64, 3) and frames.dtype == np.uint8
        assert library.pixels(clip) is frames


def test_a_cache_that_is_full_decodes_again(shapes):
    library = ClipLibrary(shapes, ["image"], cache_mb=0)
    first, second = library.clips["image"][:2]
    frames = library.pixels(first)
    library.pixels(second)
    again = library.pixels(first)
    assert again is not frames
    assert np.array_equal(again, frames)


def test_a_member_of_another_size_than_stated_is_refused_by_name(tmp_path):
    workspace = Workspace(str(tmp_path))
    good = shape_item("image", 0, 64, 1)
    frames = np.zeros((1, 96, 96, 3), np.uint8)
    pack_items(workspace, "image", [type(good)(good.clip_id, encode_mp4(frames), good.meta)])
    library = ClipLibrary(workspace, ["image"])
    with pytest.raises(UserError, match=f"{good.clip_id} in .*tar decodes to 96x96 with 1 frames.*state 64x64 with 1"):
        library.pixels(library.clips["image"][0])


@pytest.mark.parametrize(("size_px", "num_frames", "stated"), [(72, 1, "72x72 with 1"), (64, 8, "64x64 with 8")])
def test_a_size_that_the_networks_cannot_take_is_refused_before_training(tmp_path, size_px, num_frames, stated):
    workspace = Workspace(str(tmp_path))
    pack_items(workspace, "video", [shape_item("video", 0, size_px, num_frames)])
    with pytest.raises(UserError, match=rf"{stated} frames; training needs sides .* of 16 and 4n\+1 frames.*video"):
        ClipLibrary(workspace, ["video"])


def test_a_flipped_byte_is_found_when_its_clip_is_read_and_the_others_are_read_as_ever(shapes):
    library = ClipLibrary(shapes, ["video"])
    (shard,) = library.shards["video"]
    data = bytearray(shapes.read_bytes(shard.uri))
    data[len(data) // 2] ^= 1
    shapes.write_bytes(bytes(data), shard.uri)
    outcomes = []
    for clip in ClipLibrary(shapes, ["video"]).clips["video"]:
        try:
            outcomes.append(ClipLibrary(shapes, ["video"]).pixels(clip).shape)
        except UserError as error:
            assert f"shard {shard.uri} is damaged: {clip.clip_id}.mp4" in str(error)
            assert "write it again" in str(error)
            outcomes.append(None)
    assert sorted(outcomes, key=str) == [(5, 64, 64, 3)] * 3 + [None]


def test_a_truncated_shard_is_refused_by_name_at_once(shapes):
    (shard,) = ClipLibrary(shapes, ["video"]).shards["video"]
    shapes.write_bytes(shapes.read_bytes(shard.uri)[:-512], shard.uri)
    with pytest.raises(UserError, match=f"shard {shard.uri} is damaged: its index says {shard.size_bytes} bytes"):
        ClipLibrary(shapes, ["video"])


def test_opening_reads_no_payload(shapes):
    """Bytes of a clip may change size-for-size without anybody noticing before it is read."""
    (shard,) = ClipLibrary(shapes, ["video"]).shards["video"]
    shapes.write_bytes(bytes(shard.size_bytes), shard.uri)
    library = ClipLibrary(shapes, ["video"])
    assert len(library.clips["video"]) == 4
    with pytest.raises(UserError, match="is damaged"):
        library.pixels(library.clips["video"][0])


def test_the_order_of_an_epoch_is_the_same_on_every_machine():
    samples = [sample for sample in stream().next_samples(14) if sample.clip.source == "video"]
    assert [int(sample.clip.clip_id[-3:]) for sample in samples][:10] == [2, 3, 0, 1, 4, 9, 6, 7, 8, 5]


def test_a_source_of_a_hundred_thousand_clips_is_ordered_as_a_permutation():
    many = {"video": clips("video", range(100_000))}
    place = SampleStream(many, StageSettings(name="many", shards={"video": 1}), 0)
    seen = [sample.clip.clip_id for sample in place.next_samples(100_000)]
    assert len(set(seen)) == 100_000 and seen != sorted(seen)


def test_clips_are_read_from_an_object_store_by_ranges(object_store, shapes):
    pack_shapes(object_store, "video", count=4, num_frames=5)
    library, local = ClipLibrary(object_store, ["video"]), ClipLibrary(shapes, ["video"])
    for there, here in zip(library.clips["video"], local.clips["video"], strict=True):
        assert np.array_equal(library.pixels(there), local.pixels(here))
