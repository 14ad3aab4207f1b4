"""Prompts rewritten before they are sampled, by the model that also drafts captions or by one of their own.

    "cat on a roof" --normal--> the same intent, explicit: who, what, where, in which order
                    --master--> and composition, light, camera and style, as a director would have it

The two modes of HunyuanVideo's prompt rewriting (arXiv 2412.03603 s4.6: self-contained wording in Normal mode, more
about composition, lighting and camera movement in Master mode). The request goes through `annotation.vision_models`
without pictures; the answer is one JSON object. A model that does not answer, or answers something else, is said: the
prompt as it was written never takes the rewritten one's place.
"""

import json
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from annotation.drafting import MAX_TEXT_CHARS, first_object, repetition
from annotation.vision_models import DrafterSettings, NoReply, Reply, Request, load_model, missing, model_files
from curation.records import content_id
from curation.source import fingerprint
from jobs.cluster import refuse_missing

Mode = Literal["normal", "master"]
MAX_CHARS = 2000
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"prompt": {"type": "string"}},
    "required": ["prompt"],
    "additionalProperties": False,
}
NO_PICTURES = np.zeros((0, 1, 1, 3), np.uint8)

_TASK = """A text-to-video model will make a clip of a few seconds from a description.
Rewrite the request below into a description that it can follow. {how}
Keep every subject, action, place, number, colour and quoted text of the request; contradict nothing in it.
Write in English, in the present tense, as plain sentences.
Answer with one JSON object and nothing else: {{"prompt": the description}}
Request: {request}"""
_HOW: dict[Mode, str] = {
    "normal": (
        "Stay as close to its intent as possible and make explicit what it leaves to be guessed: who or what is seen, "
        "what happens and in which order, and where. Add nothing else, in 20 to 80 words."
    ),
    "master": (
        "Then enrich it as a director of photography would: shot size and composition, light, how the camera moves, "
        "atmosphere and visual style, each named in terms of film making, in 60 to 150 words."
    ),
}
VERSION = content_id(_TASK, *_HOW.values())


class RewriterSettings(DrafterSettings, frozen=True, extra="forbid"):
    """The model that rewrites prompts; without a name of its own, the one that drafts captions does."""

    section: ClassVar[str] = "generate.rewriter"
    max_new_tokens: int = Field(default=512, ge=1, description="longest answer; what is cut off is no answer")


def rewriter_of(own: RewriterSettings, drafter: DrafterSettings) -> DrafterSettings:
    """The settings of the model to ask."""
    return own if own.model else drafter


def rewriter_version(mode: Mode, settings: DrafterSettings) -> str:
    """Changes whenever a rewritten prompt may: with mode, instructions, model and what shapes its words.

    Raises:
        UserError: the model cannot be asked, and why.
    """
    refuse_missing("rewriting prompts", missing(settings))
    prints = [f"{path.name} {fingerprint(str(path.resolve()))}" for path in model_files(settings)]
    return content_id(VERSION, mode, settings.name, settings.shaping(), *prints)


def rewrite(prompts: Sequence[str], mode: Mode, settings: DrafterSettings) -> list[str | NoReply]:
    """Each prompt rewritten, or why it could not be; the model is loaded for the call and let go after it."""
    model = load_model(settings, SCHEMA)
    replies = model([_request(prompt, mode, settings.seed) for prompt in prompts])
    return [_read(reply) for reply in replies]


def _request(prompt: str, mode: Mode, seed: int) -> Request:
    text = _TASK.format(how=_HOW[mode], request=json.dumps(prompt, ensure_ascii=False))
    return Request(NO_PICTURES, text, int(content_id(seed, prompt), 16) % 2**31)


def _read(reply: Reply | NoReply) -> str | NoReply:
    if isinstance(reply, NoReply):
        return reply
    given = first_object(reply.text) if len(reply.text) <= MAX_TEXT_CHARS else None
    members = dict(given) if isinstance(given, list) else {}
    text = members.get("prompt")
    if not isinstance(text, str) or not text.strip():
        why = "max_new_tokens ended it" if reply.is_cut else "no JSON object with a text `prompt`"
        return NoReply("malformed rewriting", f"{why}. Given: {reply.text[:500]}")
    line = " ".join(text.split())
    wrong = f"{len(line)} characters, at most {MAX_CHARS} fit" if len(line) > MAX_CHARS else repetition(line)
    return NoReply("malformed rewriting", f"{wrong}. Given: {line[:500]}") if wrong else line
