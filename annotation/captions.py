"""Draft captions: what a person starts from, made only of what is known about a clip, never of what is guessed."""

from pydantic import BaseModel, Field


class DraftSettings(BaseModel, frozen=True, extra="forbid"):
    """How the measured facts of a clip are put into the words of a draft caption."""

    use_title: bool = Field(
        default=True, description="open the short caption with the source's title, where it has one"
    )
