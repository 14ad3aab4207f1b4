from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from curation.crop import BORDER_FRAMES, CropSettings, bars_of, crop_specs, crop_version, find_crop
from curation.records import Crop
from curation.text import TextReader, TextSettings
from tests.curation.clip_frames import clip_of, frames_of_file
from tests.footage import Encoding, drift, texture, write_video

COMPRESSED = Encoding(options={"preset": "veryfast", "crf": "30"})


def framed(picture: np.ndarray, bars: tuple[int, int, int, int], level: int = 0) -> np.ndarray:
    """The picture within bars of (left, top, right, bottom) px."""
    left, top, right, bottom = bars
    value = (level, level, level)
    return cv2.copyMakeBorder(picture, top, bottom, left, right, cv2.BORDER_CONSTANT, value=value)


def subtitled(picture: np.ndarray) -> np.ndarray:
    """A line of white letters with dark outlines in the lowest eighth."""
    frame = np.ascontiguousarray(picture)
    height, width = frame.shape[:2]
    for value, thickness in ((0, 6), (255, 2)):
        place = (width // 4, height - height // 14)
        cv2.putText(
            frame, "I told you not to", place, cv2.FONT_HERSHEY_SIMPLEX, 1.0, (value,) * 3, thickness, cv2.LINE_AA
        )
    return frame


def crop_of(path: Path, settings: CropSettings | None = None) -> Crop:
    settings = settings or CropSettings()
    reader = TextReader(settings.text)
    reader.load()
    return find_crop("clip", {spec: frames_of_file(path, spec) for spec in crop_specs(settings)}, settings, reader)


def file_of(path: Path, frames: Sequence[np.ndarray]) -> Path:
    return write_video(path, frames, COMPRESSED)


@pytest.mark.parametrize(
    ("bars", "level"),
    [
        ((0, 70, 0, 70), 0),  # letterbox
        ((160, 0, 160, 0), 0),  # pillarbox
        ((220, 0, 220, 0), 255),
        ((120, 60, 120, 60), 0),  # windowbox
        ((0, 48, 0, 48), 200),
        ((0, 56, 0, 56), 90),
        ((0, 0, 0, 80), 0),  # one side only
    ],
)
def test_bars_are_cut_off_and_little_else(tmp_path: Path, bars: tuple[int, int, int, int], level: int) -> None:
    left, top, right, bottom = bars
    size = (960 - left - right, 540 - top - bottom)
    frames = [framed(frame, bars, level) for frame in drift(texture(1, size, grain_px=24), 30, (4, 2))]
    crop = crop_of(file_of(tmp_path / "framed.mp4", frames))
    assert crop.reason == "letterbox"
    edges = (crop.left, crop.top, 960 - crop.left - crop.width, 540 - crop.top - crop.height)
    for edge, bar in zip(edges, bars, strict=True):
        assert bar <= edge <= bar + 8 if bar else edge == 0
    assert not any(value % 2 for value in (crop.left, crop.top, crop.width, crop.height))


def test_bars_around_a_dark_picture_are_found_as_soon_as_a_part_of_it_lights_up(tmp_path: Path) -> None:
    picture = texture(2, (960, 400), grain_px=30)
    frames = [framed((frame * gain).astype(np.uint8), (0, 70, 0, 70))
              for frame, gain in zip(drift(picture, 48, (3, 0)), np.linspace(0, 0.25, 48), strict=True)]  # fmt: skip
    crop = crop_of(file_of(tmp_path / "fade.mp4", frames))
    assert 70 <= crop.top <= 78 and 462 <= crop.top + crop.height <= 470


def night_sky() -> list[np.ndarray]:
    """Black above, lighter towards uneven hills."""
    rows = np.clip(np.linspace(-60, 40, 540), 0, 40)[:, None]
    sky = np.repeat(rows, 960, axis=1)
    across = np.arange(960)
    hills = 330 + 60 * np.sin(across / 90) + 30 * np.sin(across / 31)
    sky = np.where(np.arange(540)[:, None] > hills, 120.0, sky)
    return [np.roll(np.repeat(sky[..., None], 3, axis=2).astype(np.uint8), 3 * step, axis=1) for step in range(24)]


def dark_subject() -> list[np.ndarray]:
    """Somebody in black stands at the left edge; the outline is uneven."""
    outline = 240 + 80 * np.sin(np.arange(540) / 60) + 20 * np.sin(np.arange(540) / 13)
    inside = np.arange(960)[None] < outline[:, None]
    return [
        np.where(inside[..., None], 3, frame).astype(np.uint8) for frame in drift(texture(3, (960, 540)), 24, (3, 1))
    ]


def fade_out() -> list[np.ndarray]:
    gains = np.linspace(1, 0, 24)
    return [
        (frame * gain).astype(np.uint8)
        for frame, gain in zip(drift(texture(4, (960, 540)), 24, (2, 1)), gains, strict=True)
    ]


@pytest.mark.parametrize("scene", [night_sky, dark_subject, fade_out, lambda: [np.zeros((540, 960, 3), np.uint8)] * 24])
def test_darkness_is_no_bar(tmp_path: Path, scene) -> None:  # type: ignore[no-untyped-def]
    assert crop_of(file_of(tmp_path / "dark.mp4", scene())) == Crop(
        "clip", crop_version(CropSettings()), 0, 0, 960, 540, ""
    )


def test_a_bar_is_one_in_every_frame() -> None:
    """A black frame edge that only some frames have is part of the picture."""
    plain = list(drift(texture(5, (640, 360)), 6, (3, 1)))
    barred = [framed(frame[50:310], (0, 50, 0, 50)) for frame in plain]
    assert bars_of(clip_of(barred, BORDER_FRAMES)).any
    assert not bars_of(clip_of([*barred, plain[0]], BORDER_FRAMES)).any


SUBTITLES = CropSettings(subtitles=True)


def test_subtitles_are_cut_off_within_their_share(tmp_path: Path) -> None:
    frames = [subtitled(frame) for frame in drift(texture(6, (640, 360), 24), 30, (2, 1))]
    path = file_of(tmp_path / "subtitled.mp4", frames)
    crop = crop_of(path, SUBTITLES)
    assert crop.reason == "subtitles" and crop.top == 0 and 280 <= crop.height <= 320
    assert crop_of(path, CropSettings(subtitles=True, max_cut_share=0.05)).reason == ""
    assert crop_of(path).reason == ""


def test_bars_and_subtitles_are_cut_off_together(tmp_path: Path) -> None:
    frames = [framed(subtitled(frame), (0, 40, 0, 40)) for frame in drift(texture(7, (640, 280), 24), 30, (2, 1))]
    crop = crop_of(file_of(tmp_path / "both.mp4", frames), SUBTITLES)
    assert crop.reason == "letterbox, subtitles"
    assert 40 <= crop.top <= 46 and crop.top + crop.height < 295


def test_text_in_a_bar_does_not_hide_the_bar(tmp_path: Path) -> None:
    frames = [framed(frame, (0, 60, 0, 60)) for frame in drift(texture(8, (640, 240), 24), 30, (2, 1))]
    for frame in frames:
        cv2.putText(frame, "I told you not to", (180, 338), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 2)
    crop = crop_of(file_of(tmp_path / "text.mp4", frames))
    assert crop.top >= 60 and crop.top + crop.height <= 300 and crop.height >= 230


def test_the_version_follows_what_decides() -> None:
    plain = crop_version(CropSettings())
    assert plain == crop_version(CropSettings(max_cut_share=0.1, text=TextSettings(max_frames=5)))  # no subtitles cut
    changed = [
        CropSettings(subtitles=True),
        CropSettings(subtitles=True, max_cut_share=0.1),
        CropSettings(subtitles=True, text=TextSettings(max_frames=5)),
    ]
    assert len({plain, *map(crop_version, changed)}) == 4


def test_real_bars_are_found_and_no_others(real_footage: Path) -> None:
    rendered = {"cc_test_clip_10s.mp4": (0, 60, 854, 360), "moviepy_chaplin.mp4": (74, 0, 494, 360)}
    for name, (left, top, width, height) in rendered.items():
        crop = crop_of(real_footage / name)
        assert (
            np.abs(np.subtract((crop.left, crop.top, crop.width, crop.height), (left, top, width, height))).max() <= 4
        )
    for name in ("psd_fades.mp4", "moviepy_big_buck_bunny_0_30.webm", "dover_1724.mp4"):
        assert crop_of(real_footage / name).reason == "", name
