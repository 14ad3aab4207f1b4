"""What every detector must do, for every file in the folder."""

import itertools
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from curation import detectors
from curation.detector import detector_class, detector_settings, make_detector
from curation.named_modules import names_in
from curation.video import FrameSpec, scan
from tests.footage import Cuts, Encoding, moving_texture, shots

NAMES = names_in(detectors)


def cuts_found(name: str, path: Path) -> list[float]:
    """Times of the cuts, in seconds from the first frame."""
    frames = scan(str(path), [FrameSpec(fps=None, short_side_px=144, planes="bgr")])
    detector, found, first = None, [], 0.0
    for seen in frames:
        if detector is None:
            assert frames.facts is not None
            detector = make_detector(name, detector_settings(name, {}), frames.facts.time_base, 24)
            first = seen.frame.time_s
        found += detector.push(seen.frame)
    assert detector is not None and frames.facts is not None
    found += detector.finish()
    assert found == sorted(found)
    return [float(pts * frames.facts.time_base) - first for pts in found]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["plain", "mpegts", "edit-list", "rotated-90", "variable-rate-mkv", "late-start"])
def test_hard_cuts_are_found_to_the_frame(hard: Callable[[str], Cuts], name: str, form: str) -> None:
    cuts = hard(form)
    expected = [start_s - cuts.starts_s[0] for start_s in cuts.starts_s[1:]]
    assert cuts_found(name, cuts.path) == pytest.approx(expected, abs=0.002)


@pytest.mark.parametrize("name", NAMES)
def test_motion_alone_is_no_cut(tmp_path: Path, name: str) -> None:
    assert cuts_found(name, moving_texture(tmp_path / "fast.mp4", seconds=2, step_px=(6, 3))) == []


@pytest.mark.parametrize("name", NAMES)
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


@pytest.mark.parametrize("name", NAMES)
def test_a_detector_names_its_version_and_describes_its_settings(name: str) -> None:
    kind = detector_class(name)
    assert kind.version
    for setting, field in kind.settings_class.model_fields.items():
        assert field.description, f"setting {setting} of {name} has no description"
