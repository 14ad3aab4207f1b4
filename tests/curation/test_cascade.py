from pathlib import Path

from curation.detectors.cascade import CascadeDetector, CascadeSettings, SlowLevel
from curation.detectors.content import ContentDetector, ContentSettings
from tests.curation.scenedetect_cuts import frames_of, our_cuts
from tests.cut_footage import cut_film


def test_a_slow_dissolve_is_found_in_its_middle_where_content_sees_nothing(tmp_path: Path) -> None:
    film = cut_film(tmp_path / "slow.mp4", ["dissolve"], seconds_each=4.0, transition_s=2.5)
    frames, facts = frames_of(film.path)
    assert our_cuts(ContentDetector(ContentSettings(), facts.time_base, 24), frames) == []
    found = our_cuts(CascadeDetector(CascadeSettings(), facts.time_base, 24), frames)
    index_of = {frame.pts: index for index, frame in enumerate(frames)}
    middle = (film.transitions[0].first + film.transitions[0].last) / 2
    assert len(found) == 1
    assert abs(index_of[found[0]] - middle) <= 18


def test_a_hard_cut_is_told_once_by_however_many_levels(tmp_path: Path) -> None:
    film = cut_film(tmp_path / "hard.mp4", ["hard", "hard"], seconds_each=4.0)
    frames, facts = frames_of(film.path)
    settings = CascadeSettings(slow=(SlowLevel(), SlowLevel(fps=1.0, span_s=2.0, threshold=0.3)))
    found = our_cuts(CascadeDetector(settings, facts.time_base, 24), frames)
    assert found == [frames[each.first].pts for each in film.transitions]


def test_without_slow_levels_it_is_content(tmp_path: Path) -> None:
    film = cut_film(tmp_path / "fast.mp4", ["hard"] * 6, seconds_each=0.8)
    frames, facts = frames_of(film.path)
    found = our_cuts(CascadeDetector(CascadeSettings(slow=()), facts.time_base, 24), frames)
    assert found == our_cuts(ContentDetector(ContentSettings(), facts.time_base, 24), frames)
