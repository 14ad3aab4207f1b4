from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import ValidationError

from curation.crop import CropSettings
from curation.records import Clip, Score, UserError
from curation.score import (
    Answers,
    Judges,
    ScoreSettings,
    load_judges,
    missing_requirements,
    score_clips,
    scorer_versions,
    watch_whole,
)
from curation.scorer import ClipFrames, Scorer
from curation.source import UnreadableVideo
from curation.split import SplitSettings, split_video
from curation.video import FrameSpec
from tests.footage import Cuts, broken_files, drift, moving_texture, texture, write_video

Hard = Callable[[str], Cuts]
QUICK = ScoreSettings(scorers=("sharpness", "exposure", "motion"), embedders=())


class Probe:
    """A scorer that remembers what it was given, and fails or answers as told."""

    settings_class: ClassVar[Any] = None
    direction: ClassVar[Any] = "two-sided"
    unit: ClassVar[str] = "frames"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 100.0
    version = "probe-1"

    def __init__(self, frames: FrameSpec, answer: float | Exception | None = None) -> None:
        self.frames, self.answer, self.given = frames, answer, []

    def missing(self) -> str | None:
        return None

    def load(self) -> None:
        pass

    def __call__(self, clip: ClipFrames) -> float:
        self.given.append(clip)
        if isinstance(self.answer, Exception):
            raise self.answer
        return len(clip.luma) if self.answer is None else self.answer


def clips_in(path: Path, **settings: Any) -> list[Clip]:
    return split_video(str(path), SplitSettings(**settings))[1]


def values(results: list[tuple[Clip, Answers | UnreadableVideo]]) -> dict[str, list[float | None]]:
    return {clip.clip_id: [score.value for score in got.scores] for clip, got in results if isinstance(got, Answers)}


def judged_by(scorers: dict[str, Scorer]) -> Judges:
    return Judges(scorers, {}, dict.fromkeys(scorers, "1"), CropSettings(borders=False))


def scores_of(got: Answers | UnreadableVideo) -> list[Score]:
    assert isinstance(got, Answers)
    return got.scores


def test_every_clip_gets_every_score_in_order(hard: Hard) -> None:
    path = hard("b-frames").path
    clips = clips_in(path)
    results = list(score_clips(str(path), clips, load_judges(QUICK)))
    assert [clip for clip, _ in results] == clips
    versions = scorer_versions(QUICK)
    for clip, got in results:
        assert [score.scorer for score in scores_of(got)] == list(QUICK.scorers)
        for score in scores_of(got):
            assert (score.clip_id, score.version, score.error) == (clip.clip_id, versions[score.scorer], None)


@pytest.mark.parametrize("name", ["plain", "mpegts", "edit-list", "hevc", "variable-rate-mkv", "late-start"])
def test_a_clip_scores_alone_as_among_its_neighbours(hard: Hard, name: str) -> None:
    path = hard(name).path
    clips = clips_in(path)
    scorers = load_judges(QUICK)
    together = values(list(score_clips(str(path), clips, scorers)))
    for clip in (clips[-1], clips[1]):
        assert values(list(score_clips(str(path), [clip], scorers)))[clip.clip_id] == together[clip.clip_id]


def test_overlapping_clips_in_any_order_get_their_own_frames(hard: Hard) -> None:
    path = hard("plain").path
    whole = split_video(str(path), SplitSettings(options={"threshold": 255}))[1]
    clips = [*whole, *reversed(clips_in(path))]
    probe = Probe(FrameSpec(None, 32))
    counted = dict(score_clips(str(path), clips, judged_by({"probe": probe})))
    for clip in clips:
        (score,) = scores_of(counted[clip])
        assert score.value == clip.num_frames


def test_scorers_with_equal_specs_see_the_same_arrays(hard: Hard) -> None:
    path = hard("plain").path
    probes: dict[str, Scorer] = {name: Probe(FrameSpec(4, 32)) for name in ("one", "two")}
    list(score_clips(str(path), clips_in(path)[:1], judged_by(probes)))
    one, two = probes.values()
    assert one.given[0].luma is two.given[0].luma  # type: ignore[attr-defined]


def test_frames_are_let_go_when_their_clip_is_over(hard: Hard) -> None:
    path = hard("plain").path
    clips = clips_in(path)
    results = score_clips(str(path), clips, judged_by({"probe": Probe(FrameSpec(None, 32))}))
    assert next(results)[0] == clips[0]  # before the end of the file


def test_a_scorer_that_fails_gives_an_error_not_a_number(hard: Hard) -> None:
    path = hard("plain").path
    scorers: dict[str, Scorer] = {
        "broken": Probe(FrameSpec(4, 32), ZeroDivisionError("no pixels")),
        "undefined": Probe(FrameSpec(4, 32), float("nan")),
        "right": Probe(FrameSpec(4, 32), 7.0),
    }
    for _, got in score_clips(str(path), clips_in(path), judged_by(scorers)):
        assert [(score.value, score.error) for score in scores_of(got)] == [
            (None, "ZeroDivisionError: no pixels"),
            (None, "ValueError: the value is nan"),
            (7.0, None),
        ]


