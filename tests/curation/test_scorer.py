"""What every scorer must do, for every file in the folder."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from curation import scorers
from curation.named_modules import names_in
from curation.records import Crop, UserError
from curation.scorer import About, Answer, ClipFrames, Scorer, make_scorer, scorer_class
from curation.video import Frame, FrameSpec
from tests.curation.clip_frames import clip_of, score_file
from tests.curation.tiny_clip import tiny_options
from tests.footage import moving_texture, texture

Ready = Callable[[str], Scorer]
NAMES = names_in(scorers)
COMPARE_FRAMES = (
    *("background_consistency", "camera_movement", "dynamics", "flicker", "jitter", "motion", "motion_smoothness"),
    *("raft_motion", "slideshow", "static", "subject_consistency", "subject_motion", "warp_error"),
)


@pytest.fixture(scope="session")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Ready:
    """A scorer of that name, made and loaded when first asked for."""

    @cache
    def get(name: str) -> Scorer:
        scorer = make_scorer(name, tiny_options(name, tmp_path_factory.mktemp("weights")))
        assert scorer.missing() is None
        scorer.load()
        return scorer

    return get


@pytest.fixture(scope="session")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return moving_texture(tmp_path_factory.mktemp("moving") / "clip.mp4", seconds=1.5)


def number(answer: float | Answer) -> float:
    return answer.value if isinstance(answer, Answer) else answer


@pytest.mark.parametrize("name", NAMES)
def test_a_scorer_says_what_its_number_means(name: str) -> None:
    kind = scorer_class(name)
    assert kind.direction in ("higher is better", "lower is better", "two-sided")
    assert kind.unit and kind.low < kind.high
    for setting, field in kind.settings_class.model_fields.items():
        assert field.description, f"setting {setting} of {name} has no description"


@pytest.mark.parametrize("name", NAMES)
def test_the_same_frames_give_the_same_finite_number(ready: Ready, moving: Path, tmp_path: Path, name: str) -> None:
    again = make_scorer(name, tiny_options(name, tmp_path))
    values = [number(score_file(scorer, moving)) for scorer in (ready(name), again)]
    assert values[0] == values[1] and np.isfinite(values[0]) and isinstance(values[0], float)


@pytest.mark.parametrize("name", NAMES)
def test_a_scorer_leaves_the_shared_frames_alone(ready: Ready, name: str) -> None:
    scorer = ready(name)
    frames = clip_of([texture(seed, (64, 48)) for seed in range(3)], scorer.frames)
    for array in (frames.luma, frames.bgr, frames.times_s):
        if array is not None:
            array.flags.writeable = False
    scorer(frames)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("level", [0, 255])
def test_blank_frames_have_an_answer(ready: Ready, name: str, level: int) -> None:
    scorer = ready(name)
    blank = [np.full((90, 160, 3), level, np.uint8)] * 3
    assert np.isfinite(number(scorer(clip_of(blank, scorer.frames))))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in COMPARE_FRAMES])
def test_one_frame_is_enough_for_all_that_compare_none(ready: Ready, name: str) -> None:
    scorer = ready(name)
    assert np.isfinite(number(scorer(clip_of([texture(0, (64, 48))], scorer.frames))))


@pytest.mark.parametrize("name", NAMES)
def test_a_setting_that_changes_the_number_changes_the_version(tmp_path: Path, name: str) -> None:
    if "fps" not in scorer_class(name).settings_class.model_fields:
        pytest.skip(f"{name} takes no frame rate")
    given = tiny_options(name, tmp_path)
    assert make_scorer(name, {**given, "fps": 3}).version != make_scorer(name, {**given, "fps": 4}).version


@pytest.mark.parametrize("name", NAMES)
def test_what_a_scorer_saw_is_a_picture(ready: Ready, name: str) -> None:
    scorer = ready(name)
    seen = scorer.draw(clip_of([texture(seed, (160, 90)) for seed in range(3)], scorer.frames))
    assert seen.dtype == np.uint8 and seen.ndim == 3 and seen.shape[2] == 3 and max(seen.shape[:2]) <= 2000


@pytest.mark.parametrize("name", NAMES)
def test_a_cropped_clip_is_scored_and_drawn(ready: Ready, name: str) -> None:
    scorer = ready(name)
    whole = clip_of([texture(seed, (160, 90)) for seed in range(3)], scorer.frames)
    clip = whole.cropped(Crop("clip", "1", 20, 10, 120, 62, "letterbox"))
    assert np.isfinite(number(scorer(clip)))
    assert scorer.draw(clip).size


def test_frames_are_stacked_with_their_times() -> None:
    plane = np.zeros((4, 6), np.uint8)
    spec = FrameSpec(fps=2, short_side_px=4, planes="bgr")
    frames = ClipFrames.of(
        [Frame(pts, pts / 2, plane, np.dstack([plane] * 3)) for pts in range(3)], spec, About(6, 4, 2.0)
    )
    assert frames.luma.shape == (3, 4, 6) and frames.bgr is not None and frames.bgr.shape == (3, 4, 6, 3)
    assert frames.times_s.tolist() == [0, 0.5, 1] and frames.fps == 2


def test_an_unknown_scorer_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match=f"no scorer 'beauty'; the scorers are {', '.join(NAMES)}"):
        make_scorer("beauty", {})
