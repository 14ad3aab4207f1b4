"""The labelling screens, declared once in Python, and the settings of the people's part of the line.

    FAST, FULL (questions, options, keys) --screen.render--> Label Studio's XML
                                          --results.py-----> what counts as a valid answer

    candidates --FAST: verdict, reasons--> kept --FULL: ratings, best part, caption--> the fine-tuning set

The server validates nothing (it accepts choices that are not on the screen and ratings of 9 out of 5), so the same
declaration draws the page and judges what comes back. The seven criteria are HunyuanVideo's (report section 3.1):
colour harmony, lighting, object emphasis and spatial layout; motion speed, action integrity and motion blur. The
report publishes no scale; ours is 1 (bad) to 5 (excellent), every level with words of its own. The caption's fields are
the report's (section 3.2), and the camera movements its 14 classes. That people trim a clip to its best part is Movie
Gen's.

On the fast page, which has no text box, digits are the answers. On the full page every key has `alt` (those that
browsers leave to the page) or `ctrl+alt` before it, so that text typed beside a box changes nothing.
"""

from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, field_validator, model_validator

from annotation.captions import DraftSettings
from annotation.routing import RoutingSettings
from annotation.rules import ResolveSettings
from annotation.screen import (
    ChoiceQuestion,
    Condition,
    NumberQuestion,
    Option,
    Panel,
    RatingQuestion,
    Screen,
    TextQuestion,
)
from annotation.server import ServerSettings
from annotation.vision_models import DrafterSettings

API_KEY_VARIABLE = "DAILIES_LABEL_STUDIO_API_KEY"  # the only way in for the key of a server that is not ours


class AnnotationSettings(BaseModel, frozen=True, extra="forbid"):
    """People's part of the line: which Label Studio, who answers, how many answers a clip gets."""

    url: str = Field(
        default="",
        description="address of a Label Studio that is already there, whose local-files root is the workspace's media "
        f"folder (its API key comes from the environment variable {API_KEY_VARIABLE}); empty: Dailies starts its own",
    )
    title: str = Field(
        default="Dailies", min_length=3, max_length=39, description="the project's title in Label Studio"
    )
    reviewers: Literal["simulated", "me", "team"] = Field(
        default="simulated",
        description="who answers: two simulated annotators (their rows say so), the person at the screen, or several",
    )
    fast_pass: bool = Field(
        default=True,
        description="ask for the verdict first, and for ratings and captions only of what was kept; false: all at once",
    )
    overlap: int = Field(default=2, ge=1, description="answers wanted per clip; with reviewers = me it is 1")
    seed: int = Field(default=0, ge=0, description="orders the tasks and draws the simulated annotators' noise")
    gold: str = Field(
        default="",
        description="CSV, JSON Lines or Parquet file of known answers (columns clip_id, question, answer); empty: none",
    )
    resolve: ResolveSettings = ResolveSettings()
    server: ServerSettings = ServerSettings()
    drafts: DraftSettings = DraftSettings()
    routing: RoutingSettings = RoutingSettings()
    drafter: DrafterSettings = DrafterSettings()

    @field_validator("url")
    @classmethod
    def _holds_no_secret(cls, url: str) -> str:
        if urlsplit(url).password or urlsplit(url).query:
            raise ValueError(f"url must hold no password, key or query; an API key belongs in {API_KEY_VARIABLE}")
        return url

    @model_validator(mode="after")
    def _enough_people(self) -> "AnnotationSettings":
        if self.reviewers == "simulated" and self.overlap > 2:
            raise ValueError(
                f"overlap = {self.overlap}, but there are only 2 simulated annotators; tasks would wait on"
            )
        return self

    @property
    def answers_per_clip(self) -> int:
        return 1 if self.reviewers == "me" else self.overlap

    @property
    def screens(self) -> tuple[Screen, ...]:
        """The pages a clip passes, in their order."""
        return (FAST, FULL) if self.fast_pass else (FULL,)

    def title_of(self, screen: Screen) -> str:
        """Title of the screen's project; what was collected before there was a fast pass stays the full one's."""
        return self.title if screen.name == FULL.name else f"{self.title}, {screen.name} pass"


KEPT, REJECTED = "keep", "reject"
IF_KEPT, IF_REJECTED = Condition("verdict", KEPT), Condition("verdict", REJECTED)

CAMERA_MOVEMENTS = (
    "static shot",
    "handheld shot",
    "pan left",
    "pan right",
    "pan up",
    "pan down",
    "tilt left",
    "tilt right",
    "tilt up",
    "tilt down",
    "zoom in",
    "zoom out",
    "around left",
    "around right",
)


