import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from curation.picture import MAX_ASPECT, Geometry, full_picture, opened_geometry, shrink, small_picture
from tests.footage import HARD, Encoding, write_video

COLOURS = ((32, 192, 64), (200, 40, 40), (30, 60, 220), (230, 220, 40))
TAGGED = [name for name, (_, encoding, _) in HARD.items() if not encoding.times_s and encoding.codec != "mpeg4"]


def quarters(size: tuple[int, int] = (320, 180)) -> np.ndarray:
    """Four coloured quarters, so that turning, mirroring and colours all show."""
    small = np.array(COLOURS, np.uint8).reshape(2, 2, 3)
    return cv2.resize(small, size, interpolation=cv2.INTER_NEAREST)


def seen_colours(image: np.ndarray) -> list[list[int]]:
    height, width = image.shape[:2]
    return [image[y, x].tolist() for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]


@contextmanager
def first_frame(path: Path) -> Iterator[tuple[Any, Geometry]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(stream))
        yield frame, opened_geometry(stream, frame)


@pytest.mark.parametrize("name", TAGGED)
def test_small_and_full_pictures_are_upright_and_have_the_right_colours(tmp_path: Path, name: str) -> None:
    ending, encoding, size = HARD[name]
    path = write_video(tmp_path / f"quarters{ending}", [quarters(size)] * 3, encoding)
    turns = (encoding.rotation_ccw // 90) % 4
    expected = seen_colours(np.rot90(quarters(size), turns))
    with first_frame(path) as (frame, geometry):
        luma, bgr = small_picture(frame, geometry, 90, with_bgr=True)
        full = full_picture(frame, geometry, *geometry.size)
    assert bgr is not None and bgr.shape[:2] == luma.shape
    np.testing.assert_allclose(seen_colours(bgr[..., ::-1]), expected, atol=4)
    np.testing.assert_allclose(seen_colours(full), expected, atol=4)
    weights = np.array([0.2126, 0.7152, 0.0722])
    np.testing.assert_allclose(seen_colours(luma[..., None]), np.array(expected) @ weights[:, None], atol=3)


def test_phone_footage_filmed_mirrored_is_mirrored_back(tmp_path: Path) -> None:
    path = tmp_path / "mirrored.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        stream.set_display_rotation(-90, hflip=True)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(quarters(), format="rgb24")))
        container.mux(stream.encode())
    with first_frame(path) as (frame, geometry):
        full = full_picture(frame, geometry, *geometry.size)
    assert (geometry.rotation, geometry.mirrored, geometry.size) == (90, True, (180, 320))
    np.testing.assert_allclose(seen_colours(full), seen_colours(np.fliplr(np.rot90(quarters(), -1))), atol=8)


@pytest.mark.parametrize(("size", "matrix"), [((640, 360), 5), ((1280, 720), 1)])
def test_untagged_footage_is_read_as_players_do(tmp_path: Path, size: tuple[int, int], matrix: int) -> None:
    path = tmp_path / "untagged.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        picture = av.VideoFrame.from_ndarray(quarters(size), format="rgb24")
        container.mux(stream.encode(picture.reformat(format="yuv420p", dst_colorspace=matrix)))
        container.mux(stream.encode())
    with first_frame(path) as (frame, geometry):
        _, bgr = small_picture(frame, geometry, 90, with_bgr=True)
        full = full_picture(frame, geometry, 320, 180)
    assert bgr is not None
    np.testing.assert_allclose(seen_colours(bgr[..., ::-1]), COLOURS, atol=4)
    np.testing.assert_allclose(seen_colours(full), COLOURS, atol=4)


def test_full_range_footage_keeps_its_levels(tmp_path: Path) -> None:
    grey = np.full((90, 160, 3), 200, np.uint8)
    path = tmp_path / "full.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=24)
        stream.width, stream.height, stream.pix_fmt = 160, 90, "yuvj420p"
        picture = av.VideoFrame.from_ndarray(grey, format="rgb24")
        container.mux(stream.encode(picture.reformat(format="yuvj420p", dst_color_range="JPEG")))
        container.mux(stream.encode())
    with first_frame(path) as (frame, geometry):
        luma, bgr = small_picture(frame, geometry, 90, with_bgr=True)
    assert bgr is not None
    np.testing.assert_allclose(luma, 200, atol=2)
    np.testing.assert_allclose(bgr, 200, atol=2)


def test_pixels_that_are_not_square_are_stretched_to_be(tmp_path: Path) -> None:
    encoding = dataclasses.replace(Encoding(), sample_aspect_ratio=Fraction(16, 11))
    circle = np.zeros((576, 704, 3), np.uint8)
    cv2.ellipse(circle, (352, 288), (round(200 * 11 / 16), 200), 0, 0, 360, (255, 255, 255), -1)
    with first_frame(write_video(tmp_path / "pal.mp4", [circle], encoding)) as (frame, geometry):
        luma, _ = small_picture(frame, geometry, 288, with_bgr=False)
        full = full_picture(frame, geometry, 288, 288)
    assert geometry.size == (1024, 576)
    for image in (luma, full[..., 1]):
        rows, columns = np.nonzero(image > 128)
        assert np.ptp(rows) == pytest.approx(np.ptp(columns), abs=2)


def test_shrinking_does_not_alias() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (720, 640))
    assert np.ptp(shrink([stripes], (256, 144))) <= 1
    assert np.ptp(cv2.resize(stripes, (256, 144), interpolation=cv2.INTER_LINEAR)) > 100


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 999), (1081, 1921), (144, 256)])
def test_any_size_can_be_shrunk_or_enlarged(shape: tuple[int, int]) -> None:
    plane = np.full(shape, 77, np.uint8)
    assert np.all(shrink([plane], (256, 144)) == 77)


def test_a_very_long_picture_stays_small() -> None:
    assert Geometry(4000, 10).small_size(100) == (100 * MAX_ASPECT, 100)
    assert Geometry(1920, 1080, rotation=90).small_size(144) == (144, 256)


def test_several_sizes_of_one_frame_share_their_halves_and_are_what_each_is_alone() -> None:
    plane = np.random.default_rng(0).integers(0, 255, (720, 1280), np.uint8)
    halves = [plane]
    for size in ((640, 360), (128, 72), (256, 144)):
        assert np.array_equal(shrink(halves, size), shrink([plane], size))
    assert [each.shape[0] for each in halves] == [720, 360, 180, 90]
