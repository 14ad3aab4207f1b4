import itertools
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from pydantic import ValidationError

from curation.source import UnreadableVideo, fingerprint
from curation.split import SplitSettings, spans_of, split_video, splitter_version
from tests.footage import HARD_NAMES, Cuts, Encoding, broken_files, moving_texture, shots

Hard = Callable[[str], Cuts]


@pytest.mark.parametrize("name", HARD_NAMES)
def test_clips_are_the_shots_to_the_frame(hard: Hard, name: str) -> None:
    cuts = hard(name)
    video, clips = split_video(str(cuts.path), SplitSettings(trim_frames=0))
    first_s = video.start_pts * video.time_base
    starts = [start_s - cuts.starts_s[0] for start_s in cuts.starts_s]
    assert [clip.start_s - first_s for clip in clips] == pytest.approx(starts, abs=0.002)
    assert [(before.end_pts == after.start_pts) for before, after in itertools.pairwise(clips)] == [True] * 3
    assert (video.width, video.height) == cuts.size
    assert sum(clip.num_frames for clip in clips) == video.num_frames == cuts.num_frames
    assert clips[-1].end_pts == video.end_pts


def test_frames_beside_a_cut_are_left_out_but_not_those_at_the_ends(hard: Hard) -> None:
    cuts = hard("b-frames")
    _, clips = split_video(str(cuts.path), SplitSettings(trim_frames=3))
    assert [clip.num_frames for clip in clips] == [33, 30, 30, 33]
    assert [clip.start_s for clip in clips] == pytest.approx([0, 1.625, 3.125, 4.625])
    assert clips[-1].end_s == pytest.approx(6)


def seconds_of(length_s: float, settings: SplitSettings) -> list[float]:
    ends = list(range(round(length_s * 24) + 1))
    return [(last - first) / 24 for first, last in spans_of(ends, [], Fraction(1, 24), settings)]


def test_long_shots_become_windows_none_of_which_is_too_short() -> None:
    settings = SplitSettings(min_clip_s=1, max_clip_s=4)
    assert seconds_of(0.9, settings) == []
    assert seconds_of(4, settings) == [4]
    assert seconds_of(4.5, settings) == [2.25, 2.25]
    assert seconds_of(9.5, settings) == [4, 4, 1.5]
    assert seconds_of(8.5, settings) == [4, 2.25, 2.25]


def test_windows_do_not_depend_on_what_comes_much_later() -> None:
    settings = SplitSettings(min_clip_s=1, max_clip_s=4)
    short, long = seconds_of(50, settings), seconds_of(500, settings)
    assert long[: len(short) - 2] == short[:-2]


def test_the_same_footage_under_two_names_is_one_video(hard: Hard, tmp_path: Path) -> None:
    path = hard("plain").path
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(path.read_bytes())
    (video, clips), (again, clips_again) = (split_video(str(name), SplitSettings()) for name in (path, copy))
    assert video.video_id == again.video_id == fingerprint(str(path))
    assert [clip.clip_id for clip in clips] == [clip.clip_id for clip in clips_again]


def test_anything_that_moves_cuts_changes_the_version() -> None:
    versions = [
        splitter_version(settings)
        for settings in (
            SplitSettings(),
            SplitSettings(options={"threshold": 30}),
            SplitSettings(short_side_px=128),
            SplitSettings(trim_frames=0),
            SplitSettings(detector="adaptive"),
        )
    ]
    assert len(set(versions)) == len(versions)
    assert splitter_version(SplitSettings(options={"threshold": 31})) == versions[0]


