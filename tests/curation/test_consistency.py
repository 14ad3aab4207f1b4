import numpy as np
import pytest

from curation.consistency import drawn, to_first_and_previous


def turned(*degrees: float) -> np.ndarray:
    """Unit vectors in a plane."""
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_it_is_what_vbench_s_formula_gives():
    expected = [np.cos(np.deg2rad(30)), (np.cos(np.deg2rad(75)) + np.cos(np.deg2rad(45))) / 2]
    assert to_first_and_previous(turned(0, 30, 75)) == pytest.approx(np.array(expected))


def test_equal_frames_have_one_and_opposite_ones_have_none():
    assert to_first_and_previous(turned(10, 10, 10)) == pytest.approx(np.ones(2))
    assert to_first_and_previous(turned(0, 180)).tolist() == [0.0]


def test_frames_that_leave_step_by_step_cost_more_than_one_that_comes_back():
    leaves, returns = to_first_and_previous(turned(0, 20, 40, 60)), to_first_and_previous(turned(0, 20, 0, 20))
    assert leaves.mean() < returns.mean()


def test_one_frame_cannot_be_consistent():
    with pytest.raises(ValueError, match="1 frame cannot be consistent"):
        to_first_and_previous(turned(0))


def test_the_picture_for_people_has_every_frame():
    pictures = np.zeros((3, 20, 40, 3), np.uint8)
    assert drawn(pictures, turned(0, 30, 75)).shape[1] == 3 * 364
