from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from curation import video
from curation.records import Crop, Span
from curation.source import UnreadableVideo, fingerprint
from curation.video import Frame, FrameSpec, Ticks, measure, read_frames, read_member, scan
from tests.footage import HARD_NAMES, Cuts, Encoding, broken_files, moving_texture, shots, uneven_times, write_video

EVERY = FrameSpec(fps=None, short_side_px=96, planes="bgr")
Hard = Callable[[str], Cuts]


def frames_of(path: Path, spec: FrameSpec = EVERY, spans: Span | list[Span] | None = None) -> list[Frame]:
    return [seen.frame for seen in scan(str(path), [spec], spans)]


def whole_span(path: Path) -> Span:
    pass_over = scan(str(path), [EVERY])
    assert list(pass_over) and pass_over.facts and pass_over.start_pts is not None
    base = pass_over.facts.time_base
    return Span(pass_over.start_pts, pass_over.end_pts, base.numerator, base.denominator)


@pytest.mark.parametrize("name", HARD_NAMES)
def test_every_frame_is_seen_once_at_its_time(hard: Hard, name: str) -> None:
    cuts = hard(name)
    pass_over = scan(str(cuts.path), [EVERY])
    frames = [seen.frame for seen in pass_over]
    assert pass_over.facts and pass_over.facts.geometry.size == cuts.size
    assert (len(frames), pass_over.num_frames, pass_over.num_decode_errors) == (cuts.num_frames, cuts.num_frames, 0)
    starts = [frames[index].time_s - frames[0].time_s for index in cuts.frame_indices]
    assert starts == pytest.approx([start_s - cuts.starts_s[0] for start_s in cuts.starts_s], abs=0.002)
    width, height = frames[0].luma.shape[::-1]
    assert min(width, height) == 96
    assert width / height == pytest.approx(cuts.size[0] / cuts.size[1], rel=0.01)


@pytest.mark.parametrize("name", HARD_NAMES)
def test_packets_tell_the_size_length_and_number_of_frames_that_a_decode_finds(hard: Hard, name: str) -> None:
    cuts = hard(name)
    pass_over = scan(str(cuts.path), [EVERY])
    assert list(pass_over)
    found = measure(str(cuts.path))
    assert found.facts == pass_over.facts
    assert (found.num_frames, found.start_pts) == (pass_over.num_frames, pass_over.start_pts)
    assert found.end_pts == pytest.approx(pass_over.end_pts, abs=0.1 / found.facts.time_base)
    assert found.frame_rate == pytest.approx(found.num_frames / found.duration_s, rel=0.02)


@pytest.mark.parametrize("name", HARD_NAMES)
def test_pictures_change_most_where_the_shots_change(hard: Hard, name: str) -> None:
    cuts = hard(name)
    pictures = np.stack([frame.bgr for frame in frames_of(cuts.path) if frame.bgr is not None]).astype(int)
    change = np.abs(np.diff(pictures, axis=0)).mean((1, 2, 3))
    assert tuple(sorted(np.argsort(change)[-3:] + 1)) == cuts.frame_indices[1:]