def test_facts_of_the_source_are_recorded(tmp_path: Path) -> None:
    encoding = Encoding(title="A walk by the river")
    path = moving_texture(
        tmp_path / "walk.mp4", seconds=2, fps=Fraction(30000, 1001), size=(320, 180), encoding=encoding
    )
    video, (clip,) = split_video(str(path), SplitSettings())
    assert (video.codec, video.pixel_format, video.coded_width, video.coded_height) == ("h264", "yuv420p", 320, 180)
    assert video.frame_rate == pytest.approx(30000 / 1001)
    assert (video.num_frames, video.num_decode_errors, video.title) == (60, 0, "A walk by the river")
    assert video.duration_s == pytest.approx(2.002) and video.size_bytes == path.stat().st_size
    assert (clip.video_id, clip.uri, clip.num_frames) == (video.video_id, str(path), 60)


def test_the_rate_of_uneven_footage_is_its_mean(hard: Hard) -> None:
    cuts = hard("variable-rate-mkv")
    video, _ = split_video(str(cuts.path), SplitSettings())
    assert video.frame_rate == pytest.approx(143 / (cuts.end_s - 1 / 24), rel=0.001)


def test_lost_frames_do_not_lower_the_rate(real_footage: Path) -> None:
    video, _ = split_video(str(real_footage / "decord_corrupted.mp4"), SplitSettings())
    assert (video.num_frames, video.num_decode_errors, video.frame_rate) == (49, 1, 10)


@pytest.mark.parametrize("name", ["clip.mp4.txt", "clip.txt"])
def test_the_text_beside_a_video_is_its_title(tmp_path: Path, name: str) -> None:
    path = moving_texture(tmp_path / "clip.mp4", seconds=0.5, encoding=Encoding(title="exported 0017"))
    (tmp_path / name).write_text("  Grey waves\n  under a pier ")
    assert split_video(str(path), SplitSettings())[0].title == "Grey waves under a pier"


@pytest.mark.parametrize("name", ["empty", "truncated", "text", "noise", "audio-only"])
def test_a_file_without_video_is_unreadable(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnreadableVideo):
        split_video(str(broken_files(tmp_path)[name]), SplitSettings())


def test_what_decodes_of_a_truncated_file_is_split(tmp_path: Path) -> None:
    video, clips = split_video(str(broken_files(tmp_path)["truncated-tail"]), SplitSettings(min_clip_s=0.2))
    assert video.num_decode_errors > 0
    assert [clip.num_frames for clip in clips] == [video.num_frames]


def test_shots_too_short_to_keep_leave_no_clip(tmp_path: Path) -> None:
    cuts = shots(tmp_path / "quick.mp4", num_shots=3, seconds_each=0.8)
    assert split_video(str(cuts.path), SplitSettings())[1] == []


def test_settings_that_would_lose_footage_are_refused() -> None:
    with pytest.raises(ValidationError, match="must be at least twice min_clip_s"):
        SplitSettings(min_clip_s=3, max_clip_s=5)
    with pytest.raises(ValidationError, match="no detector 'magic'; the detectors are"):
        SplitSettings(detector="magic")
    with pytest.raises(ValidationError, match="It has: threshold"):
        SplitSettings(options={"window_frames": 3})


def test_cuts_of_real_footage_are_found(real_footage: Path) -> None:
    """F1 at +-2 frames over files whose cuts a person verified: 0.938 over all of them when this was written."""
    settings = SplitSettings(trim_frames=0, min_clip_s=0.01, max_clip_s=1000)
    right = wrong = missed = 0
    for name, truth in json.loads((real_footage / "cuts.json").read_text()).items():
        if not name.startswith(("skv_", "dover_", "psd_issue-195", "moviepy_chaplin", "decord_")):
            continue  # the rest takes three times as long for 4 more cuts
        _, clips = split_video(str(real_footage / name), settings)
        found = [sum(clip.num_frames for clip in clips[:index]) for index in range(1, len(clips))]
        matched = [cut for cut in truth if any(abs(cut - each) <= 2 for each in found)]
        right, missed, wrong = (
            right + len(matched),
            missed + len(truth) - len(matched),
            wrong + len(found) - len(matched),
        )
    assert 2 * right / (2 * right + wrong + missed) > 0.85
