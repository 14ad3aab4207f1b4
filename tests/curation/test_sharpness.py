from pathlib import Path

from curation.scorers.sharpness import SharpnessScorer, SharpnessSettings
from tests.curation.clip_frames import score_file
from tests.footage import moving_texture


def test_the_more_blur_the_lower(tmp_path: Path) -> None:
    values = [
        score_file(
            SharpnessScorer(SharpnessSettings()),
            moving_texture(tmp_path / f"{blur_px}.mp4", seconds=1, size=(640, 360), blur_px=blur_px),
        )
        for blur_px in (0, 2, 4, 8)
    ]
    assert values == sorted(values, reverse=True)
    assert values[0] > 5 * values[-1]


def test_enlarged_footage_is_not_sharp(tmp_path: Path) -> None:
    scorer = SharpnessScorer(SharpnessSettings())
    small = score_file(scorer, moving_texture(tmp_path / "small.mp4", seconds=1, size=(96, 54)))
    large = score_file(scorer, moving_texture(tmp_path / "large.mp4", seconds=1, size=(1280, 720)))
    assert small < large


def test_real_footage_is_ordered_as_people_see_it(real_footage: Path) -> None:
    names = ("skv_bikes", "mdn_flower", "koala_4.36_NRiRCe2ok0M_21")  # out of focus; soft; finely textured
    values = [score_file(SharpnessScorer(SharpnessSettings()), real_footage / f"{name}.mp4") for name in names]
    assert values == sorted(values)
