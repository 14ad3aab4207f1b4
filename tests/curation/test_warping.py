import numpy as np
import pytest

from curation.warping import between, dense_flow, hidden, pulled
from tests.footage import drift, texture

SIZE = (160, 96)


def shifted(step_px: float, num_frames: int = 3) -> list[np.ndarray]:
    """Luma of a texture that moves to the right by so many px a frame."""
    return [frame[..., 1] for frame in drift(texture(0, SIZE, grain_px=12), num_frames, (step_px, 0))]


def inner(picture: np.ndarray) -> np.ndarray:
    return picture[12:-12, 12:-12]


def test_flow_points_to_where_things_went():
    vectors = dense_flow(*shifted(3.0, 2))
    assert np.median(inner(vectors)[..., 0]) == pytest.approx(3.0, abs=0.2)
    assert np.median(inner(vectors)[..., 1]) == pytest.approx(0.0, abs=0.2)


def test_a_frame_is_redrawn_from_the_next():
    before, after = shifted(3.0, 2)
    still = np.abs(inner(after).astype(float) - inner(before)).mean()
    assert np.abs(inner(pulled(after, dense_flow(before, after))) - inner(before)).mean() < 0.1 * still


def test_the_frame_between_is_the_one_that_was_left_out():
    before, middle, after = shifted(3.0, 3)
    crossfade = np.abs((inner(before).astype(float) + inner(after)) / 2 - inner(middle)).mean()
    assert np.abs(inner(between(before, after)) - inner(middle)).mean() < 0.3 * crossfade


def test_light_that_changes_is_no_motion():
    picture = texture(1, SIZE, grain_px=12)[..., 1]
    brighter = np.clip(picture.astype(int) * 0.8 + 40, 0, 255).astype(np.uint8)
    assert np.hypot(*inner(dense_flow(picture, brighter)).transpose(2, 0, 1)).mean() < 0.15


def test_what_is_covered_or_leaves_the_picture_is_hidden():
    ground, thing = texture(0, SIZE, grain_px=12)[..., 1], texture(2, (40, 40), grain_px=6)[..., 1]
    frames = []
    for left in (40, 50):
        frame = ground.copy()
        frame[30:70, left : left + 40] = thing
        frames.append(frame)
    gone = hidden(dense_flow(*frames), dense_flow(*reversed(frames)))
    assert gone[34:66, 83:88].mean() > 0.4  # the ground that the thing moved over
    assert gone[:20].mean() < 0.1
    right = np.zeros((*SIZE[::-1], 2), np.float32)
    right[..., 0] = 4
    assert hidden(right, -right)[:, -4:].all() and not hidden(right, -right)[:, :-4].any()


def test_tiny_pictures_are_refused():
    with pytest.raises(ValueError, match="pictures of 8x8 px are too small for optical flow"):
        dense_flow(np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8))
