from fractions import Fraction

import numpy as np
import pytest

from curation.detector import detector_settings
from curation.detectors import transnetv2
from curation.detectors.combined import CombinedDetector, CombinedSettings
from curation.records import UserError
from curation.video import Frame

LEVELS = [0] * 40 + [200] * 40 + [20] * 70  # cuts of brightness at 40 and 80
NETWORK_SAYS = {40, 110}  # the last frame of a shot: cuts at 41 and 111


def cuts(monkeypatch: pytest.MonkeyPatch, settings: CombinedSettings) -> list[int]:
    """Frame k carries its number in a corner, from which the network's place-holder reads its verdict."""

    def verdicts(pictures: np.ndarray) -> np.ndarray:
        return np.array([float(int(picture[0, 0, 0]) in NETWORK_SAYS) for picture in pictures])

    monkeypatch.setattr(transnetv2, "load_network", lambda device, num_threads: verdicts)
    detector = CombinedDetector(settings, Fraction(1, 24), 24)
    found: list[int] = []
    for pts, level in enumerate(LEVELS):
        picture = np.full((27, 48, 3), level, np.uint8)
        picture[0, 0] = pts
        settled = detector.settled_pts
        new = detector.push(Frame(pts, 0.0, picture[..., 0], picture))
        assert all(settled is not None and cut >= settled for cut in new)
        found += new
    return found + detector.finish()


def test_any_takes_the_cuts_of_both_and_near_ones_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cuts(monkeypatch, CombinedSettings(join="any")) == [40, 80, 111]


def test_both_takes_what_they_agree_on_within_some_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cuts(monkeypatch, CombinedSettings(join="both")) == [40]
    assert cuts(monkeypatch, CombinedSettings(join="both", agree_frames=0)) == []
    assert cuts(monkeypatch, CombinedSettings(join="both", agree_frames=31)) == [40, 80]


def test_the_settings_of_the_first_are_checked_and_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="ratio"):
        detector_settings("combined", {"first": "adaptive", "options": {"ration": 2}})
    assert cuts(monkeypatch, CombinedSettings(options={"threshold": 100.0})) == [41, 111]
