import cv2
import numpy as np
import pytest

from curation.crop import CropSettings, find_crop
from curation.scorers.letterbox import LetterboxScorer, LetterboxSettings
from tests.curation.clip_frames import clip_of
from tests.footage import drift, texture


@pytest.mark.parametrize(("above", "beside", "expected"), [(45, 0, 0.25), (0, 80, 0.25), (0, 0, 0), (36, 64, 0.36)])
def test_the_share_of_the_picture_that_is_bars_before_and_after_the_crop(
    above: int, beside: int, expected: float
) -> None:
    scorer = LetterboxScorer(LetterboxSettings())
    pictures = drift(texture(0, (640 - 2 * beside, 360 - 2 * above)), 4, (5, 3))
    framed = [cv2.copyMakeBorder(each, above, above, beside, beside, cv2.BORDER_CONSTANT) for each in pictures]
    clip = clip_of([np.ascontiguousarray(each) for each in framed], scorer.frames)
    assert scorer(clip) == pytest.approx(expected, abs=0.01)
    crop = find_crop("clip", {scorer.frames: clip}, CropSettings())
    assert scorer(clip.cropped(crop)) == scorer(clip)
