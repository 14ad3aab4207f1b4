from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from curation.records import Crop
from curation.text import TextBox, TextReader, TextSettings, clip_text, has_letter_edges, in_kept_part, text_lines
from tests.curation.clip_frames import clip_of, frames_of_file
from tests.footage import drift, texture


@pytest.fixture(scope="module")
def reader() -> TextReader:
    made = TextReader(TextSettings())
    made.load()
    return made


def lettered(picture: np.ndarray, text: str, left: int = 60, base: int = 330) -> np.ndarray:
    frame = np.ascontiguousarray(picture)
    cv2.putText(frame, text, (left, base), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (0, 0, 0), 6, cv2.LINE_AA)
    cv2.putText(frame, text, (left, base), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (255, 255, 255), 2, cv2.LINE_AA)
    return frame


def scene(seed: int = 0, count: int = 6) -> list[np.ndarray]:
    return list(drift(texture(seed, (640, 360), grain_px=16), count, (9, 5)))


def box(left: float, top: float, right: float, bottom: float, tilt: float = 0.0) -> TextBox:
    corners = ((left, top), (right, top + tilt), (right, bottom + tilt), (left, bottom))
    return TextBox(corners, "words", 0.9)


def test_what_stands_in_the_picture_is_read_where_it_stands(reader: TextReader) -> None:
    found = reader.read(lettered(scene()[0], "Not for sale")[..., ::-1].copy())
    assert [each.text.replace(" ", "").lower() for each in found] == ["notforsale"]
    left, top, right, bottom = found[0].edges
    assert left == pytest.approx(60 / 640, abs=0.02) and 0.35 < right < 0.5
    assert 0.8 < top < bottom < 0.97 and found[0].is_level


def rings(size: tuple[int, int] = (640, 360)) -> np.ndarray:
    """Fence, discs and crosses: strong edges that are no letters."""
    picture = texture(9, size)
    for column in range(20, 640, 40):
        cv2.line(picture, (column, 200), (column, 355), (20, 20, 20), 6)
        cv2.circle(picture, (column, 120), 15, (250, 250, 250), 4)
    cv2.line(picture, (0, 230), (640, 230), (20, 20, 20), 6)
    return picture


@pytest.mark.parametrize("make", [rings, lambda: scene(3)[0], lambda: np.zeros((360, 640, 3), np.uint8)])
def test_what_only_looks_like_letters_is_not_read(reader: TextReader, make: Callable[[], np.ndarray]) -> None:
    assert reader.read(make()) == []


@pytest.mark.parametrize("size", [0.35, 0.5, 0.9])
@pytest.mark.parametrize("grey", [90, 170, 255])
def test_the_look_at_edges_passes_small_and_faint_letters(size: float, grey: int) -> None:
    picture = np.full((360, 640, 3), 40, np.uint8)
    assert not has_letter_edges(picture)
    cv2.putText(picture, "www.example.com", (300, 340), cv2.FONT_HERSHEY_SIMPLEX, size, (grey,) * 3, 1, cv2.LINE_AA)
    assert has_letter_edges(picture)


class Counting(TextReader):
    """Counts the pictures that the networks are shown."""

    num_read = 0

    def read(self, picture: np.ndarray) -> list[TextBox]:
        self.num_read += 1
        return super().read(picture)


def counting(settings: TextSettings) -> Counting:
    made = Counting(settings)
    made.load()
    return made


def test_a_clip_is_read_once_and_at_few_frames() -> None:
    reader = counting(TextSettings(max_frames=3))
    clip = clip_of([lettered(frame, "Not for sale") for frame in scene(count=8)], reader.frames)
    first = clip_text(clip, reader)
    cropped = clip.cropped(Crop("clip", "1", 0, 0, 640, 200, "subtitles"))
    assert clip_text(cropped, TextReader(reader.settings)) is first and reader.num_read == 3
    assert [frame.index for frame in first] == [0, 4, 7] or [frame.index for frame in first] == [0, 3, 7]


def test_equal_frames_are_read_once_and_a_new_word_is_read_again() -> None:
    reader = counting(TextSettings(max_frames=4))
    still, changed = lettered(scene()[0], "Not for sale"), lettered(scene()[0], "Sold out")
    noise = np.random.default_rng(0).integers(-2, 3, (4, 360, 640, 3))
    pictures = [
        np.clip(frame + grain, 0, 255).astype(np.uint8)
        for frame, grain in zip([still, still, changed, still], noise, strict=True)
    ]
    read = clip_text(clip_of(pictures, reader.frames), reader)
    assert reader.num_read == 2
    assert ["sold" in frame.boxes[0].text.lower() for frame in read] == [False, False, True, False]


def test_level_boxes_side_by_side_are_one_line() -> None:
    lines = text_lines(
        [box(0.6, 0.81, 0.8, 0.86), box(0.2, 0.8, 0.5, 0.85), box(0.3, 0.9, 0.7, 0.95), box(0.1, 0.1, 0.2, 0.2, 0.05)]
    )
    assert [(line.left, line.right) for line in lines] == [(0.2, 0.8), (0.3, 0.7)]
    assert lines[0].middle == pytest.approx((0.5, 0.83))


def test_places_follow_the_crop() -> None:
    clip = clip_of(scene(count=1), TextReader(TextSettings()).frames)
    kept = clip.cropped(Crop("clip", "1", 160, 90, 320, 180, "letterbox"))
    places = [(0.25, 0.25), (0.75, 0.75), (0.0, 0.5)]
    assert in_kept_part(kept, places).tolist() == [[0, 0], [1, 1], [-0.5, 0.5]]
    assert in_kept_part(clip, places).tolist() == [list(place) for place in places]


def test_real_titles_are_read_and_real_scenes_are_not(real_footage: Path, reader: TextReader) -> None:
    def words(name: str) -> set[str]:
        read = clip_text(frames_of_file(real_footage / name, reader.frames), reader)
        return {each.text for frame in read for each in frame.boxes}

    assert any("Brandon" in text for text in words("psd_testvideo.mp4"))
    for name in ("skv_bikes", "intel_car-detection", "sam2_05_default_juggle", "koala_4.31_w_HPjTkEUJg_48"):
        assert words(f"{name}.mp4") == set(), name
