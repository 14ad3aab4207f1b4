"""From a structured caption to the text that the model reads, varied by seed.

HunyuanVideo writes captions as fields and assembles the training text with dropout and permutation, so that the model
meets short and long prompts in many patterns (report section 3.2; the rates are not published).

    {short, dense, background, style, ...} --drop fields, permute--> "A red disc ... . Static shot. Soft light."
"""

import random
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, Field

LEAD = ("short", "dense")  # at least one of these stays: without it a text says nothing of the content
FIELDS = (*LEAD, "background", "style", "shot_type", "lighting", "atmosphere", "camera_movement")


Condition = Literal["frame_rate", "motion", "aesthetic"]


class CaptionSettings(BaseModel, frozen=True, extra="forbid"):
    """How a clip's fields become the texts that it is trained with: `[train.captions]` of a recipe."""

    variants: int = Field(
        default=4,
        ge=1,
        description="texts per clip, drawn at each reading: the whole caption, the others with fields left out "
        "and permuted; all are cached by `dailies encode`",
    )
    field_dropout: float = Field(
        default=0.3, ge=0, le=1, description="chance that a field of the structured caption is left out of a variant"
    )
    tell: tuple[Condition, ...] = Field(
        default=(),
        description="facts told to the model after the caption: frame rate, motion and aesthetic scores, each in steps "
        "(Koala: +3.0 VBench); prompts can then ask for them",
    )


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
