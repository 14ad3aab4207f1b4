"""What a model says is a structured caption or a malformed draft that says why; nothing in between."""

import json
import random
from pathlib import Path

import pytest

from annotation.captions import BY_FACTS
from annotation.drafting import (
    FIELDS,
    SCHEMA,
    Facts,
    MalformedDraft,
    best_draft,
    drafter_version,
    is_draft_of,
    prompt_of,
    read_words,
    to_caption,
)
from annotation.project import CAMERA_MOVEMENTS
from annotation.tasks import CAPTION_FIELDS
from annotation.vision_models import DrafterSettings
from curation.records import Caption

GOOD = {
    "short": "A woman in a red coat crosses a wet street.",
    "dense": "A woman in a red coat waits at the kerb, looks left, then crosses a wet street while a tram passes "
    "behind her. The camera follows her from the other side and comes to rest as she reaches the pavement.",
    "background": "tram, shop windows",
    "style": "documentary",
    "shot_type": "wide shot",
    "lighting": "overcast daylight",
    "atmosphere": "calm",
    "camera_movement": "pan right",
}
SETTINGS = DrafterSettings(model="some/tiny-model")


def changed(**fields: object) -> str:
    return json.dumps({**GOOD, **fields})


def reason_of(text: str, is_cut: bool = False) -> str:
    with pytest.raises(MalformedDraft) as caught:
        read_words(text, is_cut)
    return caught.value.reason


@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "```json\n{}\n```",
        "Sure! Here is the caption:\n{}\nLet me know {{if}} you need more.",
        "<think>{{</think>{}",
    ],
)
def test_one_object_is_read_with_or_without_fences_and_prose(around):
    words = read_words(around.format(json.dumps(GOOD, indent=2)))
    assert {name: getattr(words, name) for name in FIELDS} == GOOD


def test_fields_come_clean_and_what_is_not_seen_stays_empty():
    words = read_words(changed(short="  A woman\n crosses. ", camera_movement="Pan Right", style="", lighting=" "))
    assert (words.short, words.camera_movement, words.style, words.lighting) == (
        "A woman crosses.",
        "pan right",
        "",
        "",
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no JSON"),
        ("A woman crosses a street.", "no JSON"),
        (json.dumps(GOOD)[:-20], "no JSON"),
        ("{" * 9_000, "no JSON"),
        ('{"a":' * 3_000, "no JSON"),
        (json.dumps([GOOD["short"]]), "no JSON"),
        ("{}", "missing field"),
        (json.dumps({name: GOOD[name] for name in FIELDS if name != "dense"}), "missing field"),
        (changed(notes="none"), "unknown field"),
        (json.dumps(GOOD)[:-1] + ', "short": "Another."}', "repeated field"),
        (changed(short=None), "wrong type"),
        (changed(dense=["a", "b"]), "wrong type"),
        (changed(lighting={"kind": "soft"}), "wrong type"),
        (changed(atmosphere=3), "wrong type"),
        (changed(camera_movement="dolly zoom"), "unknown camera movement"),
        (changed(short=" \n"), "empty short"),
        (changed(short="word " * 120), "too long"),
        (changed(dense=" ".join(f"word{number}" for number in range(600))), "too long"),
        ("x" * 20_001, "too long"),
        (changed(style="\ud800"), "not text"),
        (changed(style="film\u0000noir"), "not text"),
        (changed(dense="A man walks. He stops. A man walks. He turns. A man walks."), "repetition"),
        (changed(dense="the man and the dog and " * 12), "repetition"),
        (changed(background="s" * 300), "repetition"),
    ],
)
def test_what_is_no_structured_caption_is_malformed_and_says_why(text, reason):
    assert reason_of(text) == f"malformed: {reason}"


def test_an_answer_that_ran_out_of_room_says_so_only_where_it_is_broken():
    assert reason_of(json.dumps(GOOD)[:-20], is_cut=True) == "malformed: cut off"
    assert read_words(json.dumps(GOOD), is_cut=True).short == GOOD["short"]


