"""A clip put into the words of a structured caption by a vision-language model: what it is asked, what is accepted.

    frames, facts --prompt--> VisionModel --text--> read_words --+--> Words --> Caption, by = draft:<model>
                                                                 +--> MalformedDraft(reason): a failure, never a task

The caption's fields are HunyuanVideo's (report section 3.2) and its camera movements the 14 classes. The model is asked
for one JSON object and nothing else; prose and code fences around it are cut away, but nothing within is mended: a
draft that does not fit is worth less to a person than an empty page. Loops, the usual way in which such models fail,
are told by repeated sentences and by repeated runs of characters (the idea of the compression test in Whisper, Radford
et al. 2022): of 12-character runs, good captions of 120 characters and more repeat next to none, loops nearly all.

A draft's version is `<drafter>-<content>`: the drafter's part names the prompt, the model's weights and the settings
that shape words, so a changed one makes every clip due again; the content's part makes each wording a row of its own.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from annotation.captions import BY_FACTS
from annotation.project import CAMERA_MOVEMENTS
from annotation.vision_models import DrafterSettings
from curation.records import Caption, content_id

DRAFT = "draft:"
MAX_CHARS = {"short": 400, "dense": 3000}
MAX_CHARS_OTHER = 400
MAX_TEXT_CHARS = 20_000
QUOTED_CHARS = 500
SAME_SENTENCE = 3  # times that a sentence of a field may not be said
RUN_CHARS, LEAST_DISTINCT, LEAST_CHARS = 12, 0.6, 120

PROMPT = """You see {num_frames} frames of one video shot that lasts {duration_s:.1f} seconds, in order of time.{facts}
Describe only what can be seen. Answer with one JSON object and nothing else, with exactly these fields, all of them text in English:
{{
"short": one sentence that says who or what does what, and where,
"dense": everything that is seen and happens, in order of time, with colours, places and how the camera moves, in 60 to 150 words,
"background": what is behind the subject,
"style": such as documentary, cartoon, film noir,
"shot_type": such as close-up, medium shot, wide shot, aerial shot,
"lighting": such as soft daylight, neon, candle light,
"atmosphere": such as calm, tense, festive,
"camera_movement": one of {movements}; or "" if none of them fits
}}
What cannot be seen is ""; never guess names, and never repeat yourself."""  # noqa: E501
FACTS = " Known about it, and perhaps not all of it seen: {facts}."
PROMPT_VERSION = content_id(PROMPT, FACTS, CAMERA_MOVEMENTS)


@dataclass(frozen=True)
class Words:
    """What a model says of a clip, clean: one line a field, empty where it says nothing, but never `short`."""

    short: str
    dense: str
    background: str
    style: str
    shot_type: str
    lighting: str
    atmosphere: str
    camera_movement: str


FIELDS = tuple(each.name for each in fields(Words))

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        name: {"type": "string", "enum": ["", *CAMERA_MOVEMENTS]} if name == "camera_movement" else {"type": "string"}
        for name in FIELDS
    },
    "required": list(FIELDS),
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Facts:
    """What is known of a clip before anybody looks, empty where nothing is."""

    title: str = ""
    camera_movement: str = ""


class MalformedDraft(ValueError):
    """A model's answer that is no structured caption; `reason` is a short kind, the message says more and quotes it."""

    def __init__(self, reason: str, detail: str, given: str) -> None:
        quoted = given[:QUOTED_CHARS].encode("utf-8", "backslashreplace").decode()
        super().__init__(f"{detail}. Given: {quoted}")
        self.reason = f"malformed: {reason}"


def prompt_of(num_frames: int, duration_s: float, facts: Facts) -> str:
    """What a model is asked about that many frames of a clip."""
    known = []
    if facts.title:
        known.append(f"the video's title is {json.dumps(facts.title[:200], ensure_ascii=False)}")
    if facts.camera_movement:
        known.append(f"the camera movement was measured as {json.dumps(facts.camera_movement)}")
    said = FACTS.format(facts="; ".join(known)) if known else ""
    movements = ", ".join(f'"{movement}"' for movement in CAMERA_MOVEMENTS)
    return PROMPT.format(num_frames=num_frames, duration_s=duration_s, facts=said, movements=movements)