@pytest.mark.parametrize("name", HARD_NAMES)
def test_a_span_reached_by_seeking_has_the_same_frames(hard: Hard, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cuts = hard(name)
    everything = frames_of(cuts.path)
    base = whole_span(cuts.path)
    monkeypatch.setattr(video, "SEEK_GAP_S", 0.2)
    for first, last in ((20, 23), (61, 100), (cuts.num_frames - 2, cuts.num_frames)):
        end_pts = everything[last].pts if last < cuts.num_frames else base.end_pts
        span = Span(everything[first].pts, end_pts, base.time_base_num, base.time_base_den)
        found = frames_of(cuts.path, spans=span)
        assert [frame.pts for frame in found] == [frame.pts for frame in everything[first:last]]
        for frame, expected in zip(found, everything[first:last], strict=True):
            assert frame.bgr is not None and expected.bgr is not None
            np.testing.assert_array_equal(frame.bgr, expected.bgr)


def test_a_keyframe_that_is_none_is_not_decoded_from(real_footage: Path) -> None:
    """Three keyframes, the second of which frames after it look past: decoding from there gave a green picture."""
    path = real_footage / "imageio_cockatoo.mp4"
    everything = {frame.pts: frame.bgr for frame in frames_of(path)}
    base = whole_span(path)
    start = min(pts for pts in everything if pts * base.time_base >= 6)
    span = Span(start, base.end_pts, base.time_base_num, base.time_base_den)
    for frame in frames_of(path, spans=span):
        np.testing.assert_array_equal(frame.bgr, everything[frame.pts])


def test_overlapping_and_distant_spans_share_one_pass(tmp_path: Path) -> None:
    path = moving_texture(tmp_path / "long.mp4", seconds=12, size=(160, 90))
    everything, base = frames_of(path), whole_span(path)

    def span(first: int, last: int) -> Span:
        return Span(everything[first].pts, everything[last].pts, base.time_base_num, base.time_base_den)

    pass_over = scan(str(path), [EVERY], [span(240, 250), span(0, 5), span(3, 8), span(8, 10)])
    span_indices = [seen.span_index for seen in pass_over]
    assert [span_indices.count(index) for index in range(4)] == [10, 5, 5, 2]
    assert pass_over.num_frames == 20  # each counted once


def test_equal_specs_share_the_same_arrays(hard: Hard) -> None:
    slow = FrameSpec(fps=4, short_side_px=96, planes="bgr")
    every = {}
    for seen in scan(str(hard("plain").path), [EVERY, slow, FrameSpec(4, 96, "bgr")]):
        if seen.spec == slow:
            assert every[seen.frame.pts].bgr is seen.frame.bgr
        every[seen.frame.pts] = seen.frame


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(30000, 1001), Fraction(60)])
@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_sampling_follows_time_not_frame_numbers(tmp_path: Path, rate: Fraction, ending: str) -> None:
    path = moving_texture(tmp_path / f"clip{ending}", seconds=3, fps=rate, size=(64, 64))
    times = np.array([frame.time_s for frame in frames_of(path, FrameSpec(fps=10, short_side_px=64))])
    ticks = np.arange(30) / 10
    assert len(times) == 30
    assert np.all(times >= ticks - 0.002) and np.all(times < ticks + 1 / float(rate))


def test_sampling_a_variable_rate_gives_the_first_frame_after_each_tick(tmp_path: Path) -> None:
    times_s = uneven_times(100)
    path = shots(tmp_path / "vfr.mkv", num_shots=1, seconds_each=100 / 24, encoding=Encoding(times_s=times_s)).path
    expected = []
    for time_s in times_s:
        if not expected or int((time_s + 0.001) * 5) > int((expected[-1] + 0.001) * 5):
            expected.append(time_s)
    found = [frame.time_s for frame in frames_of(path, FrameSpec(fps=5, short_side_px=64))]
    assert found == pytest.approx(expected, abs=0.002)


def test_a_rate_above_the_source_gives_every_frame(hard: Hard) -> None:
    cuts = hard("mkv")
    assert len(frames_of(cuts.path, FrameSpec(fps=24, short_side_px=64))) == cuts.num_frames
    assert len(frames_of(cuts.path, FrameSpec(fps=120, short_side_px=64))) == cuts.num_frames


def test_what_is_left_of_a_truncated_file_is_read(tmp_path: Path) -> None:
    pass_over = scan(str(broken_files(tmp_path)["truncated-tail"]), [EVERY])
    assert 10 < len(list(pass_over)) < 40
    assert pass_over.num_decode_errors > 0


def test_damage_in_the_middle_costs_only_the_damaged_frames(tmp_path: Path) -> None:
    path = moving_texture(tmp_path / "damaged.mp4", seconds=4)
    whole = [frame.pts for frame in frames_of(path)]
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = bytes(3000)
    path.write_bytes(content)
    pass_over = scan(str(path), [EVERY])
    left = [seen.frame.pts for seen in pass_over]
    assert set(left) <= set(whole) and len(left) >= len(whole) - 24
    assert left[-1] == whole[-1]


