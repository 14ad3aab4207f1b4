import cv2
import numpy as np
import pytest

from curation.flow import camera_path, clip_flow, fit_global_motion, global_motion, smoothed
from curation.records import Crop
from curation.scorer import ClipFrames
from curation.video import FrameSpec
from tests.curation.clip_frames import clip_of
from tests.footage import texture

SPEC = FrameSpec(10, 144)
LINES, COLUMNS = 144, 256


def warped(num_frames: int, right_px: float = 0, down_px: float = 0, zoom: float = 0, turn: float = 0) -> ClipFrames:
    """A texture that per frame moves, grows by a share and turns by radians (clockwise) around the centre."""
    whole = cv2.cvtColor(texture(3, (512, 288), grain_px=12), cv2.COLOR_RGB2BGR)
    pictures = []
    for index in range(num_frames):
        scale, angle = np.exp(zoom * index), turn * index
        matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        offset = np.array([COLUMNS / 2 + right_px * index, LINES / 2 + down_px * index]) - matrix @ (256, 144)
        pictures.append(cv2.warpAffine(whole, np.column_stack([matrix, offset]), (COLUMNS, LINES)))
    return clip_of(pictures, SPEC)


def test_translation_zoom_and_rotation_are_told_apart() -> None:
    motion = global_motion(warped(6, right_px=2, down_px=-1, zoom=0.01, turn=0.008), 0.3)
    middle = slice(1, 4)
    assert motion.translation[middle].mean(axis=0) == pytest.approx([20 / LINES, -10 / LINES], rel=0.12)
    assert motion.zoom[middle].mean() == pytest.approx(0.1, rel=0.15)
    assert motion.rotation[middle].mean() == pytest.approx(0.08, rel=0.15)
    assert motion.inliers.min() > 0.9


def test_what_moves_before_the_camera_is_left_over_and_not_followed() -> None:
    ground, thing = texture(0, (COLUMNS, LINES), grain_px=12), texture(1, (70, 90), grain_px=10)
    pictures = []
    for index in range(5):
        picture = np.roll(ground, 2 * index, axis=1)
        picture[30:120, 120 - 4 * index : 190 - 4 * index] = thing
        pictures.append(picture)
    clip = clip_of(pictures, SPEC)
    motion = global_motion(clip, 0.3)
    assert motion.translation[:, 0] == pytest.approx(20 / LINES, rel=0.1)
    flow = clip_flow(clip, 0.3)
    inside = np.ix_(np.arange(4), np.abs(flow.y) < 0.2, (flow.x > -0.05) & (flow.x < 0.25))
    assert np.median(motion.residuals[inside][..., 0]) == pytest.approx(-60 / LINES, rel=0.15)


def test_a_clip_has_one_flow_however_many_ask() -> None:
    clip = warped(4, right_px=1)
    assert clip_flow(clip, 0.3) is clip_flow(clip, 0.3)
    assert global_motion(clip, 0.3) is global_motion(clip, 0.3)
    assert clip_flow(clip, 0.2) is not clip_flow(clip, 0.3)


def test_a_crop_which_is_a_view_has_the_flow_of_its_copy() -> None:
    clip = warped(4, right_px=2)
    crop = Crop("clip", "1", 32, 20, 200, 100, "letterbox")
    view = clip.cropped(crop)
    copied = ClipFrames(view.luma.copy(), None, clip.times_s, clip.fps, view.about)
    assert not view.luma[0].flags.c_contiguous
    np.testing.assert_array_equal(clip_flow(view, 0.3).vectors, clip_flow(copied, 0.3).vectors)
    assert global_motion(view, 0.3).translation[:, 0] == pytest.approx(20 / 100, rel=0.1)


def test_memory_holds_one_vector_in_sixteen_pixels() -> None:
    flow = clip_flow(warped(3), 0.3)
    assert flow.vectors.nbytes == 2 * (LINES // 4) * (COLUMNS // 4) * 2 * 4


def test_pictures_too_small_and_too_far_apart_are_refused() -> None:
    tiny = [texture(0, (8, 8))] * 2
    with pytest.raises(ValueError, match="8x8 px are too small for optical flow"):
        clip_flow(clip_of(tiny, SPEC), 0.3)
    with pytest.raises(ValueError, match=r"2 frames over 1\.00 s have no two within 0\.3 s"):
        clip_flow(clip_of(tiny, SPEC, step_s=1.0), 0.3)


def test_a_smooth_path_is_its_own_smooth_path_at_uneven_times() -> None:
    steps_s = np.random.default_rng(0).uniform(0.05, 0.2, 40)
    times_s = np.cumsum(steps_s)
    path = np.stack([0.1 * times_s**2 - times_s, 0.3 * times_s], axis=1)
    np.testing.assert_allclose(smoothed(path, steps_s, 1.0), path, atol=1e-6)
    shaken = path + 0.01 * np.resize([[1, -1], [-1, 1]], path.shape)
    assert np.abs(smoothed(shaken, steps_s, 1.0) - path).max() < 0.006


def test_the_path_is_the_sum_of_the_steps() -> None:
    clip = warped(6, right_px=3)
    flow = clip_flow(clip, 0.3)
    assert camera_path(flow, fit_global_motion(flow))[-1] == pytest.approx([15 / LINES, 0], abs=0.01)