def read_words(text: str, is_cut: bool = False) -> Words:
    """The structured caption in a model's answer.

    Args:
        is_cut: whether the model was not done when its room ended; only said where the answer is broken.

    Raises:
        MalformedDraft: no JSON object, a missing, unknown or repeated field, no text, an unknown camera movement, an
            empty `short`, too long, not writable, or a loop.
    """
    if len(text) > MAX_TEXT_CHARS:
        raise MalformedDraft("too long", f"the answer has {len(text)} characters, at most {MAX_TEXT_CHARS} fit", text)
    given = first_object(text)
    if given is None:
        reason = "cut off" if is_cut else "no JSON"
        raise MalformedDraft(reason, f"no whole JSON object{' before max_new_tokens ended it' if is_cut else ''}", text)
    names = [name for name, _ in given]
    for reason, wrong in (
        ("missing field", [name for name in FIELDS if name not in names]),
        ("unknown field", [name for name in names if name not in FIELDS]),
        ("repeated field", [name for name, times in Counter(names).items() if times > 1]),
    ):
        if wrong:
            raise MalformedDraft(reason, f"{reason}: {', '.join(map(repr, wrong))}", text)
    return Words(**{name: _read_field(name, value, text) for name, value in given})


def to_caption(words: Words, clip_id: str, settings: DrafterSettings, drafter: str) -> Caption:
    """The words as a draft; `drafter` is the `drafter_version`."""
    by, content = DRAFT + settings.name, asdict(words)
    return Caption(clip_id=clip_id, by=by, version=f"{drafter}-{content_id(*content.values())}", **content)


def drafter_version(settings: DrafterSettings, *others: str) -> str:
    """Changes whenever drafts may: with the prompt, the settings that shape words, the model's name, and `others`
    (fingerprints of its weights, the version of the crop that frames are shown in)."""
    return content_id(PROMPT_VERSION, settings.name, settings.shaping(), *others)


def is_draft_of(caption: Caption, drafter: str) -> bool:
    """Whether a caption comes from this version of a drafter."""
    return caption.by.startswith(DRAFT) and caption.version.startswith(f"{drafter}-")


def best_draft(of_facts: Caption, captions: Iterable[Caption], drafter: str = "") -> Caption:
    """What a person should start from: a model's draft where there is one, else the one made of facts.

    Args:
        captions: any rows of `captions` of that clip; people's captions and older drafts of facts are passed over.
        drafter: the version to prefer; where it has no draft, or is empty, the first by name and version stands in.
    """
    drafts = [row for row in captions if row.by.startswith(DRAFT) and row.by != BY_FACTS]
    if not drafts:
        return of_facts
    return min(drafts, key=lambda row: (not (drafter and is_draft_of(row, drafter)), row.by, row.version))


def first_object(text: str) -> list[tuple[str, Any]] | None:
    """The first whole JSON object in a text, as pairs, since a mapping would hide repeated names."""
    decoder = json.JSONDecoder(object_pairs_hook=_Pairs)
    start = text.find("{")
    while start >= 0:
        try:
            found, _ = decoder.raw_decode(text, start)
            return found
        except (json.JSONDecodeError, RecursionError):
            start = text.find("{", start + 1)
    return None


class _Pairs(list[tuple[str, Any]]):
    """An object's members in order; tells an object from a list."""


def _read_field(name: str, value: Any, text: str) -> str:
    if not isinstance(value, str):
        kind = "object" if isinstance(value, _Pairs) else type(value).__name__
        raise MalformedDraft("wrong type", f"{name!r} must be text, it is {kind}", text)
    line = " ".join(value.split())
    if any(0xD800 <= ord(each) < 0xE000 or ord(each) < 32 or ord(each) == 127 for each in line):
        raise MalformedDraft("not text", f"{name!r} holds characters that cannot be written", text)
    if name == "camera_movement":
        line = line.lower()
        if line and line not in CAMERA_MOVEMENTS:
            movements = ", ".join(CAMERA_MOVEMENTS)
            raise MalformedDraft("unknown camera movement", f"{line[:80]!r} is none of {movements}", text)
    if name == "short" and not line:
        raise MalformedDraft("empty short", "'short' must say something", text)
    longest = MAX_CHARS.get(name, MAX_CHARS_OTHER)
    if len(line) > longest:
        raise MalformedDraft("too long", f"{name!r} has {len(line)} characters, at most {longest} fit", text)
    if loop := repetition(line):
        raise MalformedDraft("repetition", f"{name!r} {loop}", text)
    return line


def repetition(line: str) -> str:
    """How a line repeats itself, in words, or empty."""
    sentences = Counter(part.strip().casefold() for part in re.split(r"[.!?;。！？]", line))
    del sentences[""]
    sentence, times = max(sentences.items(), key=lambda each: each[1], default=("", 0))
    if times >= SAME_SENTENCE:
        return f"says {sentence[:80]!r} {times} times"
    runs = [line[start : start + RUN_CHARS] for start in range(len(line) - RUN_CHARS + 1)]
    distinct = len(set(runs)) / max(1, len(runs))
    if len(line) >= LEAST_CHARS and distinct < LEAST_DISTINCT:
        return f"repeats itself: {distinct:.0%} of its runs of {RUN_CHARS} characters are distinct"
    return ""