def test_a_span_of_another_file_is_refused(hard: Hard) -> None:
    with pytest.raises(UnreadableVideo, match="counts time in 1/1000 s, the span in 1/12288 s; split it again"):
        frames_of(hard("mkv").path, spans=Span(0, 100, 1, 12288))


@pytest.mark.slow
def test_a_source_in_an_object_store_reads_like_a_file(hard: Hard, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        address = "http://{}:{}".format(*server.get_host_and_port())
        for name, value in (("ACCESS_KEY_ID", "test"), ("SECRET_ACCESS_KEY", "test"), ("DEFAULT_REGION", "us-east-1")):
            monkeypatch.setenv(f"AWS_{name}", value)
        client = boto3.client("s3", endpoint_url=address)
        client.create_bucket(Bucket="footage")
        path = hard("b-frames").path
        client.upload_file(str(path), "footage", "clip.mp4")
        uri = f"s3://footage/clip.mp4?endpoint_override={address.removeprefix('http://')}&scheme=http"
        assert fingerprint(uri) == fingerprint(str(path))
        remote = [seen.frame for seen in scan(uri, [EVERY])]
        for frame, expected in zip(remote, frames_of(path), strict=True):
            assert frame.bgr is not None and expected.bgr is not None
            np.testing.assert_array_equal(frame.bgr, expected.bgr)
    finally:
        server.stop()


def numbered(path: Path, num_frames: int, encoding: Encoding) -> Path:
    """Frame k has grey level 4 * k, so the order of what is read can be checked."""
    return write_video(path, (np.full((96, 128, 3), 4 * index, np.uint8) for index in range(num_frames)), encoding)


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_frames_at_the_source_rate_are_the_source_frames(tmp_path: Path, ending: str) -> None:
    path = numbered(tmp_path / f"grey{ending}", 48, Encoding())
    levels = [int(image.mean().round()) for image in read_frames(str(path), whole_span(path), 128, 96, 48, 24)]
    assert levels == pytest.approx([4 * index for index in range(48)], abs=2)


def test_frames_at_a_lower_rate_are_those_on_show(tmp_path: Path) -> None:
    path = numbered(tmp_path / "grey.mp4", 48, Encoding())
    levels = [round(image.mean() / 4) for image in read_frames(str(path), whole_span(path), 128, 96, None, 16)]
    assert levels == [index * 24 // 16 for index in range(32)]


def test_frames_are_cropped_not_distorted(tmp_path: Path) -> None:
    image = np.zeros((180, 320, 3), np.uint8)
    image[:, 70:250] = (32, 192, 64)
    path = write_video(tmp_path / "square.mp4", [image] * 3)
    (square,) = read_frames(str(path), whole_span(path), 90, 90, 1, 24)
    assert square.shape == (90, 90, 3)
    np.testing.assert_allclose(square[:, 2:-2].reshape(-1, 3), np.tile((32, 192, 64), (90 * 86, 1)), atol=12)


def test_too_many_frames_are_refused_before_decoding(hard: Hard) -> None:
    path = hard("plain").path
    with pytest.raises(ValueError, match=r"145 frames at 24 per second were asked of a span of 6\.000 s"):
        read_frames(str(path), whole_span(path), 64, 64, 145, 24)


def test_a_member_reads_as_it_was_written(tmp_path: Path) -> None:
    path = moving_texture(tmp_path / "member.mp4", seconds=0.5)
    member = read_member(path.read_bytes())
    assert member.dtype == np.uint8 and member.shape == (12, 180, 320, 3)
    np.testing.assert_array_equal(member, np.stack(list(read_frames(str(path), whole_span(path), 320, 180, 12, 24))))


def test_a_member_with_an_edit_list_is_refused(hard: Hard) -> None:
    content = hard("edit-list").path.read_bytes()
    with pytest.raises(ValueError, match="must start at 0 s and have no edit list"):
        read_member(content)


def test_a_member_that_is_no_video_is_refused() -> None:
    with pytest.raises(ValueError, match="a training member of 9 bytes does not decode"):
        read_member(b"not video")


def test_a_clip_gets_the_frames_of_ticks_whether_the_whole_file_is_read_or_only_it(hard: Hard) -> None:
    path = hard("b-frames").path
    spec = FrameSpec(fps=7, short_side_px=32)
    everything = scan(str(path), [EVERY, spec])
    seen_by = [(seen.spec, seen.frame.pts) for seen in everything]
    every, times = ([pts for spec, pts in seen_by if spec == wanted] for wanted in (EVERY, spec))
    assert everything.facts is not None
    base, on_tick = everything.facts.time_base, Ticks(7, everything.facts.time_base).hit
    for start, end in ((times[3], times[20]), (times[3] + 1, times[20] + 1), (times[5] - 1, times[9])):
        alone = scan(str(path), [spec], Span(start, end, base.numerator, base.denominator))
        ticked = [seen.frame.pts for seen in alone if not seen.stands_in]
        first = min(pts for pts in every if pts >= start)
        assert ticked == [pts for pts in times if start <= pts < end and (pts > first or on_tick(pts))]


def test_the_first_frame_stands_in_for_a_span_without_a_tick(tmp_path: Path) -> None:
    path = moving_texture(tmp_path / "clip.mp4", seconds=3)
    pass_over = scan(str(path), [EVERY])
    times = [seen.frame.pts for seen in pass_over]
    assert pass_over.facts is not None
    base = pass_over.facts.time_base
    slow = FrameSpec(fps=0.5, short_side_px=32)
    (seen,) = scan(str(path), [slow], Span(times[3], times[9], base.numerator, base.denominator))
    assert seen.stands_in and seen.frame.pts == times[3]


def test_coded_bytes_are_those_of_the_frames(tmp_path: Path) -> None:
    path = moving_texture(tmp_path / "clip.mp4", seconds=2)
    pass_over = scan(str(path), [EVERY])
    times = [seen.frame.pts for seen in pass_over]
    parts = [pass_over.num_bytes(times[0], times[20]), pass_over.num_bytes(times[20], pass_over.end_pts)]
    assert min(parts) > 0 and 0.8 * path.stat().st_size < sum(parts) < path.stat().st_size


def test_motion_vectors_tell_how_the_picture_moves(tmp_path: Path) -> None:
    encoding = Encoding(options={"preset": "medium", "g": "48", "crf": "18", "bf": "0"})
    path = moving_texture(tmp_path / "pan.mp4", seconds=2, size=(320, 180), step_px=(4, 0), encoding=encoding)
    spec = FrameSpec(fps=None, short_side_px=90, planes="vectors")
    frames = frames_of(path, spec)
    assert frames[0].vectors is None
    blocks = np.concatenate([frame.vectors for frame in frames if frame.vectors is not None])
    speed = np.average(blocks[:, 2:4], axis=0, weights=blocks[:, 4])
    assert speed == pytest.approx([4 * 24 / 180, 0], abs=0.05)
    assert blocks[:, :2].min() >= 0 and blocks[:, :2].max() < 1.1  # blocks may lie over the edge


def test_frames_of_a_cropped_part_are_that_part(tmp_path: Path) -> None:
    picture = np.zeros((180, 320, 3), np.uint8)
    picture[20:160, 40:280] = 200
    path = write_video(tmp_path / "bars.mp4", [picture] * 24, Encoding())
    crop = Crop("clip", "1", 40, 20, 240, 140, "letterbox")
    (frame, *_) = read_frames(str(path), whole_span(path), 120, 70, 2, 24, crop=crop)
    assert frame.shape == (70, 120, 3) and frame[4:-4, 4:-4].min() > 180
    (whole, *_) = read_frames(str(path), whole_span(path), 160, 90, 2, 24)
    assert whole[0].max() < 30
