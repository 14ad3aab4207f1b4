from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scenedetect.detectors import ContentDetector as SceneDetectContent

from curation.detectors.content import CloseCuts, ContentDetector, ContentSettings
from curation.video import Frame
from tests.curation.scenedetect_cuts import frames_of, our_cuts, real_films, scenedetect_cuts
from tests.cut_footage import cut_film


def cuts_of(levels: list[int], settings: ContentSettings) -> list[int]:
    """Frame numbers of the cuts in flat grey frames at 10 per second."""
    detector = ContentDetector(settings, Fraction(1, 10), 10)
    found = []
    for pts, level in enumerate(levels):
        picture = np.full((16, 16, 3), level, np.uint8)
        found += detector.push(Frame(pts, pts / 10, picture[..., 0], picture))
    return found + detector.finish()


def test_the_change_of_hsv_decides() -> None:
    levels = [100] * 10 + [100 + 3 * 40] * 10  # brightness alone changes: a third of 120 is 40
    assert cuts_of(levels, ContentSettings(threshold=39)) == [10]
    assert cuts_of(levels, ContentSettings(threshold=41)) == []


def test_a_flash_is_not_two_shots() -> None:
    levels = [20] * 10 + [220] * 10 + [20, 220, 20, 220] + [20] * 10
    found = cuts_of(levels, ContentSettings())
    assert found[0] == 10 and len(found) == 2


@pytest.mark.parametrize("threshold,min_shot_s", [(31.0, 0.6), (12.0, 0.6), (8.0, 1.5), (20.0, 0.0)])
def test_the_cuts_are_those_of_pyscenedetect_on_rendered_films(
    tmp_path: Path, threshold: float, min_shot_s: float
) -> None:
    films = [
        cut_film(tmp_path / "mixed.mp4", ["hard", "dissolve", "fade"], seconds_each=1.0, flashes=True),
        cut_film(tmp_path / "fast.mp4", ["hard"] * 12, seconds_each=0.25),
    ]
    for film in films:
        assert_same_cuts(film.path, threshold, min_shot_s)


def test_the_cuts_are_those_of_pyscenedetect_on_real_footage() -> None:
    """All 27 files of the folder agreed once, at thresholds 31, 27, 18 and 10."""
    for path in real_films("skv_bikes.mp4", "dover_HyZMiWeJyMw_000072_000082.mp4"):
        assert_same_cuts(path, 18.0, 0.6)


def assert_same_cuts(path: Path, threshold: float, min_shot_s: float) -> None:
    frames, facts = frames_of(path)
    settings = ContentSettings(threshold=threshold, min_shot_s=min_shot_s)
    ours = our_cuts(ContentDetector(settings, facts.time_base, facts.frame_rate), frames)
    theirs = SceneDetectContent(threshold=threshold, min_scene_len=min_shot_s)
    assert ours == scenedetect_cuts(theirs, frames, facts)


def test_a_cut_in_the_first_moments_is_no_flash() -> None:
    assert cuts_of([100] * 3 + [220] * 20, ContentSettings()) == [3]


def test_while_a_long_burst_lasts_its_last_change_is_not_settled() -> None:
    close = CloseCuts(min_shot_pts=5)
    changes = {10, 12, 14, 16, 18, 20}
    reported = {pts: close.push(pts, pts in changes) for pts in range(20)}
    assert {pts for pts, cut in reported.items() if cut is not None} == {10}
    assert close.settled_pts == 18
    reported = {pts: close.push(pts, pts in changes) for pts in range(20, 30)}
    assert {pts: cut for pts, cut in reported.items() if cut is not None} == {25: 20}
    assert close.settled_pts == 29
