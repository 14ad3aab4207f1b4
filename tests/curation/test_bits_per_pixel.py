from dataclasses import replace

import pytest

from curation.records import Crop
from curation.scorer import About
from curation.scorers.bits_per_pixel import BitsPerPixelScorer, BitsPerPixelSettings
from tests.curation.clip_frames import clip_of
from tests.footage import texture

ABOUT = About(1280, 720, 25.0, num_bytes=1_152_000, num_frames=100)


def test_it_is_coded_bits_over_source_pixels_whatever_was_cropped() -> None:
    scorer = BitsPerPixelScorer(BitsPerPixelSettings())
    clip = clip_of([texture(0, (64, 36))] * 2, scorer.frames, about=ABOUT)
    assert scorer(clip) == pytest.approx(0.1)
    assert scorer(clip.cropped(Crop("clip", "1", 0, 100, 1280, 520, "letterbox"))) == pytest.approx(0.1)


@pytest.mark.parametrize("unknown", ["num_bytes", "num_frames"])
def test_what_was_not_counted_is_an_error(unknown: str) -> None:
    scorer = BitsPerPixelScorer(BitsPerPixelSettings())
    about = replace(ABOUT, **{unknown: None})
    with pytest.raises(ValueError, match="were not counted"):
        scorer(clip_of([texture(0, (64, 36))], scorer.frames, about=about))
