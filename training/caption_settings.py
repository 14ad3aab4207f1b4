"""How captions become training texts: `[train.captions]` of a recipe. Settings alone, no network.

Motion and aesthetic scores are told in five steps, so that a prompt can ask for one and every step has many clips. The
default edges of `motion` (short sides per second) part photographs, fixed cameras, slow and hand-held ones, and pans or
sport, as that scorer found them in real footage; those of `aesthetic` are the gates that published pipelines use (4.0
Movie Gen, 4.5 Open-Sora and CogVideoX, 5.3 Allegro's last stage). Ratings do not transfer between aesthetic heads:
with another head than LAION's, take the quintiles of your own footage.
"""

from itertools import pairwise
from typing import Literal

from pydantic import BaseModel, Field, field_validator

Condition = Literal["frame_rate", "motion", "aesthetic"]
Edges = tuple[float, float, float, float]


class CaptionSettings(BaseModel, frozen=True, extra="forbid"):
    """How a clip's fields and scores become the texts that it is trained with."""

    variants: int = Field(
        default=4,
        ge=1,
        description="texts per clip, drawn at each reading: the whole caption, the others with fields left out "
        "and permuted; all are cached by `dailies encode`",
    )
    field_dropout: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="chance that a field of the structured caption, or a fact told after it, is left out of a variant",
    )
    tell: tuple[Condition, ...] = Field(
        default=(),
        description="facts told to the model after the caption: frame rate, motion and aesthetic scores, each in steps "
        "(Koala: +3.0 VBench); prompts can then ask for them",
    )
    motion_edges: Edges = Field(
        default=(0.01, 0.08, 0.2, 0.4), description="scores of `motion` at which steps 2 to 5 begin"
    )
    aesthetic_edges: Edges = Field(
        default=(4.0, 4.5, 5.0, 5.5), description="scores of `aesthetic` at which steps 2 to 5 begin"
    )

    @field_validator("motion_edges", "aesthetic_edges")
    @classmethod
    def _rises(cls, edges: Edges) -> Edges:
        if any(low >= high for low, high in pairwise(edges)):
            raise ValueError(f"edges between steps must rise, got {edges}")
        return edges
