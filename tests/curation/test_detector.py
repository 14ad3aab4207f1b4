"""What every detector must do, for every file in the folder."""

import itertools
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import pytest

from curation import detectors
from curation.detector import detector_class, detector_settings, make_detector, missing_requirement
from curation.named_modules import names_in
from curation.records import UserError
from curation.split import SplitSettings
from curation.video import Frame, StreamFacts, scan
from tests.cut_footage import cut_film
from tests.footage import Cuts, Encoding, moving_texture, shots

NAMES = names_in(detectors)
OF_HARD_CUTS = [name for name in NAMES if name not in ("threshold", "histogram")]  # of fades, of changes of light
NEURAL = ("combined", "transnetv2")  # 2 s of computing for every 50 frames
FORMS = ("plain", "mpegts", "edit-list", "rotated-90", "variable-rate-mkv", "late-start")
NAMES_AND_FORMS = [
    *((name, form) for name in OF_HARD_CUTS if name not in NEURAL for form in FORMS),
    ("transnetv2", "variable-rate-mkv"),
]


@pytest.fixture(autouse=True)
def _only_what_is_installed(request: pytest.FixtureRequest) -> None:
    name = getattr(request.node, "callspec", None) and request.node.callspec.params.get("name")
    if name and (lacking := missing_requirement(name)):
        pytest.skip(lacking)


@lru_cache(maxsize=16)
def small_frames(path: Path) -> tuple[list[Frame], StreamFacts]:
    """The frames that a splitter would see; every detector is shown the same ones."""
    frames = scan(str(path), [SplitSettings().frames])
    pictures = [seen.frame for seen in frames]
    assert frames.facts is not None
    return pictures, frames.facts


def cuts_found(name: str, path: Path) -> list[float]:
    """Times of the cuts, in seconds from the first frame; nothing may come later than `settled_pts` said."""
    frames, facts = small_frames(path)
    detector = make_detector(name, detector_settings(name, {}), facts.time_base, 24)
    found: list[int] = []
    assert detector.settled_pts is None
    for frame in frames:
        settled = detector.settled_pts
        reported = detector.push(frame)
        assert all(settled is None or cut >= settled for cut in reported)
        assert detector.settled_pts is not None and (settled or frames[0].pts) <= detector.settled_pts <= frame.pts
        found += reported
    settled = detector.settled_pts
    reported = detector.finish()
    assert settled is not None and all(cut >= settled for cut in reported)
    found += reported
    assert found == sorted(set(found))
    assert {*found} <= {frame.pts for frame in frames}
    return [float(pts * facts.time_base) - frames[0].time_s for pts in found]


@pytest.mark.parametrize("name,form", NAMES_AND_FORMS)
def test_hard_cuts_are_found_to_the_frame(hard: Callable[[str], Cuts], name: str, form: str) -> None:
    cuts = hard(form)
    expected = [start_s - cuts.starts_s[0] for start_s in cuts.starts_s[1:]]
    assert cuts_found(name, cuts.path) == pytest.approx(expected, abs=0.002)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "combined"])
def test_motion_alone_is_no_cut(tmp_path: Path, name: str) -> None:
    assert cuts_found(name, moving_texture(tmp_path / "fast.mp4", seconds=2, step_px=(6, 3))) == []


LATENCY_FRAMES = {"content": 0, "adaptive": 3, "hash": 0, "histogram": 0, "threshold": 0, "cascade": 150}


@pytest.mark.parametrize("name", LATENCY_FRAMES)
def test_what_is_settled_lags_no_more_than_the_detector_has_to(tmp_path: Path, name: str) -> None:
    """`cascade` waits until no change of 3 s can outdo the one in whose middle it cuts: 5.5 s and two looks."""
    frames, facts = small_frames(cut_film(tmp_path / "film.mp4", ["hard", "dissolve"], seconds_each=2.5).path)
    detector = make_detector(name, detector_settings(name, {}), facts.time_base, 24)
    for index, frame in enumerate(frames):
        detector.push(frame)
        assert detector.settled_pts is not None
        assert detector.settled_pts >= frames[max(0, index - LATENCY_FRAMES[name])].pts


def test_the_middle_of_a_fade_is_settled_only_when_the_light_is_back(tmp_path: Path) -> None:
    film = cut_film(tmp_path / "fades.mp4", ["fade", "fade"])
    found = cuts_found("threshold", film.path)
    middles = [(each.first + each.last) / 2 / 24 for each in film.transitions]
    assert found == pytest.approx(middles, abs=2 / 24)


@pytest.fixture(scope="session")
def films_of_all_kinds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("kinds")
    films = [
        cut_film(folder / "mixed.mp4", ["hard", "dissolve", "fade"], flashes=True),
        cut_film(folder / "fast.mp4", ["hard"] * 12, seconds_each=0.25),
        cut_film(folder / "long.mp4", ["dissolve"], seconds_each=3.0, transition_s=2.5),
    ]
    return [film.path for film in films]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NEURAL])
def test_nothing_comes_later_than_it_was_settled_in_any_kind_of_film(films_of_all_kinds: list[Path], name: str) -> None:
    for path in films_of_all_kinds:
        cuts_found(name, path)


@pytest.mark.parametrize("name", [name for name in OF_HARD_CUTS if name not in NEURAL])
def test_the_shortest_shot_is_a_time_not_a_number_of_frames(tmp_path: Path, name: str) -> None:
    times_s = [index / 60 for index in range(40)] + [40 / 60 + index / 10 for index in range(40)]
    cuts = shots(tmp_path / "vfr.mp4", num_shots=8, seconds_each=10 / 24, encoding=Encoding(times_s=times_s))
    found = cuts_found(name, cuts.path)
    slow = [start_s for start_s in cuts.starts_s if start_s > 40 / 60]
    assert found[-len(slow) + 1 :] == pytest.approx(slow[1:], abs=0.002)
    assert all(later - earlier >= 0.6 for earlier, later in itertools.pairwise(found))


@pytest.mark.parametrize("name", NAMES)
def test_a_detector_that_saw_nothing_finds_nothing(name: str) -> None:
    assert make_detector(name, detector_settings(name, {}), Fraction(1, 1000), 24).finish() == []


def test_a_detector_that_needs_nothing_lacks_nothing() -> None:
    assert missing_requirement("content") is None
    with pytest.raises(UserError, match="the detectors are"):
        missing_requirement("clairvoyant")


@pytest.mark.parametrize("name", NAMES)
def test_a_detector_names_its_version_and_describes_its_settings(name: str) -> None:
    kind = detector_class(name)
    assert kind.version
    for setting, field in kind.settings_class.model_fields.items():
        assert field.description, f"setting {setting} of {name} has no description"
