"""From a structured caption to the text that the model reads, varied by seed.

HunyuanVideo writes captions as fields and assembles the training text with dropout and permutation, so that the model
meets short and long prompts in many patterns (report section 3.2; the rates are not published).

    {short, dense, background, style, ...} --drop fields, permute--> "A red disc ... . Static shot. Soft light."
    frame rate, scores --------------------> steps, drop ----------> "Frame rate 8. Motion 3 of 5. Aesthetics 4 of 5."

Telling facts of a clip lets a prompt ask for them later, and lets a model learn from plain clips without imitating them
(Koala-36M, arXiv 2410.08260: +3.0 VBench from telling scores, +0.2 from filtering by them). In variants they drop out
like fields, so that prompts without them stay in the model's world.
"""

import random
from bisect import bisect_right
from collections.abc import Mapping

from training.caption_settings import CaptionSettings, Condition
from training.data import PackedClip, seed_of

LEAD = ("short", "dense")  # at least one of these stays: without it a text says nothing of the content
FIELDS = (*LEAD, "background", "style", "shot_type", "lighting", "atmosphere", "camera_movement")
CONDITIONS: tuple[Condition, ...] = ("frame_rate", "motion", "aesthetic")
NUM_STEPS = 5


def caption_texts(clip: PackedClip, settings: CaptionSettings) -> tuple[str, ...]:
    """The texts that a clip is trained with, `settings.variants` of them; the same clip, the same texts.

    The first is the whole caption with every fact that is to be told and known, the others are drawn by seed.

    Raises:
        ValueError: the caption has neither a short nor a dense description.
    """
    facts = told_conditions(clip, settings)
    texts = [_joined(assemble(clip.caption), _sentences(facts))]
    for number in range(1, settings.variants):
        seed = seed_of("caption variant", clip.clip_id, number)
        rng = random.Random(seed_of("told", seed))
        kept: dict[Condition, int] = {
            name: value for name, value in facts.items() if rng.random() >= settings.field_dropout
        }
        texts.append(_joined(assemble(clip.caption, seed, settings.field_dropout), _sentences(kept)))
    return tuple(texts)


def told_conditions(clip: PackedClip, settings: CaptionSettings) -> dict[Condition, int]:
    """What is told of a clip: frames per second, and the step from 1 to 5 of each score.

    A score that is missing is not told, and an image has neither a frame rate nor motion.
    """
    facts: dict[Condition, int] = {}
    if clip.num_frames > 1:
        facts["frame_rate"] = max(1, round(clip.frame_rate))
        if "motion" in clip.scores:
            facts["motion"] = 1 + bisect_right(settings.motion_edges, clip.scores["motion"])
    if "aesthetic" in clip.scores:
        facts["aesthetic"] = 1 + bisect_right(settings.aesthetic_edges, clip.scores["aesthetic"])
    return {name: facts[name] for name in CONDITIONS if name in settings.tell and name in facts}


def with_conditions(
    prompt: str, frame_rate: float | None = None, motion: int | None = None, aesthetic: int | None = None
) -> str:
    """A prompt that asks for what captions tell, in their words: frames per second, and steps from 1 to 5.

    Raises:
        ValueError: a step outside 1 to 5, or a frame rate that is not positive.
    """
    asked: dict[Condition, int] = {}
    if frame_rate is not None:
        if frame_rate <= 0:
            raise ValueError(f"a frame rate is positive, got {frame_rate}")
        asked["frame_rate"] = max(1, round(frame_rate))
    steps: tuple[tuple[Condition, int | None], ...] = (("motion", motion), ("aesthetic", aesthetic))
    for name, step in steps:
        if step is None:
            continue
        if not 1 <= step <= NUM_STEPS:
            raise ValueError(f"{name} is asked for in steps from 1 to {NUM_STEPS}, got {step}")
        asked[name] = step
    return _joined(_sentence(prompt.strip()), _sentences(asked)) if asked else prompt


def _sentences(facts: Mapping[Condition, int]) -> str:
    wording: dict[Condition, str] = {
        "frame_rate": "Frame rate {}.",
        "motion": f"Motion {{}} of {NUM_STEPS}.",
        "aesthetic": f"Aesthetics {{}} of {NUM_STEPS}.",
    }
    return " ".join(wording[name].format(value) for name, value in facts.items())


def _joined(text: str, more: str) -> str:
    return f"{text} {more}" if more else text


def assemble(caption: Mapping[str, str], seed: int | None = None, field_dropout: float = 0.0) -> str:
    """One text from the caption's fields.

    Args:
        caption: field name -> text; empty or missing fields are unknown and left out.
        seed: decides dropout and order; None takes every field in the order of `FIELDS` (for measuring).
        field_dropout: chance in [0, 1] that a field is left out.

    Raises:
        ValueError: the caption has neither a short nor a dense description.
    """
    texts = {name: caption.get(name, "").strip() for name in FIELDS}
    leads = [name for name in LEAD if texts[name]]
    if not leads:
        raise ValueError(f"a caption needs a short or a dense description, got {dict(caption)}")
    others = [name for name in FIELDS if name not in LEAD and texts[name]]
    if seed is not None:
        rng = random.Random(seed)
        # A short text and its dense version say the same: mostly one of them, as people write prompts.
        leads = [rng.choice(leads)] if rng.random() < 0.75 else leads
        others = [name for name in others if rng.random() >= field_dropout]
        rng.shuffle(others)
    return " ".join(_sentence(texts[name]) for name in (*leads, *others))


def _sentence(text: str) -> str:
    text = text[0].upper() + text[1:]
    return text if text[-1] in ".!?" else f"{text}."
