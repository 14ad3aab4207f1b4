"""One decode for everything gives what splitting first and scoring after gives, bit for bit."""

from collections.abc import Callable
from pathlib import Path

import pytest

from curation.curate import curate_video
from curation.score import Answers, Judges, ScoreSettings, load_judges, score_clips
from curation.source import UnreadableVideo
from curation.split import SplitSettings, split_video
from tests.cut_footage import cut_film
from tests.footage import HARD_NAMES, Cuts, broken_files, moving_texture, shots

SETTINGS = ScoreSettings(scorers=("sharpness", "exposure", "motion", "bits_per_pixel"))


def apart(path: Path, settings: SplitSettings, judges: Judges) -> tuple[object, list[object], list[Answers]]:
    video, clips = split_video(str(path), settings)
    answers = [answer for _, answer in score_clips(str(path), clips, judges)]
    assert all(isinstance(answer, Answers) for answer in answers)
    return video, list(clips), [answer for answer in answers if isinstance(answer, Answers)]


@pytest.mark.parametrize("name", HARD_NAMES)
def test_clips_and_answers_are_those_of_two_decodes(hard: Callable[[str], Cuts], name: str) -> None:
    path, judges = hard(name).path, load_judges(SETTINGS)
    settings = SplitSettings()
    curated = curate_video(str(path), settings, judges)
    assert (curated.video, curated.clips, curated.answers) == apart(path, settings, judges)
    assert len(curated.answers) == len(curated.clips) >= 3


def test_windows_of_a_long_shot_are_scored_as_they_end(tmp_path: Path) -> None:
    path, judges = moving_texture(tmp_path / "long.mp4", seconds=9.3, step_px=(2, 1)), load_judges(SETTINGS)
    settings = SplitSettings(min_clip_s=1, max_clip_s=2)
    curated = curate_video(str(path), settings, judges)
    assert (curated.video, curated.clips, curated.answers) == apart(path, settings, judges)
    assert len(curated.clips) == 5


def test_joined_shots_are_scored_whole(tmp_path: Path) -> None:
    path = cut_film(tmp_path / "flashes.mp4", ["hard", "hard"], seconds_each=3, flashes=True).path
    judges = load_judges(SETTINGS)
    apart_too_often = SplitSettings(blank_contrast=0)
    for settings, num_clips in ((apart_too_often, 6), (SplitSettings(blank_contrast=0, stitch_similarity=0.5), 3)):
        curated = curate_video(str(path), settings, judges)
        assert (curated.video, curated.clips, curated.answers) == apart(path, settings, judges)
        assert len(curated.clips) == len(curated.answers) == num_clips


@pytest.mark.parametrize(
    "name,similarity", [("psd_testvideo.mp4", 0.5), ("dvr_traffic_camera_vfr.mp4", 0), ("decord_corrupted.mp4", 0)]
)
def test_real_footage_is_no_exception(real_footage: Path, name: str, similarity: float) -> None:
    path, judges = real_footage / name, load_judges(SETTINGS)
    settings = SplitSettings(stitch_similarity=similarity)
    curated = curate_video(str(path), settings, judges)
    assert (curated.video, curated.clips, curated.answers) == apart(path, settings, judges)


def test_a_clip_without_a_frame_of_every_kind_is_left_to_score_clips(tmp_path: Path) -> None:
    path = shots(tmp_path / "quick.mp4", num_shots=4, seconds_each=0.7).path
    settings = SplitSettings(min_clip_s=0.2, trim_frames=1)
    judges = load_judges(ScoreSettings(scorers=("exposure",), options={"exposure": {"fps": 0.5}}, embedders=()))
    curated = curate_video(str(path), settings, judges)
    assert len(curated.clips) == 4 and 0 < len(curated.answers) < 4
    _, _, answers = apart(path, settings, judges)
    assert len(answers) == 4 and all(answer in answers for answer in curated.answers)


@pytest.mark.parametrize("name", ["empty", "truncated", "text", "audio-only"])
def test_a_file_without_video_is_unreadable(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnreadableVideo):
        curate_video(str(broken_files(tmp_path)[name]), SplitSettings(), load_judges(SETTINGS))
