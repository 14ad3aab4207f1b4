"""Answers against the screen: what is allowed, what is invalid and why."""

from typing import Any

import pytest

from annotation.project import SCREEN
from annotation.results import (
    InvalidAnswer,
    RawAnswer,
    annotation_key,
    read_answers,
    to_annotation,
    to_failure,
    to_result,
)
from tests.annotation.answers import RATINGS, kept, rejected


def raw(result: list[dict[str, Any]], **more: Any) -> RawAnswer:
    fields = {"annotation_id": 7, "task_id": 3, "clip_id": "c1", "annotator": "ann@example.org", "skipped": False}
    return RawAnswer(**(fields | {"lead_time_s": 4.5, "updated_at": "2026-01-01T00:00:00Z", "result": result} | more))


def item(name: str, kind: str, value: Any) -> dict[str, Any]:
    return {"from_name": name, "to_name": "clip", "type": kind, "value": value}


def test_answers_survive_the_way_to_label_studios_form_and_back():
    answers = kept(dense="It runs fast.", camera_movement="zoom in")
    assert read_answers(SCREEN, to_result(SCREEN, answers))[0] == answers
    assert read_answers(SCREEN, to_result(SCREEN, rejected("dull", "unsafe")))[0] == rejected("dull", "unsafe")


WITHOUT_RATING = {name: value for name, value in kept().items() if name != "motion_blur"}

BAD = {
    "unknown question": [*to_result(SCREEN, kept()), item("mood", "choices", {"choices": ["fine"]})],
    "unknown choice": to_result(SCREEN, {**kept(), "verdict": "accept"}),
    "too many choices": [item("verdict", "choices", {"choices": ["keep", "reject"]})],
    "rating out of range": to_result(SCREEN, {**kept(), "motion_speed": 9}),
    "missing answer": to_result(SCREEN, WITHOUT_RATING),
    "wrong type": [item("verdict", "rating", {"rating": 1})],
    "answered twice": to_result(SCREEN, kept()) + to_result(SCREEN, {"short": "Again."}),
}


@pytest.mark.parametrize("reason", BAD)
def test_what_the_screen_does_not_allow_is_invalid_with_its_reason(reason: str):
    with pytest.raises(InvalidAnswer) as caught:
        read_answers(SCREEN, BAD[reason])
    assert caught.value.reason == reason


@pytest.mark.parametrize("rating", [0, 6, 2.5, "3", True, None, [3]])
def test_a_rating_is_a_whole_number_from_one_to_five(rating: Any):
    with pytest.raises(InvalidAnswer, match="rated 1 to 5"):
        read_answers(SCREEN, to_result(SCREEN, {**kept(), "lighting_quality": rating}))


@pytest.mark.parametrize("value", [None, {}, {"text": "x"}, {"choices": "keep"}, {"choices": [1]}, {"choices": None}])
def test_malformed_values_are_invalid_and_never_a_crash(value: Any):
    with pytest.raises(InvalidAnswer):
        read_answers(SCREEN, [item("verdict", "choices", value)])


def test_a_blank_caption_counts_as_missing():
    with pytest.raises(InvalidAnswer, match="short"):
        read_answers(SCREEN, to_result(SCREEN, kept(short="  \n ")))


def test_a_rejection_needs_a_reason_and_a_keep_does_not():
    with pytest.raises(InvalidAnswer, match="reject_reasons"):
        read_answers(SCREEN, to_result(SCREEN, rejected()))
    assert "reject_reasons" not in read_answers(SCREEN, to_result(SCREEN, kept()))[0]


def test_ratings_given_before_the_verdict_was_changed_to_reject_are_left_out():
    answers, origins = read_answers(SCREEN, to_result(SCREEN, RATINGS | rejected("dull"), {"motion_speed": "manual"}))
    assert answers == rejected("dull")
    assert origins == {}


def test_origins_are_kept_so_that_rubber_stamping_can_be_measured():
    result = to_result(SCREEN, kept(), {"short": "prediction", "verdict": "manual"})
    assert read_answers(SCREEN, result)[1] == {"verdict": "manual", "short": "prediction"}


def test_a_skip_is_kept_as_a_skip_whatever_the_draft_left_in_it():
    row = to_annotation(SCREEN, "embedded", "Dailies", raw(to_result(SCREEN, {"short": "Draft."}), skipped=True))
    assert row.skipped and row.answers == "{}"


def test_rows_of_simulated_annotators_say_so():
    result = to_result(SCREEN, kept())
    assert to_annotation(SCREEN, "embedded", "P", raw(result, annotator="simulated-motion@localhost")).simulated
    assert not to_annotation(SCREEN, "embedded", "P", raw(result)).simulated


def test_an_edited_answer_is_a_new_row_and_the_same_answer_is_not():
    first, again, edited = raw([]), raw([]), raw([], updated_at="2026-01-02T00:00:00Z")
    assert annotation_key("s", "p", first) == annotation_key("s", "p", again)
    assert annotation_key("s", "p", first) != annotation_key("s", "p", edited)
    assert annotation_key("s", "p", first) != annotation_key("s", "p", raw([], clip_id="c2")), "task ids come again"


def test_the_failure_row_names_the_person_and_quotes_the_answer():
    answer = raw(BAD["rating out of range"])
    with pytest.raises(InvalidAnswer) as caught:
        to_annotation(SCREEN, "embedded", "Dailies", answer)
    failure = to_failure(SCREEN, "embedded", "Dailies", answer, caught.value)
    assert (failure.job, failure.label, failure.reason) == ("collect", "c1", "rating out of range")
    assert "ann@example.org" in failure.detail and '"rating": 9' in failure.detail
