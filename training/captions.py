"""From a structured caption to the text that the model reads, varied by seed.

HunyuanVideo writes captions as fields and assembles the training text with dropout and permutation, so that the model
meets short and long prompts in many patterns (report section 3.2; the rates are not published).

    {short, dense, background, style, ...} --drop fields, permute--> "A red disc ... . Static shot. Soft light."
"""

import random
from collections.abc import Mapping

LEAD = ("short", "dense")  # at least one of these stays: without it a text says nothing of the content
FIELDS = (*LEAD, "background", "style", "shot_type", "lighting", "atmosphere", "camera_movement")


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
