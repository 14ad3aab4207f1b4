"""Buckets: every clip gets one answer, shapes are the known ones, and what is planned can be read from the source."""

import math
import random
from fractions import Fraction
from itertools import pairwise

import pytest
from pydantic import ValidationError

from curation.buckets import ASPECTS, Footage, Misfit, Placement, StageBuckets, bucket_size, num_available, place
from curation.records import Span
from curation.split import SplitSettings, split_video
from curation.transcode import write_member
from curation.video import read_member

PLAN = StageBuckets(sizes=(256, 512), durations=(1, 17, 33, 65), frame_rate=24)


def footage(seconds=5.0, size=(1920, 1080), fps=24.0, clip_id="a", time_base=Fraction(1, 12800), start_s=0.0):
    start = round(start_s / time_base)
    span = Span(start, start + max(1, round(seconds / time_base)), time_base.numerator, time_base.denominator)
    return Footage(clip_id, span, size[0], size[1], fps)


def one(clip, settings):
    found = place(clip, settings)
    assert not isinstance(found, Misfit), found
    (placement,) = found
    return placement


def test_sizes_give_the_shapes_that_the_released_model_lists():
    """HunyuanVideo's README: 540p and 720p, five shapes each."""
    assert [bucket_size(960, each) for each in ASPECTS] == [
        (1280, 720), (1104, 832), (960, 960), (832, 1104), (720, 1280)]  # fmt: skip
    assert [bucket_size(724, each) for each in ASPECTS] == [(960, 544), (832, 624), (720, 720), (624, 832), (544, 960)]


@pytest.mark.parametrize("size_px", range(128, 1300, 28))
def test_buckets_of_a_size_hold_nearly_the_same_area_and_the_wanted_shape(size_px):
    for aspect in ("16:9", "3:2", "4:3", "1:1", "2:3", "9:16", "2:1"):
        width, height = bucket_size(size_px, aspect)
        wide, high = (float(each) for each in aspect.split(":"))
        assert width % 16 == height % 16 == 0 and min(width, height) >= 64
        assert 0.75 * size_px**2 < width * height <= size_px**2
        assert abs(math.log(width / height / (wide / high))) < 0.1
        assert bucket_size(size_px, f"{high:g}:{wide:g}") == (height, width)


def test_any_clip_gets_members_that_lie_in_it_or_one_reason():
    chance = random.Random(0)
    reasons = set()
    for number in range(3000):
        timing = {"frame_intervals": (1, 8)} if chance.random() < 0.3 else {"frame_rate": chance.choice((8, 16, 24))}
        settings = StageBuckets.model_validate(
            {
                "sizes": tuple(chance.sample((128, 256, 512, 960), 2)),
                "durations": tuple(chance.sample((1, 5, 17, 33, 65, 129), chance.randint(1, 3))),
                "windows": chance.choice((1, 1, 2, 5)),
                "every_size": chance.random() < 0.3,
                "max_crop": chance.choice((0.1, 0.3, 0.5)),
                **timing,
            }
        )
        clip = footage(
            seconds=chance.choice((0.03, 0.5, 2.0, 8.0)) * chance.uniform(0.5, 2),
            size=(chance.randint(30, 4000), chance.randint(30, 2200)),
            fps=chance.choice((8.0, 12.5, 23.976, 24.0, 29.97, 60.0)),
            clip_id=str(number),
            time_base=chance.choice((Fraction(1, 1000), Fraction(1, 90000), Fraction(1, 24))),
            start_s=chance.uniform(0, 100),
        )
        found = place(clip, settings)
        assert found == place(clip, settings)
        if isinstance(found, Misfit):
            reasons.add(found.reason)
            assert found.detail
            continue
        check(clip, found, settings)
    assert reasons == {"too short", "too slow", "too small", "in no bucket"}


def check(clip: Footage, found: tuple[Placement, ...], settings: StageBuckets) -> None:
    shapes = {(each.bucket.width, each.bucket.height) for each in found}
    assert len(shapes) == 1 or settings.every_size
    assert {each.bucket for each in found} <= set(settings.buckets())
    assert len({(each.bucket, each.window) for each in found}) == len(found)
    for shape in shapes:
        parts = [each for each in found if (each.bucket.width, each.bucket.height) == shape]
        assert len(parts) <= settings.windows
        edges = [pts for each in parts for pts in (each.span.start_pts, each.span.end_pts)]
        assert all(after - before >= -1 for before, after in pairwise(edges))  # a tick's overlap on a coarse clock
        assert clip.span.start_pts <= edges[0] and edges[-1] <= clip.span.end_pts
        for part in parts:
            asked = part.bucket.num_frames
            rate = Fraction(part.frame_rate).limit_denominator(1001)
            length = (part.span.end_pts - part.span.start_pts) * part.span.time_base
            assert asked == 1 or math.ceil(length * rate) >= asked
            assert part.cropped <= settings.max_crop and part.enlarged <= settings.max_enlarge
            least = asked - 1 if asked > 1 else 0
            longer = [n for n in settings.durations if n > asked]
            assert all(num_available(clip.duration, rate) < n for n in longer) or settings.frame_intervals
            assert length * rate > least


