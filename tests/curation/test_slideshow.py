import cv2
import numpy as np
import pytest

from curation.scorers.slideshow import SlideshowScorer, SlideshowSettings
from tests.curation.camera_scene import rendered
from tests.curation.clip_frames import clip_of
from tests.footage import texture


def scored(pictures: list[np.ndarray]) -> float:
    scorer = SlideshowScorer(SlideshowSettings())
    return scorer(clip_of(pictures, scorer.frames))


def ken_burns(seed: int, num_frames: int) -> list[np.ndarray]:
    """A still picture that is slowly enlarged and shifted."""
    still = texture(seed, (512, 288), grain_px=16)
    pictures = []
    for index in range(num_frames):
        scale = 0.6 + 0.004 * index
        matrix = np.array([[scale, 0, 128 - scale * 256 + 0.5 * index], [0, scale, 72 - scale * 144]])
        pictures.append(cv2.warpAffine(still, matrix, (256, 144), flags=cv2.INTER_LINEAR))
    return pictures


def test_slides_with_cuts_between_them_are_a_slideshow() -> None:
    slides = [texture(seed, (256, 144)) for seed in range(3) for _ in range(10)]
    assert scored(slides) == pytest.approx(27 / 29, abs=0.04)


def test_a_picture_that_is_moved_and_enlarged_is_a_slideshow() -> None:
    assert scored(ken_burns(0, 12) + ken_burns(1, 12)) > 0.75


def test_a_dissolve_is_neither_still_nor_a_sheet() -> None:
    one, other = texture(0, (256, 144)).astype(np.float32), texture(1, (256, 144)).astype(np.float32)
    dissolve = [(one + (other - one) * index / 9).astype(np.uint8) for index in range(10)]
    assert scored([dissolve[0]] * 10 + dissolve + [dissolve[-1]] * 10) == pytest.approx(20 / 29, abs=0.12)


@pytest.mark.parametrize("label", ["pan left", "around right", "zoom in", "static shot"])
def test_scenes_in_depth_and_with_people_are_none(label: str) -> None:
    luma = rendered(label, 5, seconds=1.5, mover=label == "static shot")
    assert scored([cv2.cvtColor(each, cv2.COLOR_GRAY2RGB) for each in luma]) < 0.3
