"""The labelling screen, declared once in Python, and the settings of the people's part of the line.

    SCREEN (questions, options, keys) --render--> Label Studio's XML
                                      --results.py--> what counts as a valid answer

The server validates nothing (it accepts choices that are not on the screen and ratings of 9 out of 5), so the same
declaration draws the page and judges what comes back. The seven criteria are HunyuanVideo's (report section 3.1):
colour harmony, lighting, object emphasis and spatial layout; motion speed, action integrity and motion blur. The
report publishes no scale; ours is 1 (bad) to 5 (excellent). The caption's fields are the report's (section 3.2), and
the camera movements its 14 classes.

Label Studio gives every control without a key of its own an automatic one, so that stray typing changes answers. Hence
each control names its key: the digits decide and give reasons, letters rate, and the long list of camera movements
sits behind ctrl+alt, which nobody types by accident.
"""

from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

from pydantic import BaseModel, Field

from annotation.captions import DraftSettings
from annotation.server import ServerSettings
from curation.records import content_id

API_KEY_VARIABLE = "DAILIES_LABEL_STUDIO_API_KEY"  # the only way in for the key of a server that is not ours
VIDEO = "clip"  # name of the screen's one object; every control refers to it
MAX_RATING = 5


class AnnotationSettings(BaseModel, frozen=True, extra="forbid"):
    """People's part of the line: which Label Studio, who answers, how many answers a clip gets."""

    url: str = Field(
        default="",
        description="address of a Label Studio that is already there, whose local-files root is the workspace's media "
        f"folder (its API key comes from the environment variable {API_KEY_VARIABLE}); empty: Dailies starts its own",
    )
    title: str = Field(
        default="Dailies", min_length=3, max_length=50, description="the project's title in Label Studio"
    )
    reviewers: Literal["simulated", "me"] = Field(
        default="simulated",
        description="who answers: two simulated annotators, whose rows say so, or the person at the screen",
    )
    overlap: int = Field(default=2, ge=1, description="answers wanted per clip; with reviewers = me it is 1")
    seed: int = Field(default=0, ge=0, description="orders the tasks and draws the simulated annotators' noise")
    server: ServerSettings = ServerSettings()
    drafts: DraftSettings = DraftSettings()

    @property
    def answers_per_clip(self) -> int:
        return 1 if self.reviewers == "me" else self.overlap


@dataclass(frozen=True)
class Option:
    """One answer of a choice, and the key that gives it."""

    value: str
    key: str


@dataclass(frozen=True)
class Condition:
    """A question is asked only where another question has this answer."""

    question: str
    value: str


@dataclass(frozen=True)
class ChoiceQuestion:
    """One of several options, or any number of them with `many`; `dropdown` saves room for long lists."""

    name: str
    title: str
    options: tuple[Option, ...]
    required: bool = False
    many: bool = False
    dropdown: bool = False
    only_if: Condition | None = None


@dataclass(frozen=True)
class RatingQuestion:
    """A criterion rated 1 to `MAX_RATING`; its key steps the rating up."""

    name: str
    title: str
    key: str
    required: bool = False
    only_if: Condition | None = None


@dataclass(frozen=True)
class TextQuestion:
    """A line or a few of free text."""

    name: str
    title: str
    placeholder: str
    rows: int = 1
    required: bool = False
    only_if: Condition | None = None


Question = ChoiceQuestion | RatingQuestion | TextQuestion


@dataclass(frozen=True)
class Panel:
    """A titled group of questions, laid out in `columns`; `left` panels stand below the video."""

    title: str
    questions: tuple[Question, ...]
    columns: int = 1
    left: bool = False


@dataclass(frozen=True)
class Screen:
    """The whole page."""

    panels: tuple[Panel, ...]

    @property
    def questions(self) -> dict[str, Question]:
        return {question.name: question for panel in self.panels for question in panel.questions}

    @property
    def digest(self) -> str:
        """Changes whenever what may be answered changes."""
        return content_id(*self.questions.values())


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

