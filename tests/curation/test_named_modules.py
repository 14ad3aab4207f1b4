import pytest

from curation import detectors, scorers
from curation.detectors.content import ContentDetector
from curation.named_modules import class_named, names_in, settings_named
from curation.records import UserError


def test_the_files_of_a_folder_are_the_names() -> None:
    assert {"adaptive", "content"} <= set(names_in(detectors))
    assert {"aesthetic", "exposure", "motion", "sharpness", "text_overlay"} <= set(names_in(scorers))


def test_a_name_gives_the_class_of_its_file() -> None:
    assert class_named(detectors, "content", "Detector") is ContentDetector


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match="no detector 'contents'; the detectors are adaptive, cascade, combined"):
        class_named(detectors, "contents", "Detector")


def test_a_wrong_setting_lists_the_right_ones() -> None:
    with pytest.raises(UserError, match=r"settings of detector 'content': treshold: .*It has: threshold, min_shot_s"):
        settings_named(detectors, "content", "Detector", {"treshold": 30})
    with pytest.raises(UserError, match="threshold: Input should be greater than 0"):
        settings_named(detectors, "content", "Detector", {"threshold": -1})
