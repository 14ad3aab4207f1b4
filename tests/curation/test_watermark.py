from pathlib import Path

import cv2
import numpy as np
import pytest

from curation.scorers.watermark import WatermarkScorer, WatermarkSettings
from tests.curation.clip_frames import clip_of, value_of_file
from tests.footage import drift, texture, write_video


@pytest.fixture(scope="module")
def scorer() -> WatermarkScorer:
    made = WatermarkScorer(WatermarkSettings())
    made.load()
    return made


def pan(count: int = 8) -> list[np.ndarray]:
    return list(drift(texture(0, (640, 360), grain_px=16), count, (31, 17)))


def stamped(picture: np.ndarray, left: int, top: int, opacity: float = 1.0) -> np.ndarray:
    """A ring with a cross in it, 36 px wide: a logo without letters."""
    over = np.ascontiguousarray(picture)
    cv2.circle(over, (left + 18, top + 18), 16, (245, 245, 245), 4, cv2.LINE_AA)
    for across, down in ((12, 0), (0, 12)):
        cv2.line(over, (left + 18 - across, top + 18 - down), (left + 18 + across, top + 18 + down), (20, 20, 20), 4)
    return cv2.addWeighted(over, opacity, np.ascontiguousarray(picture), 1 - opacity, 0)


@pytest.mark.parametrize(("left", "top"), [(580, 20), (20, 20), (20, 300), (580, 300)])
def test_a_logo_that_stays_in_a_corner_is_found(scorer: WatermarkScorer, left: int, top: int) -> None:
    clip = clip_of([stamped(frame, left, top) for frame in pan()], scorer.frames)
    assert scorer(clip) == pytest.approx(36 * 36 / (640 * 360), rel=0.5)


def test_a_moving_picture_has_no_mark(scorer: WatermarkScorer) -> None:
    assert scorer(clip_of(pan(), scorer.frames)) == 0


def test_a_logo_that_travels_with_the_scene_is_none(scorer: WatermarkScorer) -> None:
    frames = [stamped(frame, 20 + 12 * index, 20 + 5 * index) for index, frame in enumerate(pan())]
    assert scorer(clip_of(frames, scorer.frames)) == 0


def test_what_stays_in_the_middle_is_no_watermark(scorer: WatermarkScorer) -> None:
    assert scorer(clip_of([stamped(frame, 300, 160) for frame in pan()], scorer.frames)) == 0


def test_a_camera_that_stands_still_sees_no_marks(scorer: WatermarkScorer) -> None:
    still = stamped(pan(1)[0], 580, 20)
    walkers = [np.ascontiguousarray(still) for _ in range(8)]
    for index, frame in enumerate(walkers):
        cv2.circle(frame, (100 + 50 * index, 200), 40, (200, 40, 40), -1)
    assert scorer(clip_of(walkers, scorer.frames)) == 0


def test_text_in_a_corner_counts_even_where_nothing_moves(scorer: WatermarkScorer) -> None:
    frame = pan(1)[0]
    cv2.putText(frame, "STUDIO 5", (470, 40), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (0, 0, 0), 6, cv2.LINE_AA)
    cv2.putText(frame, "STUDIO 5", (470, 40), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 2, cv2.LINE_AA)
    assert 0.005 < scorer(clip_of([frame] * 3, scorer.frames)) < 0.05


def test_it_survives_compression(tmp_path: Path, scorer: WatermarkScorer) -> None:
    frames = [stamped(frame, 580, 20, opacity=0.8) for frame in drift(texture(1, (640, 360), 16), 144, (3, 2))]
    assert 0.002 < value_of_file(scorer, write_video(tmp_path / "marked.mp4", frames)) < 0.02


def test_real_marks_are_found_and_real_corners_are_none(real_footage: Path, scorer: WatermarkScorer) -> None:
    assert value_of_file(scorer, real_footage / "psd_testvideo.mp4") > 0.03
    for name in ("koala_4.31_w_HPjTkEUJg_48", "skv_bigbuckbunny", "dvr_traffic_camera", "dover_17734"):
        assert value_of_file(scorer, real_footage / f"{name}.mp4") == 0, name
