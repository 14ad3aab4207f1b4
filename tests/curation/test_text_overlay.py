from pathlib import Path

import pytest

from curation.scorers.text_overlay import TextOverlayScorer, TextOverlaySettings
from tests.curation.clip_frames import score_file
from tests.footage import drift, moving_texture, texture, with_text, write_video


def test_burnt_in_text_is_found_and_texture_is_not_text(tmp_path: Path) -> None:
    scorer = TextOverlayScorer(TextOverlaySettings())
    plain = moving_texture(tmp_path / "plain.mp4", seconds=1, size=(640, 360))
    titled = moving_texture(tmp_path / "titled.mp4", seconds=1, size=(640, 360), text="PROPERTY OF THE STUDIO 1994")
    assert score_file(scorer, plain) == 0
    assert 0.02 < score_file(scorer, titled) < 0.2


def test_text_that_comes_late_counts(tmp_path: Path) -> None:
    """The frame with most text decides."""
    scorer = TextOverlayScorer(TextOverlaySettings(fps=1))
    frames = list(drift(texture(0, (640, 360)), 40, (2, 1)))
    frames[20:] = [with_text(frame, "DIRECTED BY NOBODY") for frame in frames[20:]]
    assert score_file(scorer, write_video(tmp_path / "late.mp4", frames)) > 0.02


def test_a_missing_package_is_named_with_its_trap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    lacking = TextOverlayScorer(TextOverlaySettings()).missing()
    assert lacking and "pip install --no-deps rapidocr-onnxruntime" in lacking


def test_real_burnt_in_text_is_found_and_real_faces_are_not_text(real_footage: Path) -> None:
    scorer = TextOverlayScorer(TextOverlaySettings(fps=0.25))
    assert score_file(scorer, real_footage / "psd_testvideo.mp4") == pytest.approx(0.057, abs=0.01)
    assert score_file(scorer, real_footage / "skv_bikes.mp4") == 0
