"""A small study with its answers, written by hand: items, and answers of judges to them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from annotation.study.axes import ALL_AXES
from curation.study_records import ItemKind, StudyAnswer, StudyItem, StudyPrompt, StudyVideo

START = datetime(2026, 1, 1, tzinfo=UTC)


def prompts_of(number: int) -> list[StudyPrompt]:
    return [StudyPrompt("s", f"p{place:04d}", f"prompt {place}") for place in range(number)]


def video(system: str, prompt_id: str) -> StudyVideo:
    return StudyVideo("s", f"{system}.{prompt_id}", system, prompt_id, "", "", "", 64, 48, 8.0, 16)


def item(
    key: str, first: str, second: str = "", prompt_id: str = "p0000", kind: str = ItemKind.RANDOM, **other
) -> StudyItem:
    """One question; `expected` as a dict. Systems are named, `media_b` stays empty without a second."""
    expected = json.dumps(other.pop("expected", {}))
    media_b = f"{second}.{prompt_id}" if second else ""
    return StudyItem("s", key, kind, prompt_id, f"{first}.{prompt_id}", media_b, 0, 1, expected=expected, **other)


def answer(
    item_key: str, judge: str, said: str | Mapping[str, str], after_s: float = 0.0, skipped: bool = False, seconds=20.0
) -> StudyAnswer:
    """What a judge says of an item, the same on all axes if it is one word."""
    answers = {} if skipped else dict.fromkeys(ALL_AXES, said) if isinstance(said, str) else dict(said)
    when = (START + timedelta(seconds=after_s)).isoformat()
    key = f"{item_key}/{judge}/{after_s}"
    return StudyAnswer("s", key, item_key, judge, json.dumps(answers), seconds, when, False, skipped)
