from pathlib import Path

import cv2
import numpy as np
import pytest

from curation.records import Crop
from curation.scorers.subtitles import SubtitlesScorer, SubtitlesSettings
from tests.curation.clip_frames import clip_of, value_of_file
from tests.footage import drift, texture


@pytest.fixture(scope="module")
def scorer() -> SubtitlesScorer:
    made = SubtitlesScorer(SubtitlesSettings())
    made.load()
    return made


def spoken(picture: np.ndarray, base: int = 335, left: int = 200) -> np.ndarray:
    frame = np.ascontiguousarray(picture)
    for value, thickness in ((0, 6), (255, 2)):
        cv2.putText(
            frame, "Where were you", (left, base), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (value,) * 3, thickness, cv2.LINE_AA
        )
    return frame


def scenes(count: int = 3) -> list[np.ndarray]:
    return list(drift(texture(0, (640, 360), grain_px=20), count, (40, 25)))


@pytest.mark.parametrize("base", [335, 50])
def test_the_share_of_frames_with_a_line_at_the_bottom_or_top(scorer: SubtitlesScorer, base: int) -> None:
    first, *rest = scenes()
    assert scorer(clip_of([spoken(first, base), *rest], scorer.frames)) == pytest.approx(1 / 3)
    assert scorer(clip_of([spoken(frame, base) for frame in scenes()], scorer.frames)) == 1


def test_a_title_and_a_mark_in_a_corner_are_no_subtitles(scorer: SubtitlesScorer) -> None:
    assert scorer(clip_of([spoken(frame, base=185) for frame in scenes()], scorer.frames)) == 0
    marked = scenes()
    for frame in marked:
        cv2.putText(frame, "TV 5", (560, 340), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 2, cv2.LINE_AA)
    assert scorer(clip_of(marked, scorer.frames)) == 0


def test_subtitles_that_were_cut_off_are_gone(scorer: SubtitlesScorer) -> None:
    clip = clip_of([spoken(frame) for frame in scenes()], scorer.frames)
    assert scorer(clip.cropped(Crop("clip", "1", 0, 0, 640, 296, "subtitles"))) == 0


def test_real_footage(real_footage: Path, scorer: SubtitlesScorer) -> None:
    assert value_of_file(scorer, real_footage / "psd_testvideo.mp4") > 0.5  # fades end in black
    assert value_of_file(scorer, real_footage / "dover_17734.mp4") == 0
