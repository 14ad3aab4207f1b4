import cv2
import numpy as np
import pytest

from curation.drawing import CAPTION_LINES, RED, as_bgr, captioned, heat, marked, png, sheet, spread


def test_a_caption_adds_lines_below_and_leaves_the_picture() -> None:
    picture = np.full((40, 200), 90, np.uint8)
    drawn = captioned(picture, "0.5 s")
    assert drawn.shape == (40 + CAPTION_LINES, 200, 3)
    assert (drawn[:40] == 90).all() and drawn[40:].max() > 200


def test_only_marked_pixels_change() -> None:
    picture = np.full((10, 10, 3), 100, np.uint8)
    where = np.zeros((10, 10), bool)
    where[2:4] = True
    drawn = marked(picture, where)
    assert (drawn[~where] == 100).all() and drawn[2, 2].tolist() == pytest.approx(
        [0.4 * 100 + 0.6 * part for part in RED], abs=1
    )
    assert (picture == 100).all()


def test_heat_tells_low_from_high() -> None:
    colours = heat(np.array([[0.0, 5.0, 50.0]]), high=5.0)
    assert colours[0, 1].tolist() == colours[0, 2].tolist() != colours[0, 0].tolist()


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (4, 1), (5, 2), (9, 3)])
def test_a_sheet_holds_every_picture(count: int, rows: int) -> None:
    drawn = sheet([np.full((90, 160, 3), 40 + 20 * index, np.uint8) for index in range(count)], columns=4, width=80)
    assert drawn.shape[0] == rows * 49 and drawn.shape[1] == min(4, count) * 84
    assert {40 + 20 * index for index in range(count)} <= set(np.unique(drawn).tolist())


def test_grey_becomes_colour_in_memory_of_its_own() -> None:
    colour = np.zeros((4, 4, 3), np.uint8)
    assert as_bgr(np.zeros((4, 4), np.uint8)).shape == (4, 4, 3) and as_bgr(colour) is not colour


def test_spread_keeps_the_ends() -> None:
    assert spread(10, 4) == [0, 3, 6, 9] and spread(2, 4) == [0, 1] and spread(1, 4) == [0]


def test_a_png_keeps_every_pixel_of_a_picture_and_of_a_turned_view_of_it() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    for drawn in (picture, picture[..., ::-1]):
        read = cv2.imdecode(np.frombuffer(png(drawn), np.uint8), cv2.IMREAD_COLOR)
        assert read is not None and np.array_equal(read, drawn)