def test_the_nearest_shape_in_log_ratio_is_taken():
    for width in range(200, 2000, 37):
        placed = place(footage(size=(width, 640)), StageBuckets(sizes=(256,), max_crop=1))
        assert isinstance(placed, tuple)
        bucket = placed[0].bucket
        shapes = StageBuckets(sizes=(256,)).shapes()[256]
        distances = {shape: abs(math.log(width / 640 * shape[1] / shape[0])) for shape in shapes}
        assert distances[bucket.width, bucket.height] == min(distances.values())
        lost = 1 - math.exp(-min(distances.values()))
        assert placed[0].cropped == pytest.approx(lost)


def test_the_largest_size_that_is_filled_and_the_longest_duration_that_fits():
    assert one(footage(), PLAN).bucket.name == "672x384x65@24"
    assert one(footage(size=(480, 270)), PLAN).bucket.name == "336x192x65@24"
    assert one(footage(seconds=2.0), PLAN).bucket.num_frames == 33
    assert one(footage(seconds=0.5), PLAN).bucket.num_frames == 1
    both = place(footage(), PLAN.model_copy(update={"every_size": True}))
    assert isinstance(both, tuple)
    assert [each.bucket.name for each in both] == ["672x384x65@24", "336x192x65@24"]


def test_exactly_enough_frames_are_enough_whatever_the_clock_rounds_to():
    for time_base in (Fraction(1, 1000), Fraction(1, 90000), Fraction(1, 24)):
        for num_frames in (17, 33, 65):
            wanted = StageBuckets(num_frames=num_frames, frame_rate=24)
            assert one(footage(seconds=num_frames / 24, time_base=time_base), wanted).bucket.num_frames == num_frames
            assert isinstance(place(footage(seconds=(num_frames - 1) / 24, time_base=time_base), wanted), Misfit)


def test_what_fits_nowhere_is_told_with_the_numbers():
    def why(clip, settings):
        found = place(clip, settings)
        assert isinstance(found, Misfit)
        return found.reason, found.detail

    video = StageBuckets(sizes=(256,), num_frames=17, frame_rate=24)
    assert why(footage(seconds=0.5), video) == ("too short", "0.500 s, and 17 frames at 24/s last 0.708 s")
    assert why(footage(size=(160, 90)), video) == (
        "too small",
        "160x90 would be enlarged 2.13 times to fill 336x192 (max_enlarge = 1.25)",
    )
    assert why(footage(size=(4000, 400)), video) == (
        "in no bucket",
        "of 4000x400 the nearest shape, 336x192, would cut off 82% (max_crop = 0.5)",
    )
    assert why(footage(fps=8.0), video)[0] == "too slow"
    assert "each would be shown 3 times" in why(footage(fps=8.0), video)[1]


def test_a_still_needs_no_frame_rate():
    assert one(footage(fps=1.0), StageBuckets(sizes=(256,))).bucket.num_frames == 1


def test_windows_lie_one_after_the_other_about_the_middle():
    settings = StageBuckets(sizes=(256,), num_frames=33, frame_rate=24, windows=3)
    found = place(footage(seconds=5.0, start_s=10), settings)
    assert isinstance(found, tuple)
    assert [each.window for each in found] == [0, 1, 2]
    assert found[0].span.start_s == pytest.approx(10 + (5 - 3 * 33 / 24) / 2, abs=1e-3)
    assert [each.span.duration_s for each in found] == pytest.approx([33 / 24] * 3, abs=1e-3)
    assert all(a.span.end_pts == b.span.start_pts for a, b in pairwise(found))
    assert len(place(footage(seconds=3.0), settings)) == 2  # pyright: ignore[reportArgumentType]


def test_windows_of_images_share_the_whole_clip_and_never_outnumber_its_frames():
    settings = StageBuckets(sizes=(256,), windows=4)
    found = place(footage(seconds=2.0), settings)
    assert isinstance(found, tuple)
    assert [each.span.start_s for each in found] == pytest.approx([0, 0.5, 1, 1.5], abs=1e-3)
    assert found[-1].span.end_s == 2.0
    assert len(place(footage(seconds=2 / 24), settings)) == 2  # pyright: ignore[reportArgumentType]


