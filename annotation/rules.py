"""The settings of resolving: who decides where people disagree.

    annotation.resolve.rule = "majority"       most votes win, a tie rejects
    annotation.resolve.rule = "adjudicated"    where votes differ, the named adjudicator's vote is the verdict

`ResolveSettings.text` is written into every resolved verdict, so that a reader sees under which rule it came about.
"""

from typing import Literal

from pydantic import BaseModel, Field, model_validator

VERSION = "version 2"
KNOWN = f"known answer, {VERSION}"


class ResolveSettings(BaseModel, frozen=True, extra="forbid"):
    """How several people's answers about one clip become one verdict."""

    rule: Literal["majority", "adjudicated"] = Field(
        default="majority",
        description="majority: most votes win, a tie rejects; adjudicated: where votes differ, the adjudicator decides",
    )
    adjudicator: str = Field(
        default="",
        description="e-mail address of the person whose vote decides where people disagree; the clip waits for it",
    )

    @model_validator(mode="after")
    def _adjudicator_belongs_to_adjudicated(self) -> "ResolveSettings":
        if self.rule == "adjudicated" and not self.adjudicator:
            raise ValueError('rule = "adjudicated" needs adjudicator = "the e-mail address of the one who decides"')
        if self.rule == "majority" and self.adjudicator:
            raise ValueError(f'adjudicator = {self.adjudicator!r} decides nothing under majority; rule = "adjudicated"')
        return self

    @property
    def text(self) -> str:
        """The rule in words, as verdicts carry it."""
        if self.rule == "adjudicated":
            return f"disagreements adjudicated by {self.adjudicator}, {VERSION}"
        return f"majority, ties reject, {VERSION}"
