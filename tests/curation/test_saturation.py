from pathlib import Path

import numpy as np
import pytest

from curation.scorers.saturation import SaturationScorer, SaturationSettings
from tests.curation.clip_frames import clip_of, value_of_file
from tests.footage import moving_texture


def plain(red: int, green: int, blue: int) -> np.ndarray:
    return np.full((90, 160, 3), (red, green, blue), np.uint8)


@pytest.mark.parametrize(
    ("colour", "expected"), [((200, 200, 200), 0), ((200, 100, 100), 0.5), ((0, 0, 255), 1), ((9, 0, 0), 0)]
)
def test_grey_is_0_and_pure_colour_is_1_and_darkness_has_no_colour(
    colour: tuple[int, int, int], expected: float
) -> None:
    scorer = SaturationScorer(SaturationSettings())
    assert scorer(clip_of([plain(*colour)] * 2, scorer.frames)) == pytest.approx(expected, abs=0.01)


def test_dark_parts_do_not_count() -> None:
    scorer = SaturationScorer(SaturationSettings())
    picture = plain(200, 100, 100)
    picture[:45] = (6, 0, 0)
    assert scorer(clip_of([picture], scorer.frames)) == pytest.approx(0.5, abs=0.01)


def test_colours_come_through_the_decoder(tmp_path: Path) -> None:
    scorer = SaturationScorer(SaturationSettings())
    assert value_of_file(scorer, moving_texture(tmp_path / "tinted.mp4", seconds=1, hue=20)) > 0.6


def test_black_and_white_film_is_told_from_colour(real_footage: Path) -> None:
    scorer = SaturationScorer(SaturationSettings())
    assert value_of_file(scorer, real_footage / "moviepy_chaplin.mp4") < 0.02
    assert value_of_file(scorer, real_footage / "skv_bigbuckbunny.mp4") > 0.3