def test_a_clip_that_does_not_decode_spares_its_neighbours(tmp_path: Path) -> None:
    path = moving_texture(tmp_path / "clip.mp4", seconds=6)
    clips = clips_in(path, min_clip_s=1, max_clip_s=2)
    content = bytearray(path.read_bytes())
    start, end = len(content) * 30 // 100, len(content) * 72 // 100
    content[start:end] = bytes(end - start)
    path.write_bytes(content)
    damaged = [clip.__class__(**{**clip.__dict__, "video_id": clips_in(path)[0].video_id}) for clip in clips]
    results = list(score_clips(str(path), damaged, load_judges(QUICK)))
    assert [type(got) for _, got in results] == [Answers, UnreadableVideo, Answers]
    assert results[1][1].reason == "no decodable frame"  # type: ignore[union-attr]


def test_a_file_that_broke_after_the_split_fails_for_all_its_clips(hard: Hard, tmp_path: Path) -> None:
    clips = clips_in(hard("plain").path)
    for path, reason in (
        (tmp_path / "gone.mp4", "not found"),
        (moving_texture(tmp_path / "other.mp4"), "source changed"),
        (broken_files(tmp_path)["empty"], "source changed"),
    ):
        results = list(score_clips(str(path), clips, load_judges(QUICK)))
        assert [clip for clip, _ in results] == clips
        assert {got.reason for _, got in results if isinstance(got, UnreadableVideo)} == {reason}


def test_no_clips_open_no_file() -> None:
    assert list(score_clips("/nowhere.mp4", [], judged_by({}))) == []


def test_all_that_is_missing_is_said_before_anything_is_loaded() -> None:
    settings = ScoreSettings(scorers=("exposure", "aesthetic"))
    (sentence,) = missing_requirements(settings)
    assert sentence.startswith("aesthetic lacks the CLIP weights: set score.options.aesthetic.pretrained")
    with pytest.raises(UserError, match="cannot score: aesthetic lacks the CLIP weights"):
        load_judges(settings)
    assert missing_requirements(QUICK) == []


def test_settings_name_their_mistakes() -> None:
    with pytest.raises(ValidationError, match="no scorer 'beauty'; the scorers are aesthetic"):
        ScoreSettings(scorers=("beauty",))
    with pytest.raises(ValidationError, match=r"settings of scorer 'motion': speed: .*It has: fps, max_gap_s"):
        ScoreSettings(options={"motion": {"speed": 1}})


def test_options_reach_their_scorer() -> None:
    settings = ScoreSettings(scorers=("motion",), options={"motion": {"fps": 5}})
    assert load_judges(settings).scorers["motion"].frames == FrameSpec(5, 144)


def test_every_answer_is_about_the_cropped_part(tmp_path: Path) -> None:
    bars = [
        np.pad(picture[30:-30], ((30, 30), (0, 0), (0, 0))) for picture in drift(texture(1, (320, 180)), 48, (2, 1))
    ]
    path = write_video(tmp_path / "letterboxed.mp4", bars)
    probe = Probe(FrameSpec(4, 32))
    judges = replace(judged_by({"probe": probe}), crop=CropSettings())
    ((_, got),) = score_clips(str(path), clips_in(path), judges)
    assert isinstance(got, Answers) and got.crop.reason == "letterbox"
    assert abs(got.crop.top - 30) <= 4 and abs(got.crop.height - 120) <= 8 and got.crop.width == 320
    (seen,) = probe.given
    assert seen.luma.shape[1] == pytest.approx(32 * got.crop.height / 180, abs=1)
    assert seen.about.crop == got.crop and seen.whole is not None and seen.luma.mean() > seen.whole.luma.mean()


def test_a_crop_of_other_settings_makes_other_versions() -> None:
    plain = ScoreSettings(scorers=("exposure",), crop=CropSettings(borders=False))
    assert scorer_versions(plain) != scorer_versions(ScoreSettings(scorers=("exposure",)))


def test_each_embedder_gives_each_clip_a_unit_vector(hard: Hard) -> None:
    path = hard("plain").path
    settings = ScoreSettings(scorers=())
    for clip, got in score_clips(str(path), clips_in(path), load_judges(settings)):
        assert isinstance(got, Answers)
        (embedding,) = got.embeddings
        assert embedding.clip_id == clip.clip_id and embedding.embedder == "perceptual_hash"
        assert np.linalg.norm(embedding.vector) == pytest.approx(1, abs=1e-4)


def test_a_whole_file_is_watched_as_one_clip_with_its_caption(tmp_path):
    path = moving_texture(tmp_path / "made.mp4", seconds=1.5)
    every, some = FrameSpec(None, 48), FrameSpec(4.0, 32, planes="bgr")
    watched = watch_whole(str(path), [every, some], "a texture drifts")
    assert len(watched.frames[every]) == watched.about.num_frames == 36
    assert len(watched.frames[some]) == 6
    assert watched.about.frame_rate == pytest.approx(24.0) and watched.about.caption == "a texture drifts"
    assert watched.about.num_bytes is not None and 0 < watched.about.num_bytes < path.stat().st_size


def test_a_whole_file_without_frames_is_unreadable(tmp_path):
    empty = tmp_path / "empty.mp4"
    empty.write_bytes(b"")
    with pytest.raises(UnreadableVideo, match="has 0 bytes"):
        watch_whole(str(empty), [FrameSpec(None, 48)])
