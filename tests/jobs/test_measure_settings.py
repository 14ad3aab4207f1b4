import pytest
from pydantic import ValidationError

from curation.score import ScoreSettings
from curation.scorers.dynamics import DYNAMIC_SPEED
from jobs.measure_settings import CHEATED_BY_STILLNESS, MeasureSettings


@pytest.mark.parametrize("name", CHEATED_BY_STILLNESS)
def test_what_a_still_video_wins_is_never_measured_without_dynamics(name):
    with pytest.raises(ValidationError, match=f"{name} are best of a video that stands still.*beside dynamics"):
        MeasureSettings(scorers=("sharpness", name))
    assert name in MeasureSettings(scorers=("dynamics", name)).scorers


def test_every_scorer_that_is_named_exists():
    ScoreSettings(scorers=(*MeasureSettings().scorers, *CHEATED_BY_STILLNESS), embedders=())


def test_the_threshold_is_vbench_s():
    assert MeasureSettings().dynamic_above == DYNAMIC_SPEED


def test_frames_that_no_vae_takes_are_refused():
    with pytest.raises(ValidationError, match=r"4n \+ 1 \(1, 5, 9, ...\) or 0, got 16"):
        MeasureSettings(vae_frames=16)
