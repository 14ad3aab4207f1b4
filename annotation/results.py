"""Answers judged against the screen's declaration, because the server accepts anything.

    RawAnswer (as it lies on the server) --read_answers--> question -> answer   or InvalidAnswer(reason, detail)

An answer to a question that was not asked (a rating given before the verdict was changed to reject) is left out; any
other departure from the screen makes the whole answer invalid, and the caller records it as a failure.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from annotation.accounts import SIMULATED_PREFIX
from annotation.project import SEGMENT
from annotation.screen import (
    MAX_RATING,
    VIDEO,
    ChoiceQuestion,
    NumberQuestion,
    Question,
    RatingQuestion,
    Screen,
    TextQuestion,
)
from curation.records import Annotation, Failure, content_id

TYPES = {ChoiceQuestion: "choices", RatingQuestion: "rating", NumberQuestion: "number", TextQuestion: "textarea"}
VALUE_KEYS = {ChoiceQuestion: "choices", RatingQuestion: "rating", NumberQuestion: "number", TextQuestion: "text"}

Answer = str | int | float | list[str]


@dataclass(frozen=True)
class RawAnswer:
    """One annotation as the server holds it, with the annotator's e-mail address for its number."""

    annotation_id: int
    task_id: int
    clip_id: str
    annotator: str
    skipped: bool
    lead_time_s: float | None
    updated_at: str
    result: list[dict[str, Any]] = field(default_factory=list)