SCREEN = Screen(
    panels=(
        Panel(
            "Verdict",
            (
                ChoiceQuestion("verdict", "Verdict", (Option(KEPT, "1"), Option(REJECTED, "2")), required=True),
                ChoiceQuestion(
                    "reject_reasons",
                    "Why not",
                    (
                        Option("text or watermark", "3"),
                        Option("cut inside", "4"),
                        Option("hardly moves", "5"),
                        Option("shaky or jerky", "6"),
                        Option("blurred or compressed", "7"),
                        Option("badly lit", "8"),
                        Option("dull", "9"),
                        Option("unsafe", "0"),
                    ),
                    required=True,
                    many=True,
                    only_if=IF_REJECTED,
                ),
            ),
        ),
        Panel(
            "Looks",
            (
                RatingQuestion("color_harmony", "Colour harmony", "q", required=True, only_if=IF_KEPT),
                RatingQuestion("lighting_quality", "Lighting", "w", required=True, only_if=IF_KEPT),
                RatingQuestion("object_emphasis", "Object emphasis", "e", required=True, only_if=IF_KEPT),
                RatingQuestion("spatial_layout", "Spatial layout", "r", required=True, only_if=IF_KEPT),
            ),
            columns=2,
        ),
        Panel(
            "Motion",
            (
                RatingQuestion("motion_speed", "Speed", "a", required=True, only_if=IF_KEPT),
                RatingQuestion("action_integrity", "Action is whole", "s", required=True, only_if=IF_KEPT),
                RatingQuestion("motion_blur", "Free of blur", "d", required=True, only_if=IF_KEPT),
            ),
            columns=2,
        ),
        Panel(
            "Caption",
            (
                TextQuestion("short", "Short", "One sentence: who does what, where", rows=2, required=True),
                TextQuestion("dense", "Dense", "Everything that happens, in order, with the camera", rows=2),
            ),
            left=True,
            columns=2,
        ),
        Panel(
            "Caption details",
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
                        Option(value, f"ctrl+alt+{key}")
                        for value, key in zip(CAMERA_MOVEMENTS, "abcdefghijklmn", strict=True)
                    ),
                    dropdown=True,
                ),
            ),
            columns=2,
        ),
    )
)


STYLE = """
.dailies .page { display: grid; grid-template-columns: minmax(480px, 3fr) minmax(380px, 2fr); gap: 16px; }
.dailies .columns-2 { display: grid; grid-template-columns: 1fr 1fr; gap: 4px 16px; }
"""


def render(screen: Screen) -> str:
    """The screen as Label Studio's XML; task data gives `video` (address), `frame_rate` and `clip_id`."""
    root = ElementTree.Element("View", className="dailies")
    ElementTree.SubElement(root, "Style").text = STYLE
    page = ElementTree.SubElement(root, "View", className="page")
    left, right = ElementTree.SubElement(page, "View"), ElementTree.SubElement(page, "View")
    ElementTree.SubElement(
        left, "Video", name=VIDEO, value="$video", frameRate="$frame_rate", height="500", timelineHeight="0"
    )
    for panel in screen.panels:
        column = left if panel.left else right
        body = ElementTree.SubElement(column, "View", className=f"columns-{panel.columns}")
        for question in panel.questions:
            _render_question(body, question)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode")


def _render_question(parent: ElementTree.Element, question: Question) -> None:
    asked = question.only_if
    condition = (
        {}
        if asked is None
        else {"visibleWhen": "choice-selected", "whenTagName": asked.question, "whenChoiceValue": asked.value}
    )
    cell = ElementTree.SubElement(parent, "View", condition)
    key = f" [{question.key}]" if isinstance(question, RatingQuestion) else ""
    ElementTree.SubElement(cell, "Header", value=question.title + key, size="5")
    shared = {"name": question.name, "toName": VIDEO}
    if question.required:
        shared |= {"required": "true", "requiredMessage": f"{question.title} is missing"}
    match question:
        case ChoiceQuestion():
            look = {"layout": "select"} if question.dropdown else {"showInline": "true"}
            choice = "multiple" if question.many else ("single" if question.dropdown else "single-radio")
            control = ElementTree.SubElement(cell, "Choices", shared, choice=choice, **look)
            for option in question.options:
                ElementTree.SubElement(control, "Choice", value=option.value, hotkey=option.key)
        case RatingQuestion():
            ElementTree.SubElement(
                cell, "Rating", shared, maxRating=str(MAX_RATING), hotkey=question.key, icon="star", size="medium"
            )
        case TextQuestion():
            ElementTree.SubElement(
                cell,
                "TextArea",
                shared,
                rows=str(question.rows),
                maxSubmissions="1",
                editable="true",
                placeholder=question.placeholder,
            )
