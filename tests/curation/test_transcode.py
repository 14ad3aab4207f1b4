import io
from collections.abc import Callable
from pathlib import Path

import av
import decord
import numpy as np
import pytest

from curation.records import Clip, UserError
from curation.source import UnreadableVideo
from curation.split import SplitSettings, split_video
from curation.transcode import member_span, write_member, write_proxy
from curation.video import read_member
from tests.footage import Cuts, Encoding, moving_texture, write_video

Hard = Callable[[str], Cuts]
COLOURS = ((32, 192, 64), (200, 40, 40), (30, 60, 220), (230, 220, 40))


def only_clip(path: Path) -> Clip:
    _, (clip,) = split_video(str(path), SplitSettings(min_clip_s=0.1, detector="adaptive"))
    return clip


def counting_clip(path: Path, num_frames: int = 96, encoding: Encoding = Encoding()) -> Clip:  # noqa: B008
    """Frame k has a bright bar that begins 3 * k px from the left of 320."""
    frames = np.zeros((num_frames, 180, 320, 3), np.uint8)
    for index in range(num_frames):
        frames[index, :, 3 * index : 3 * index + 12] = 255
    return only_clip(write_video(path, frames, encoding))


def frame_numbers(member: bytes) -> list[int]:
    """What frames of `counting_clip` a member of 16:9 shows, by where the bar's centre is."""
    brightness = read_member(member).astype(float).mean((1, 3))
    brightness = np.where(brightness > 60, brightness, 0)
    width = brightness.shape[1]
    centres = (brightness @ (np.arange(width) + 0.5)) / brightness.sum(1) * 320 / width
    return [round((centre - 6) / 3) for centre in centres]


def test_a_member_holds_the_middle_frames_in_order(tmp_path: Path) -> None:
    member = write_member(counting_clip(tmp_path / "count.mp4"), 256, 144, 33, 24)
    assert frame_numbers(member) == list(range(31, 64))


def test_a_lower_rate_skips_and_a_higher_repeats(tmp_path: Path) -> None:
    clip = counting_clip(tmp_path / "count.mp4")
    assert frame_numbers(write_member(clip, 256, 144, 32, 8)) == list(range(0, 96, 3))
    assert frame_numbers(write_member(clip, 256, 144, 9, 48)) == [45, 46, 46, 47, 47, 48, 48, 49, 49]


def test_an_image_is_a_member_of_one_frame(tmp_path: Path) -> None:
    assert frame_numbers(write_member(counting_clip(tmp_path / "count.mp4"), 256, 144, 1, 24)) == [47]


def test_members_are_the_same_bytes_every_time(hard: Hard) -> None:
    _, clips = split_video(str(hard("variable-rate").path), SplitSettings())
    assert write_member(clips[1], 128, 64, 9, 8) == write_member(clips[1], 128, 64, 9, 8)


@pytest.mark.parametrize(
    "name", ["plain", "mpegts", "edit-list", "hevc-10-bit", "av1", "odd-size", "rotated-90", "anamorphic", "4:4:4"]
)
def test_every_kind_of_footage_gives_members_every_decoder_agrees_on(hard: Hard, name: str) -> None:
    _, clips = split_video(str(hard(name).path), SplitSettings())
    member = write_member(clips[2], 96, 128, 17, 16)
    frames = read_member(member)
    assert frames.shape == (17, 128, 96, 3)
    with av.open(io.BytesIO(member), mode="r") as container:
        stream = container.streams.video[0]
        by_av = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(stream)]
        tags = (stream.codec_context.colorspace, stream.codec_context.color_primaries, stream.codec_context.color_trc)
        assert (tags, stream.codec_context.color_range, stream.pix_fmt) == ((1, 1, 1), 1, "yuv420p")
        assert [time_s for time_s, _ in by_av] == [index / 16 for index in range(17)]
    for mine, (_, theirs) in zip(frames, by_av, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    reader = decord.VideoReader(io.BytesIO(member), num_threads=1)
    np.testing.assert_array_equal(reader[13].asnumpy(), frames[13])
    assert b"elst" not in member


@pytest.mark.parametrize("size", [(640, 360), (1280, 720)])
def test_colours_survive(tmp_path: Path, size: tuple[int, int]) -> None:
    picture = np.repeat(np.repeat(np.array(COLOURS, np.uint8).reshape(2, 2, 3), size[1] // 2, 0), size[0] // 2, 1)
    clip = only_clip(write_video(tmp_path / "colours.mp4", [picture] * 24))
    (image,) = read_member(write_member(clip, 256, 144, 1, 24))
    with av.open(io.BytesIO(write_proxy(clip)), mode="r") as container:
        proxy = next(container.decode(video=0)).to_ndarray(format="rgb24")
    for found in (image, proxy):
        height, width = found.shape[:2]
        centres = [found[y, x] for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
        np.testing.assert_allclose(centres, COLOURS, atol=5)


def test_a_clip_too_short_is_refused(tmp_path: Path) -> None:
    clip = counting_clip(tmp_path / "count.mp4", num_frames=48)
    assert len(read_member(write_member(clip, 64, 64, 48, 24))) == 48
    with pytest.raises(UserError, match=r"lasts 2.000 s, too short for 49 frames at 24 per second \(2.042 s\)"):
        write_member(clip, 64, 64, 49, 24)


@pytest.mark.parametrize("size", [(33, 64), (64, 32), (128, 65)])
def test_sizes_that_members_cannot_have_are_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    clip = counting_clip(tmp_path / "count.mp4", num_frames=24)
    with pytest.raises(UserError, match="must be even and at least 64"):
        write_member(clip, *size, 1, 24)


def test_the_member_span_lies_in_the_middle(tmp_path: Path) -> None:
    clip = counting_clip(tmp_path / "count.mp4")
    span = member_span(clip, 24, 24)
    assert (span.start_s, span.end_s) == (1.5, 2.5)


def test_a_source_that_changed_is_refused(tmp_path: Path) -> None:
    clip = counting_clip(tmp_path / "count.mp4", num_frames=24)
    moving_texture(tmp_path / "count.mp4")
    for write in (write_proxy, lambda each: write_member(each, 64, 64, 1, 24)):
        with pytest.raises(UnreadableVideo, match="source changed"):
            write(clip)


@pytest.mark.parametrize("name", ["rotated-90", "anamorphic", "odd-size", "variable-rate-mkv"])
def test_a_proxy_plays_anywhere(hard: Hard, name: str) -> None:
    cuts = hard(name)
    _, clips = split_video(str(cuts.path), SplitSettings())
    proxy = write_proxy(clips[1], max_height=120)
    assert proxy.index(b"moov") < proxy.index(b"mdat")
    with av.open(io.BytesIO(proxy), mode="r") as container:
        stream = container.streams.video[0]
        times = [frame.time for frame in container.decode(stream)]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert stream.height == 120 and stream.width % 2 == 0
        assert stream.width / stream.height == pytest.approx(cuts.size[0] / cuts.size[1], abs=0.02)
    assert times[0] == 0
    assert np.ptp(np.diff(times)) < 1e-3
    assert times[-1] == pytest.approx(clips[1].duration_s, abs=1.5 / clips[1].frame_rate)


def test_a_small_source_is_not_enlarged(tmp_path: Path) -> None:
    clip = counting_clip(tmp_path / "count.mp4", num_frames=24)
    with av.open(io.BytesIO(write_proxy(clip)), mode="r") as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (320, 180)