class InvalidAnswer(ValueError):
    """An answer that the screen does not allow; `reason` is a short kind, the message says the rest."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def annotation_key(server: str, project: str, raw: RawAnswer) -> str:
    """The same answer has the same key however often it is collected; an edited one has a new key."""
    return content_id(server, project, raw.clip_id, raw.annotation_id, raw.updated_at)


def to_annotation(screen: Screen, server: str, project: str, raw: RawAnswer) -> Annotation:
    """The validated answer as a row.

    Raises:
        InvalidAnswer: the screen does not allow it.
    """
    answers, origins = ({}, {}) if raw.skipped else read_answers(screen, raw.result)
    return Annotation(
        annotation_key=annotation_key(server, project, raw),
        clip_id=raw.clip_id,
        annotator=raw.annotator,
        simulated=raw.annotator.startswith(SIMULATED_PREFIX),
        skipped=raw.skipped,
        answers=_json(answers),
        origins=_json(origins),
        lead_time_s=raw.lead_time_s,
        updated_at=raw.updated_at,
        project=project,
        task_id=raw.task_id,
    )


def to_failure(screen: Screen, server: str, project: str, raw: RawAnswer, error: InvalidAnswer) -> Failure:
    """The invalid answer as a failure row that names the person and quotes what was given."""
    return Failure(
        job="collect",
        job_digest=screen.digest,
        input_id=annotation_key(server, project, raw),
        label=raw.clip_id,
        reason=error.reason,
        detail=f"{raw.annotator}, task {raw.task_id}, annotation {raw.annotation_id}: {error}. "
        f"Given: {_json(raw.result)}",
        failed_at=raw.updated_at,
    )


def read_answers(screen: Screen, result: list[dict[str, Any]]) -> tuple[dict[str, Answer], dict[str, str]]:
    """Answers and their origins by question, in the screen's order.

    Origins are `prediction` (the draft's), `prediction-changed` or `manual`; the server gives none for answers made
    through its API, and then neither do we.

    Raises:
        InvalidAnswer: an unknown question, a wrong type, an unknown option, a rating or number out of range, a
            best part that ends before it begins, a repeated or a missing required answer.
    """
    questions = screen.questions
    answers: dict[str, Answer] = {}
    origins: dict[str, str] = {}
    for item in result:
        name = item.get("from_name")
        if name not in questions:
            raise InvalidAnswer("unknown question", f"{name!r} is not on the screen, which asks {', '.join(questions)}")
        if name in answers:
            raise InvalidAnswer("answered twice", f"{name!r} is answered twice")
        answers[name] = _read_one(questions[name], item)
        if item.get("origin"):
            origins[name] = str(item["origin"])
    asked = {name: question for name, question in questions.items() if is_asked(screen, name, answers)}
    missing = [name for name, question in asked.items() if question.required and not answers.get(name)]
    if missing:
        raise InvalidAnswer("missing answer", f"{', '.join(missing)} must be answered and {_is_or_are(missing)} not")
    kept = [name for name in asked if answers.get(name) or isinstance(answers.get(name), float)]
    _check_segment({name: answers[name] for name in kept if name in SEGMENT})
    return {name: answers[name] for name in kept}, {name: origins[name] for name in kept if name in origins}


def is_asked(screen: Screen, name: str, answers: Mapping[str, Answer]) -> bool:
    condition = screen.conditions[name]
    return condition is None or answers.get(condition.question) == condition.value


def to_result(screen: Screen, answers: Mapping[str, Answer], origins: Mapping[str, str] | None = None) -> list[dict]:
    """The inverse: answers in Label Studio's form, for drafts (predictions) and for the simulated annotators."""
    items = []
    for name, answer in answers.items():
        question = screen.questions[name]
        value = [answer] if isinstance(answer, str) else answer
        item = {
            "from_name": name,
            "to_name": VIDEO,
            "type": TYPES[type(question)],
            "value": {VALUE_KEYS[type(question)]: value},
        }
        if origins and name in origins:
            item["origin"] = origins[name]
        items.append(item)
    return items


def _read_one(question: Question, item: Mapping[str, Any]) -> Answer:
    given, value = item.get("type"), item.get("value")
    wanted, key = TYPES[type(question)], VALUE_KEYS[type(question)]
    if given != wanted or not isinstance(value, dict) or key not in value:
        raise InvalidAnswer("wrong type", f"{question.name!r} wants a {wanted!r} answer, got {given!r} with {value!r}")
    answer = value[key]
    match question:
        case RatingQuestion():
            return _read_rating(question, answer)
        case NumberQuestion():
            return _read_number(question, answer)
        case ChoiceQuestion():
            return _read_choice(question, answer)
        case TextQuestion():
            return _read_text(question, answer)


def _read_rating(question: RatingQuestion, answer: Any) -> int:
    if not isinstance(answer, int) or isinstance(answer, bool) or not 1 <= answer <= MAX_RATING:
        raise InvalidAnswer(
            "rating out of range", f"{question.name!r} is rated 1 to {MAX_RATING} in whole steps, got {answer!r}"
        )
    return answer


def _read_number(question: NumberQuestion, answer: Any) -> float:
    if not isinstance(answer, int | float) or isinstance(answer, bool) or not 0 <= answer < math.inf:
        raise InvalidAnswer("number out of range", f"{question.name!r} is a number of 0 or more, got {answer!r}")
    return float(answer)


def _check_segment(given: Mapping[str, Any]) -> None:
    """A best part ends after it begins; one bound alone means from the clip's beginning, or to its end."""
    start_s, end_s = given.get(SEGMENT[0], 0.0), given.get(SEGMENT[1], math.inf)
    if start_s >= end_s:
        raise InvalidAnswer("empty segment", f"the best part ends at {end_s:g} s but begins at {start_s:g} s")


def _read_choice(question: ChoiceQuestion, answer: Any) -> Answer:
    options = [option.value for option in question.options]
    if not isinstance(answer, list) or not all(isinstance(value, str) for value in answer):
        raise InvalidAnswer("wrong type", f"{question.name!r} wants a list of options, got {answer!r}")
    unknown = [value for value in answer if value not in options]
    if unknown:
        raise InvalidAnswer(
            "unknown choice", f"{question.name!r} offers {', '.join(options)}, got {', '.join(map(repr, unknown))}"
        )
    if question.many:
        return [option for option in options if option in answer]
    if len(answer) > 1:
        raise InvalidAnswer("too many choices", f"{question.name!r} takes one option, got {', '.join(answer)}")
    return answer[0] if answer else ""


def _read_text(question: TextQuestion, answer: Any) -> str:
    lines = [answer] if isinstance(answer, str) else answer
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise InvalidAnswer("wrong type", f"{question.name!r} wants text, got {answer!r}")
    return " ".join(" ".join(lines).split())


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=False)


def _is_or_are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
