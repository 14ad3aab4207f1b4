"""The sharpest frame: found where it is, judged only where the picture will be seen, the same every time."""

import cv2
import numpy as np
import pytest

from curation.frame_choice import sharpest_frame
from curation.records import Clip, Crop, Span
from curation.source import UnreadableVideo
from curation.split import SplitSettings, split_video
from tests.footage import Encoding, texture, write_video

SIZE = (320, 180)
FINE = {"preset": "ultrafast", "crf": "10", "g": "24"}


def clip_of(path, frames) -> Clip:
    """The whole film as one clip."""
    write_video(path, frames, Encoding(options=FINE))
    video, _ = split_video(str(path), SplitSettings(detector="adaptive"))
    span = Span(video.start_pts, video.end_pts, video.time_base_num, video.time_base_den)
    return Clip.of(video, span, video.num_frames, "test")


def blurred(frame, blur_px=4) -> np.ndarray:
    return cv2.GaussianBlur(frame, (0, 0), blur_px)


def film(path, num_frames, sharp) -> Clip:
    """One picture, blurred in all frames but those of `sharp`."""
    picture = texture(3, SIZE)
    return clip_of(path, [picture if index in sharp else blurred(picture) for index in range(num_frames)])


def number(clip: Clip, pts: int) -> int:
    return round((pts - clip.start_pts) * float(clip.span.time_base) * 24)


@pytest.mark.parametrize("sharp", [0, 5, 11])
def test_the_one_sharp_frame_is_found_wherever_it_is(tmp_path, sharp):
    clip = film(tmp_path / "film.mp4", 12, {sharp})
    chosen = sharpest_frame(clip, 128, 128)
    assert number(clip, chosen.pts) == sharp and chosen == sharpest_frame(clip, 128, 128)


def test_a_long_clip_is_sampled_and_its_sharp_second_is_found(tmp_path):
    clip = film(tmp_path / "film.mp4", 120, range(48, 72))
    assert 48 <= number(clip, sharpest_frame(clip, 128, 128).pts) < 72


def test_only_what_the_crop_keeps_is_judged(tmp_path):
    """The left half is sharp early, the right half late."""
    left, right = (texture(seed, SIZE)[:, :160] for seed in (3, 4))
    frames = [np.hstack([left, blurred(right)])] * 6 + [np.hstack([blurred(left), right])] * 6
    clip = clip_of(tmp_path / "film.mp4", frames)
    for left_px, early in ((0, True), (160, False)):
        crop = Crop(clip.clip_id, "", left_px, 0, 160, 180, "letterbox")
        assert (number(clip, sharpest_frame(clip, 64, 64, crop).pts) < 6) == early


def test_a_part_of_a_clip_gives_a_frame_of_that_part(tmp_path):
    clip = film(tmp_path / "film.mp4", 18, range(6))
    part = clip.part(0.5)
    assert number(clip, sharpest_frame(clip, 128, 128, span=part.span).pts) >= 12


def test_a_clip_of_one_frame_has_that_frame(tmp_path):
    single = film(tmp_path / "film.mp4", 24, {3}).part(7 / 24, 8 / 24)
    assert sharpest_frame(single, 64, 64).pts == single.start_pts


def test_a_span_in_which_nothing_decodes_says_so(tmp_path):
    clip = film(tmp_path / "film.mp4", 12, {})
    beyond = Clip(**{**clip.__dict__, "start_pts": clip.end_pts + 10**6, "end_pts": clip.end_pts + 2 * 10**6})
    with pytest.raises(UnreadableVideo, match="no decodable frame"):
        sharpest_frame(beyond, 64, 64)
