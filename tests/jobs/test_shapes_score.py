"""The detector is right on what was drawn, blind where there is nothing, and no better than guessing by chance."""

import random

import numpy as np
import pytest

from curation.video import read_member
from jobs.shapes import draw, scene_of, shape_item
from jobs.shapes_score import Rate, Seen, score, see


def _asked(numbers: range, moving: bool) -> list[Seen]:
    scenes = [scene_of(number, 4) for number in numbers]
    return [Seen(scene.colour, scene.shape, scene.direction if moving else "") for scene in scenes]


@pytest.mark.parametrize(("size_px", "num_frames"), [(32, 1), (32, 5), (64, 9)])
def test_drawn_clips_are_seen_as_what_they_are(size_px: int, num_frames: int) -> None:
    seen = [see(draw(scene_of(number, 4), size_px, num_frames)) for number in range(48)]
    assert seen == _asked(range(48), moving=num_frames > 1)


def test_packed_clips_are_seen_as_what_they_are() -> None:
    seen = [see(read_member(shape_item(scene_of(number, 4), "large", 64, 9).video)) for number in range(48)]
    assert seen == _asked(range(48), moving=True)


def test_a_dim_and_blurred_shape_is_still_seen() -> None:
    import cv2

    for number in range(0, 48, 5):
        scene = scene_of(number, 4)
        frames = np.stack([cv2.GaussianBlur(frame, (0, 0), 1.5) for frame in draw(scene, 64, 9)])
        seen = see((frames * 0.8).astype(np.uint8))
        assert seen == Seen(scene.colour, scene.shape, scene.direction)


def test_exchanged_captions_score_what_guessing_scores() -> None:
    numbers = range(240)
    seen = [see(draw(scene_of(number, 4), 32, 5)) for number in numbers]
    asked = _asked(numbers, moving=True)
    random.Random(0).shuffle(asked)
    for rate in score(asked, seen):
        low, high = rate.interval
        assert low < rate.chance < high, rate


def test_grey_noise_shows_nothing() -> None:
    grey = np.random.default_rng(0).integers(0, 255, (5, 32, 32, 1), np.uint8).repeat(3, axis=3)
    assert see(grey) == Seen("", "", "")


def test_a_shape_that_stands_still_has_no_direction() -> None:
    still = draw(scene_of(0, 0), 32, 1)
    assert see(still.repeat(5, axis=0)).direction == ""


def test_a_second_patch_of_colour_does_not_move_what_is_seen() -> None:
    scene = scene_of(1, 0)
    frames = draw(scene, 64, 9)
    frames[:, 60:63, 60:63] = (235, 215, 40)
    assert see(frames) == Seen(scene.colour, scene.shape, scene.direction)


def test_rates_count_what_was_asked_for_and_state_their_interval() -> None:
    asked = [Seen("red", "disc", "left"), Seen("blue", "square", "up")]
    seen = [Seen("red", "disc", "left"), Seen("blue", "disc", "")]
    rates = {rate.name: rate for rate in score(asked, seen)}
    assert [(rate.hits, rate.tries) for rate in rates.values()] == [(2, 2), (1, 2), (1, 2), (1, 2)]
    assert rates["all"].chance == pytest.approx(1 / 48)
    assert "direction" not in {rate.name for rate in score([Seen("red", "disc", "")], [Seen("red", "disc", "")])}
    low, high = Rate("colour", 45, 48, 0.25).interval
    assert (low, high) == (pytest.approx(0.832, abs=1e-3), pytest.approx(0.979, abs=1e-3))
    assert Rate("colour", 45, 48, 0.25).beats_chance and not Rate("colour", 14, 48, 0.25).beats_chance
