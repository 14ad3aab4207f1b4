"""The screen: every control with its own key, and read by Label Studio's own parser."""

import warnings
from xml.etree import ElementTree

import pytest
from pydantic import ValidationError

from annotation.project import (
    CAMERA_MOVEMENTS,
    SCREEN,
    AnnotationSettings,
    ChoiceQuestion,
    RatingQuestion,
    Screen,
    render,
)
from annotation.results import to_result
from tests.annotation.answers import kept, rejected


def keys() -> list[str]:
    found = []
    for question in SCREEN.questions.values():
        if isinstance(question, ChoiceQuestion):
            found += [option.key for option in question.options]
        elif isinstance(question, RatingQuestion):
            found.append(question.key)
    return found


def test_every_control_has_a_key_of_its_own_so_that_none_gets_an_automatic_one():
    assert len(keys()) == len(set(keys()))
    page = ElementTree.fromstring(render(SCREEN))
    for tag in ("Choice", "Rating"):
        assert all(control.get("hotkey") for control in page.iter(tag)), tag


def test_the_page_asks_the_seven_criteria_and_the_fourteen_camera_movements_of_the_report():
    ratings = [question for question in SCREEN.questions.values() if isinstance(question, RatingQuestion)]
    assert len(ratings) == 7
    assert len(set(CAMERA_MOVEMENTS)) == 14


def test_label_studios_own_reader_accepts_the_page_and_valid_answers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # third-party imports
        from label_studio_sdk.label_interface import LabelInterface
    page = LabelInterface(render(SCREEN))
    page.validate()
    for answers in (kept(camera_movement="pan left"), rejected("dull", "unsafe")):
        assert page.validate_prediction({"result": to_result(SCREEN, answers)}, return_errors=True) == []


def test_texts_are_escaped_in_the_page():
    first = SCREEN.panels[0]
    screen = Screen((type(first)('Quick & "sharp" <cuts>', first.questions),))
    titles = [header.get("value") for header in ElementTree.fromstring(render(screen)).iter("Header")]
    assert 'Quick & "sharp" <cuts>' in titles


def test_another_screen_has_another_digest():
    assert Screen(SCREEN.panels[:-1]).digest != SCREEN.digest


def test_more_answers_than_simulated_annotators_are_refused_before_tasks_wait_for_ever():
    with pytest.raises(ValidationError, match="only 2 simulated annotators"):
        AnnotationSettings(reviewers="simulated", overlap=3)
    assert AnnotationSettings(reviewers="team", overlap=3).answers_per_clip == 3
    assert AnnotationSettings(reviewers="me", overlap=3).answers_per_clip == 1
