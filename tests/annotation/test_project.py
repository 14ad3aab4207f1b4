"""The screen: every control with its own key, and read by Label Studio's own parser."""

import warnings
from xml.etree import ElementTree

import pytest
from pydantic import ValidationError

from annotation.project import (
    CAMERA_MOVEMENTS,
    FAST,
    FULL,
    SCREEN,
    AnnotationSettings,
)
from annotation.results import to_result
from annotation.screen import MAX_RATING, ChoiceQuestion, RatingQuestion, Screen, TextQuestion, render
from tests.annotation.answers import kept, rejected


def keys(screen: Screen) -> list[str]:
    found = []
    for question in screen.questions.values():
        if isinstance(question, ChoiceQuestion):
            found += [option.key for option in question.options]
        elif not isinstance(question, TextQuestion):
            found.append(question.key)
    return found


@pytest.mark.parametrize("screen", [FAST, FULL], ids=lambda screen: screen.name)
def test_every_control_has_a_key_of_its_own_so_that_none_gets_an_automatic_one(screen):
    assert len(keys(screen)) == len(set(keys(screen)))
    page = ElementTree.fromstring(render(screen))
    for tag in ("Choice", "Rating", "Number"):
        assert all(control.get("hotkey") for control in page.iter(tag)), tag


def test_where_there_are_text_boxes_no_key_types_anything():
    assert all("alt+" in key for key in keys(FULL))
    assert not any(isinstance(question, TextQuestion) for question in FAST.questions.values())


def test_every_level_of_every_rating_has_words_on_the_page():
    texts = [header.get("value") or "" for header in ElementTree.fromstring(render(FULL)).iter("Header")]
    for question in FULL.questions.values():
        if isinstance(question, RatingQuestion):
            assert len(set(question.anchors)) == MAX_RATING
            assert any(all(anchor in text for anchor in question.anchors) for text in texts), question.name


def test_the_fast_page_asks_what_the_full_page_asks_first():
    assert list(FULL.questions)[: len(FAST.questions)] == list(FAST.questions)


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
    for answers in (kept(camera_movement="pan left", segment_end_s=2.5), rejected("dull", "unsafe")):
        assert page.validate_prediction({"result": to_result(SCREEN, answers)}, return_errors=True) == []


def test_texts_are_escaped_in_the_page():
    first = SCREEN.panels[0]
    screen = Screen("quick", (type(first)('Quick & "sharp" <cuts>', first.questions),))
    titles = [header.get("value") for header in ElementTree.fromstring(render(screen)).iter("Header")]
    assert 'Quick & "sharp" <cuts>' in titles


def test_another_screen_has_another_digest():
    assert Screen("full", SCREEN.panels[:-1]).digest != SCREEN.digest


def test_more_answers_than_simulated_annotators_are_refused_before_tasks_wait_for_ever():
    with pytest.raises(ValidationError, match="only 2 simulated annotators"):
        AnnotationSettings(reviewers="simulated", overlap=3)
    assert AnnotationSettings(reviewers="team", overlap=3).answers_per_clip == 3
    assert AnnotationSettings(reviewers="me", overlap=3).answers_per_clip == 1