def _verdict(prefix: str) -> tuple[Panel, Panel]:
    """Verdict and reasons, whose keys are digits after a prefix."""
    reasons = (
        "text or watermark",
        "cut inside",
        "hardly moves",
        "shaky or jerky",
        "blurred or compressed",
        "badly lit",
        "dull",
        "unsafe",
    )
    options = tuple(Option(reason, f"{prefix}{key}") for reason, key in zip(reasons, "34567890", strict=True))
    verdicts = (Option(KEPT, f"{prefix}1"), Option(REJECTED, f"{prefix}2"))
    return (
        Panel("Verdict", (ChoiceQuestion("verdict", "Verdict", verdicts, required=True),)),
        Panel(
            "Why not?",
            (ChoiceQuestion("reject_reasons", "Reject reasons", options, required=True, many=True),),
            only_if=IF_REJECTED,
        ),
    )


def _rating(name: str, title: str, key: str, *anchors: str) -> RatingQuestion:
    worst, poor, middling, good, best = anchors
    return RatingQuestion(name, title, f"alt+{key}", (worst, poor, middling, good, best), required=True)


LOOKS = Panel(
    "Looks",
    (
        _rating("color_harmony", "Colour harmony", "u", "clashing", "off", "plain", "pleasing", "striking"),
        _rating("lighting_quality", "Lighting", "i", "hides things", "flat or harsh", "ordinary", "good", "sculpts"),
        _rating("object_emphasis", "Object emphasis", "o", "no subject", "lost", "findable", "clear", "commanding"),
        _rating("spatial_layout", "Spatial layout", "p", "chaotic", "cut off", "ordinary", "balanced", "composed"),
    ),
    only_if=IF_KEPT,
)
MOTION = Panel(
    "Motion",
    (
        _rating("motion_speed", "Speed", "j", "frozen, frantic", "too slow, fast", "passable", "natural", "just right"),
        _rating("action_integrity", "Action is whole", "k", "a scrap", "cut short", "mostly", "whole", "whole, clear"),
        _rating("motion_blur", "Free of blur", "l", "smeared", "strong blur", "some", "slight", "crisp"),
    ),
    only_if=IF_KEPT,
)
SEGMENT = ("segment_start_s", "segment_end_s")
BEST_PART = Panel(
    "Best part, if not all of it",
    (
        NumberQuestion(SEGMENT[0], "From, s", "ctrl+alt+y"),
        NumberQuestion(SEGMENT[1], "To, s", "ctrl+alt+z"),
    ),
    columns=2,
    only_if=IF_KEPT,
)
CAPTION = Panel(
    "Caption",
    (
        TextQuestion("short", "Short", "One sentence: who does what, where", rows=2, required=True),
        TextQuestion("dense", "Dense", "Everything that happens, in order, with the camera", rows=3),
    ),
)
CAPTION_PARTS = Panel(
    "Caption in parts",
    (
        TextQuestion("background", "Background", "behind the subject"),
        TextQuestion("style", "Style", "documentary, cartoon, film noir"),
        TextQuestion("shot_type", "Shot type", "close-up, medium, wide"),
        TextQuestion("lighting", "Light", "soft daylight, neon"),
        TextQuestion("atmosphere", "Atmosphere", "calm, tense, festive"),
        ChoiceQuestion(
            "camera_movement",
            "Camera",
            tuple(
                Option(value, f"ctrl+alt+{key}") for value, key in zip(CAMERA_MOVEMENTS, "abcdefghijklmn", strict=True)
            ),
            dropdown=True,
        ),
    ),
    columns=3,
    below=True,
)

FAST = Screen(
    "fast",
    _verdict(""),
    "Watch the clip. 1 keeps it. 2 rejects it, then say why with 3 to 0, as many as hold. Ctrl+Enter submits and shows "
    "the next, Ctrl+Space skips. Do not ponder: what is kept here is looked at again.",
)
FULL = Screen(
    "full",
    (*_verdict("ctrl+alt+"), LOOKS, MOTION, BEST_PART, CAPTION, CAPTION_PARTS),
    "Keep or reject as in the fast pass. Rate what you keep: the words below the stars say what they mean; alt and the "
    "letter adds one. Give the best part in seconds if not all of the clip is good. Correct the caption with its "
    "pencil; the camera's movement is the machine's guess. Ctrl+Enter submits, Ctrl+Space skips.",
)
SCREEN = FULL  # that asks everything
