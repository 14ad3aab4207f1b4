"""Rendered scenes whose camera is known: every class, with and without somebody who walks by."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from curation.scorer import About, Answer, ClipFrames
from curation.scorers.camera_movement import CameraMovementScorer, CameraMovementSettings
from tests.curation.camera_scene import CLASSES, COLUMNS, FPS, LINES, rendered
from tests.curation.clip_frames import score_file

SURE = 0.7


def scored(luma: np.ndarray) -> Answer:
    about = About(COLUMNS, LINES, FPS)
    clip = ClipFrames(luma, None, np.arange(len(luma)) / FPS, FPS, about)
    return CameraMovementScorer(CameraMovementSettings())(clip)


@cache
def answers(label: str) -> tuple[Answer, ...]:
    """A plain clip, one from a stand that trembles a little, and one with somebody who walks by."""
    plain, trembling = rendered(label, 2, seconds=1.5), rendered(label, 4, seconds=1.5, shaky=0.001)
    return scored(plain), scored(trembling), scored(rendered(label, 3, seconds=1.5, mover=True))


@pytest.mark.parametrize("label", CLASSES)
def test_each_class_is_recognised_in_most_of_its_clips(label: str) -> None:
    assert sum(answer.label == label for answer in answers(label)) >= 2


def test_sure_answers_are_right_nine_times_in_ten_and_most_answers_are_sure() -> None:
    sure = [(label, answer.label) for label in CLASSES for answer in answers(label) if answer.value >= SURE]
    assert len(sure) >= 0.7 * 3 * len(CLASSES)
    assert sum(truth == told for truth, told in sure) >= 0.9 * len(sure)


@pytest.mark.parametrize(
    ("forth", "back"), [("pan left", "pan right"), ("tilt up", "tilt down"), ("zoom in", "zoom out")]
)
def test_the_same_clip_backwards_is_the_opposite_movement(forth: str, back: str) -> None:
    assert scored(rendered(forth, 2, seconds=1.5)[::-1]).label == back


def test_a_mirrored_clip_goes_the_other_way() -> None:
    assert scored(rendered("around left", 1, seconds=1.5)[:, :, ::-1]).label == "around right"
    assert scored(rendered("pan right", 1, seconds=1.5)[:, :, ::-1]).label == "pan left"


def test_a_move_that_turns_back_is_not_named_with_confidence() -> None:
    there = rendered("pan left", 2, seconds=1.5)
    answer = scored(np.concatenate([there, there[::-1]]))
    assert answer.value < SURE


def test_where_nothing_tells_near_from_far_travelling_looks_like_turning() -> None:
    assert scored(rendered("pan left", 2, seconds=1.5, flat=True)).label == "tilt left"


def test_flicker_is_not_a_hand() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (15, LINES, COLUMNS)).astype(np.uint8)
    assert scored(noise).value < SURE


def test_the_picture_of_it_names_the_likeliest_classes() -> None:
    luma = rendered("pan left", 1, seconds=1.5)
    clip = ClipFrames(luma, None, np.arange(len(luma)) / FPS, FPS, About(COLUMNS, LINES, FPS))
    assert CameraMovementScorer(CameraMovementSettings()).draw(clip).shape[1] <= 1640


@pytest.mark.parametrize(
    ("name", "holds"),
    [
        ("intel_car-detection.mp4", lambda answer: answer.label == "static shot" and answer.value >= SURE),
        ("sam2_05_default_juggle.mp4", lambda answer: answer.label == "static shot" and answer.value >= SURE),
        ("dover_17734.mp4", lambda answer: answer.label == "handheld shot"),
    ],
)
def test_real_clips_are_named_as_people_would(real_footage: Path, name: str, holds: Callable[[Answer], bool]) -> None:
    answer = score_file(CameraMovementScorer(CameraMovementSettings()), real_footage / name)
    assert isinstance(answer, Answer) and holds(answer), answer