def test_frame_intervals_are_drawn_from_those_the_clip_is_long_enough_for():
    settings = StageBuckets(sizes=(256,), num_frames=17, frame_intervals=(1, 8))
    long = [one(footage(seconds=10, clip_id=str(i)), settings) for i in range(400)]
    counts = {interval: sum(each.frame_interval == interval for each in long) for interval in range(1, 9)}
    assert all(25 < count < 80 for count in counts.values())
    assert all(each.frame_rate == pytest.approx(24 / each.frame_interval) for each in long)
    assert {each.bucket.name for each in long} == {"336x192x17@every1-8"}
    short = {one(footage(seconds=2, clip_id=str(i)), settings).frame_interval for i in range(60)}
    assert short == {1, 2}
    assert isinstance(place(footage(seconds=0.6), settings), Misfit)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"num_frames": 16}, r"16 frames are not 4n\+1, as the VAE needs; the nearest are 13 and 17"),
        ({"durations": (17, 30)}, r"30 frames are not 4n\+1"),
        ({"sizes": (256,), "width": 64}, "sizes stands in place of height and width"),
        ({"durations": (1, 5), "num_frames": 5}, "durations stands in place of num_frames"),
        ({"frame_intervals": (1, 8), "frame_rate": 8}, "leave out frame_rate"),
        ({"frame_intervals": (3, 2)}, r"the least and the greatest, got \[3, 2\]"),
        ({"aspects": ("1:1",)}, "aspects and every_size go with sizes"),
        ({"sizes": (256,), "aspects": ("wide",)}, "an aspect is width:height, e.g. \"16:9\", got 'wide'"),
        ({"sizes": (64,)}, "a size of 64 px is too small for 16:9, whose short side needs 64 px; try 96"),
        ({"width": 65}, "multiple of 16"),
    ],
)
def test_plans_that_cannot_be_are_refused_with_what_to_change(given, said):
    with pytest.raises(ValidationError, match=said):
        StageBuckets(**given)


def footage_of(clip):
    return Footage(clip.clip_id, clip.span, clip.width, clip.height, clip.frame_rate)


def written(clip, placement):
    bucket = placement.bucket
    member = write_member(
        clip, bucket.width, bucket.height, bucket.num_frames, placement.frame_rate, preset="ultrafast",
        span=placement.span,
    )  # fmt: skip
    return read_member(member)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("rotated-90", (64, 112)),
        ("anamorphic", (112, 64)),
        ("odd-size", (112, 64)),
        ("variable-rate", (112, 64)),
        ("edit-list", (112, 64)),
        ("late-start", (112, 64)),
    ],
)
def test_what_is_planned_of_hard_footage_can_be_written(hard, name, shape):
    """Upright and in square pixels: the plan goes by what a viewer sees."""
    _, clips = split_video(str(hard(name).path), SplitSettings())
    settings = StageBuckets(sizes=(96,), durations=(1, 5, 9), frame_rate=12, windows=2)
    for clip in clips[:2]:
        found = place(footage_of(clip), settings)
        assert isinstance(found, tuple) and found
        for placement in found:
            assert (placement.bucket.width, placement.bucket.height) == shape
            assert placement.bucket.num_frames == 9
            assert written(clip, placement).shape == (9, shape[1], shape[0], 3)


def test_a_clip_of_one_frame_is_an_image_and_no_video(hard):
    _, clips = split_video(str(hard("plain").path), SplitSettings())
    single = clips[0].part(0, 1 / 24)
    assert single.num_frames == 1
    placement = one(footage_of(single), StageBuckets(sizes=(96,), durations=(1, 5), frame_rate=24, windows=3))
    assert written(single, placement).shape == (1, 64, 112, 3)
    short = place(footage_of(single), StageBuckets(sizes=(96,), num_frames=5, frame_rate=24))
    assert isinstance(short, Misfit) and short.reason == "too short"


@pytest.mark.parametrize("name", ["skv_bikes.mp4", "psd_issue-195-aspect-ratio.mp4", "dover_1724.mp4"])
def test_real_footage_lands_in_the_buckets_it_was_planned_for(real_footage, name):
    _, clips = split_video(str(real_footage / name), SplitSettings())
    settings = StageBuckets(sizes=(128,), durations=(1, 17, 33), frame_rate=16)
    clip = clips[0]
    placement = one(footage_of(clip), settings)
    bucket = placement.bucket
    assert (bucket.width > bucket.height) == (clip.width > clip.height) and placement.cropped < 0.35
    assert written(clip, placement).shape == (bucket.num_frames, bucket.height, bucket.width, 3)