def test_a_malformed_draft_quotes_the_first_500_characters_and_can_be_written():
    with pytest.raises(MalformedDraft) as caught:
        read_words("\udcff" + "a" * 499 + "b" * 200)
    assert str(caught.value).encode().endswith(b"Given: \\udcff" + b"a" * 499)


def test_long_honest_text_is_no_loop():
    generator = random.Random(0)
    nouns, verbs = ("tram woman dog cyclist child van", "passes crosses follows leaves meets watches")
    sentences = [
        f"A {generator.choice(nouns.split())} {generator.choice(verbs.split())} house {number} at {number * 7} past."
        for number in range(40)
    ]
    assert read_words(changed(dense=" ".join(sentences))).dense.startswith("A ")


def test_whatever_bytes_come_the_answer_is_words_or_malformed():
    generator, text = random.Random(1), json.dumps(GOOD)
    outcomes = set()
    for _ in range(2_000):
        start = generator.randrange(len(text))
        damaged = text[:start] + generator.choice(['"', "{", "}", "\\", ",", "", "\x00", "é"]) + text[start + 1 :]
        try:
            outcomes.add(type(read_words(damaged)).__name__)
        except MalformedDraft as error:
            outcomes.add(error.reason)
    assert {"Words", "malformed: no JSON", "malformed: missing field"} <= outcomes


def test_the_prompt_asks_for_every_field_and_class_and_tells_only_known_facts():
    bare, told = prompt_of(8, 3.2, Facts()), prompt_of(8, 3.2, Facts('A {street} in "Lyon"', "pan left"))
    assert bare.startswith("You see 8 frames of one video shot that lasts 3.2 seconds, in order of time.\n")
    assert all(f'"{name}":' in bare for name in FIELDS)
    assert all(f'"{movement}"' in bare for movement in CAMERA_MOVEMENTS)
    assert r'title is "A {street} in \"Lyon\""; the camera movement was measured as "pan left".' in told


def test_the_schema_allows_what_is_accepted_and_asks_for_what_the_page_shows():
    assert FIELDS == CAPTION_FIELDS == tuple(SCHEMA["required"])
    for movement in SCHEMA["properties"]["camera_movement"]["enum"]:
        assert read_words(changed(camera_movement=movement)).camera_movement == movement


def test_a_draft_names_its_model_and_its_version_names_drafter_and_content():
    drafter = drafter_version(SETTINGS, "weights")
    first = to_caption(read_words(changed()), "c1", SETTINGS, drafter)
    second = to_caption(read_words(changed(style="cartoon")), "c1", SETTINGS, drafter)
    assert (first.by, first.clip_id, first.dense) == ("draft:tiny-model", "c1", GOOD["dense"])
    assert first.version != second.version
    assert is_draft_of(first, drafter) and is_draft_of(second, drafter)
    assert not is_draft_of(first, drafter_version(SETTINGS, "other weights"))


def test_the_drafter_changes_with_what_shapes_words_and_with_nothing_else():
    known = drafter_version(SETTINGS, "weights")
    for same in (
        {"batch": 9},
        {"device": "cpu"},
        {"retry": 1},
        {"timeout_s": 3.0},
        {"model": str(Path("x/tiny-model"))},
    ):
        assert drafter_version(SETTINGS.model_copy(update=same), "weights") == known
    for other in ({"max_frames": 4}, {"temperature": 0.5}, {"use_facts": False}, {"revision": "b"}, {"model": "other"}):
        assert drafter_version(SETTINGS.model_copy(update=other), "weights") != known
    assert drafter_version(SETTINGS, "other weights") != known


def test_a_model_s_draft_is_preferred_to_facts_and_the_current_one_to_others():
    facts = Caption("c1", BY_FACTS, "1", "Street.")
    people = Caption("c1", "people", "2", "A street.")
    old, new = (Caption("c1", "draft:vlm", f"{drafter}-x", drafter) for drafter in ("aaa", "bbb"))
    assert best_draft(facts, [people, Caption("c1", BY_FACTS, "0", "Old.")]) is facts
    assert best_draft(facts, [people, facts, new], "ccc") is new
    assert best_draft(facts, [old, new], "bbb") is new
    assert best_draft(facts, [new, old]) is old
