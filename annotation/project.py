"""The labelling screen, declared once in Python and rendered to Label Studio's XML."""

from typing import Literal

from pydantic import BaseModel, Field

from annotation.captions import DraftSettings
from annotation.server import ServerSettings

API_KEY_VARIABLE = "DAILIES_LABEL_STUDIO_API_KEY"  # the only way in for the key of a server that is not ours


class AnnotationSettings(BaseModel, frozen=True, extra="forbid"):
    """People's part of the line: which Label Studio, who answers, how many answers a clip gets."""

    url: str = Field(
        "",
        description="address of a Label Studio that is already there (its API key comes from the environment variable "
        f"{API_KEY_VARIABLE}); empty: Dailies starts its own",
    )
    title: str = Field("Dailies", min_length=3, max_length=50, description="the project's title in Label Studio")
    reviewers: Literal["simulated", "me"] = Field(
        "simulated", description="who answers: two simulated annotators, whose rows say so, or the person at the screen"
    )
    overlap: int = Field(2, ge=1, description="answers wanted per clip; with reviewers = me it is 1")
    seed: int = Field(0, ge=0, description="orders the tasks and draws the simulated annotators' noise")
    server: ServerSettings = ServerSettings()
    drafts: DraftSettings = DraftSettings()

    @property
    def answers_per_clip(self) -> int:
        return 1 if self.reviewers == "me" else self.overlap
