"""Draft captions: what a person starts from, made only of what is known about a clip, never of what is guessed.

    title "A street in Lyon", motion 0.61, sharpness 31  -->  "A street in Lyon. Fast motion. Soft picture."

Known are the source's title and the measured scores, and the camera movement where its scorer is sure. A draft says
nothing about who or what is in the picture; that is for the person, and `by = draft:facts` tells every reader
downstream that nobody has looked yet. The version is the content's own id, so a draft that reads differently is a
different row. Drafts of models that do look are made in `drafting.py`.
"""

from collections.abc import Mapping

from pydantic import BaseModel, Field

from curation.records import Caption, Clip, content_id

BY_FACTS = "draft:facts"


class Wording(BaseModel, frozen=True, extra="forbid"):
    """Words for a score's low and high values; in between, and where a bound is absent, nothing is said."""

    scorer: str = Field(description="whose value is put into words, in that scorer's unit")
    low_below: float | None = Field(default=None, description="values under this are called `low`")
    low: str = Field(default="", description="words for a low value")
    high_above: float | None = Field(default=None, description="values over this are called `high`")
    high: str = Field(default="", description="words for a high value")

    def words(self, value: float) -> str:
        """The words for a value, or empty."""
        if self.low_below is not None and value < self.low_below:
            return self.low
        return self.high if self.high_above is not None and value > self.high_above else ""


class DraftSettings(BaseModel, frozen=True, extra="forbid"):
    """How the known facts of a clip are put into the words of a draft caption."""

    use_title: bool = Field(default=True, description="open the short caption with the source's title, if it has one")
    wordings: tuple[Wording, ...] = Field(
        default=(
            Wording(scorer="motion", low_below=0.02, low="hardly any motion", high_above=0.5, high="fast motion"),
            Wording(scorer="sharpness", low_below=50.0, low="soft picture"),
            Wording(scorer="text_overlay", high_above=0.01, high="text on the picture"),
        ),
        description="scores that are said in words, in this order",
    )
    min_camera_confidence: float = Field(
        default=0.7, ge=0, le=1, description="from here on the scorer's camera movement is filled in"
    )

    def sure_movement(self, camera: tuple[str, float] | None) -> str:
        """The camera movement of a (class, confidence), empty if there is none or it is in doubt."""
        return camera[0] if camera and camera[1] >= self.min_camera_confidence else ""


def draft_caption(
    clip: Clip,
    title: str,
    scores: Mapping[str, float],
    settings: DraftSettings,
    camera: tuple[str, float] | None = None,
) -> Caption:
    """The draft of a clip.

    Args:
        title: the source's title, empty if it has none.
        scores: the clip's values by scorer; a scorer without a value is not mentioned.
        camera: the class that the scorer `camera_movement` chose, and its confidence, 0 to 1.
    """
    parts = [" ".join(title.split())] if settings.use_title and title.strip() else []
    for wording in settings.wordings:
        if wording.scorer in scores:
            parts.append(wording.words(scores[wording.scorer]))
    short = " ".join(_sentence(part) for part in parts if part) or "A shot."
    movement = settings.sure_movement(camera)
    version = content_id(BY_FACTS, short, *filter(None, [movement]))
    return Caption(clip_id=clip.clip_id, by=BY_FACTS, version=version, short=short, camera_movement=movement)


def _sentence(text: str) -> str:
    text = text.rstrip(". ")
    return f"{text[:1].upper()}{text[1:]}."
