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

from pydantic import BaseModel, Field, model_validator

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
    reviewers: Literal["simulated", "me", "team"] = Field(
        default="simulated",
        description="who answers: two simulated annotators (their rows say so), the person at the screen, or several",
    )
    overlap: int = Field(default=2, ge=1, description="answers wanted per clip; with reviewers = me it is 1")
    seed: int = Field(default=0, ge=0, description="orders the tasks and draws the simulated annotators' noise")
    server: ServerSettings = ServerSettings()
    drafts: DraftSettings = DraftSettings()

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


@dataclass(frozen=True)
class RatingQuestion:
    """A criterion rated 1 to `MAX_RATING`; its key steps the rating up."""

    name: str
    title: str
    key: str
    required: bool = False


@dataclass(frozen=True)
class TextQuestion:
    """A line or a few of free text."""

    name: str
    title: str
    placeholder: str
    rows: int = 1
    required: bool = False


Question = ChoiceQuestion | RatingQuestion | TextQuestion


@dataclass(frozen=True)
class Panel:
    """A titled group of questions in `columns`, shown only if `only_if` holds; `below` panels stand under the video."""

    title: str
    questions: tuple[Question, ...]
    columns: int = 1
    below: bool = False
    only_if: Condition | None = None


@dataclass(frozen=True)
class Screen:
    """The whole page."""

    panels: tuple[Panel, ...]

    @property
    def questions(self) -> dict[str, Question]:
        return {question.name: question for panel in self.panels for question in panel.questions}

    @property
    def conditions(self) -> dict[str, Condition | None]:
        """Under which condition each question is asked."""
        return {question.name: panel.only_if for panel in self.panels for question in panel.questions}

    @property
    def digest(self) -> str:
        """Changes whenever what may be answered changes."""
        return content_id(*self.questions.values(), *self.conditions.values())


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
            (ChoiceQuestion("verdict", "Verdict", (Option(KEPT, "1"), Option(REJECTED, "2")), required=True),),
        ),
        Panel(
            "Why not?",
            (
                ChoiceQuestion(
                    "reject_reasons",
                    "Reject reasons",
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
                ),
            ),
            only_if=IF_REJECTED,
        ),
        Panel(
            "Looks",
            (
                RatingQuestion("color_harmony", "Colour harmony", "q", required=True),
                RatingQuestion("lighting_quality", "Lighting", "w", required=True),
                RatingQuestion("object_emphasis", "Object emphasis", "e", required=True),
                RatingQuestion("spatial_layout", "Spatial layout", "r", required=True),
            ),
            only_if=IF_KEPT,
        ),
        Panel(
            "Motion",
            (
                RatingQuestion("motion_speed", "Speed", "a", required=True),
                RatingQuestion("action_integrity", "Action is whole", "s", required=True),
                RatingQuestion("motion_blur", "Free of blur", "d", required=True),
            ),
            only_if=IF_KEPT,
        ),
        Panel(
            "Caption",
            (
                TextQuestion("short", "Short", "One sentence: who does what, where", rows=2, required=True),
                TextQuestion("dense", "Dense", "Everything that happens, in order, with the camera", rows=3),
            ),
        ),
        Panel(
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
                        Option(value, f"ctrl+alt+{key}")
                        for value, key in zip(CAMERA_MOVEMENTS, "abcdefghijklmn", strict=True)
                    ),
                    dropdown=True,
                ),
            ),
            columns=3,
            below=True,
        ),
    )
)

INSTRUCTION = (
    "Watch the clip, then 1 keeps or 2 rejects it. Kept clips get seven ratings: their letter adds a star. "
    "Correct the caption with its pencil. Letters and digits typed outside a text box change answers. "
    "Ctrl+Enter submits, Ctrl+Space skips."
)

# The side panels list regions, of which this screen has none; without them the video is a quarter larger.
STYLE = """
.lsf-sidepanels__wrapper { display: none !important; }
.lsf-sidepanels { padding: 0 !important; }
.dailies .page { display: grid; grid-template-columns: minmax(480px, 1fr) minmax(340px, 420px); gap: 4px 24px; }
.dailies .columns-3 { display: grid; grid-template-columns: 1fr 1fr 1fr; gap: 0 16px; }
.dailies .panel { margin-bottom: 12px; }
.dailies h3 { font-size: 12px; letter-spacing: 0.08em; text-transform: uppercase; opacity: 0.6; margin: 0 0 2px 0; }
.dailies h4 { font-size: 14px; line-height: 20px; margin: 2px 0; }
.dailies .rating { display: flex; align-items: center; justify-content: space-between; min-height: 36px; }
.dailies .choice .lsf-choices { margin: 4px 0; }
.dailies .text .lsf-text-area { margin: 0 0 4px 0; }
.dailies .text .ant-form-item { margin: 0; }
"""


def render(screen: Screen) -> str:
    """The screen as Label Studio's XML; task data gives `video` (address) and `frame_rate` (Hz, as text)."""
    root = ElementTree.Element("View", className="dailies")
    ElementTree.SubElement(root, "Style").text = STYLE
    page = ElementTree.SubElement(root, "View", className="page")
    left, right = ElementTree.SubElement(page, "View"), ElementTree.SubElement(page, "View")
    video = {"name": VIDEO, "value": "$video", "frameRate": "$frame_rate", "height": "570", "timelineHeight": "0"}
    ElementTree.SubElement(left, "Video", video)
    for panel in screen.panels:
        _render_panel(left if panel.below else right, panel)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode")


def _render_panel(parent: ElementTree.Element, panel: Panel) -> None:
    condition = {}
    if panel.only_if is not None:
        condition = {
            "visibleWhen": "choice-selected",
            "whenTagName": panel.only_if.question,
            "whenChoiceValue": panel.only_if.value,
        }
    box = ElementTree.SubElement(parent, "View", condition, className="panel")
    ElementTree.SubElement(box, "Header", value=panel.title, size="4")
    body = ElementTree.SubElement(box, "View", className=f"columns-{panel.columns}")
    for question in panel.questions:
        _render_question(body, question, titled=len(panel.questions) > 1)


def _render_question(parent: ElementTree.Element, question: Question, titled: bool) -> None:
    kind = type(question).__name__.removesuffix("Question").lower()
    cell = ElementTree.SubElement(parent, "View", className=kind)
    if titled:
        key = f" [{question.key}]" if isinstance(question, RatingQuestion) else ""
        ElementTree.SubElement(cell, "Header", value=question.title + key, size="6")
    shared = {"name": question.name, "toName": VIDEO}
    if question.required:
        shared |= {"required": "true", "requiredMessage": f"{question.title}: please answer"}
    match question:
        case ChoiceQuestion():
            look = {"layout": "select"} if question.dropdown else {"showInline": "true"}
            choice = "multiple" if question.many else ("single" if question.dropdown else "single-radio")
            control = ElementTree.SubElement(cell, "Choices", shared, choice=choice, **look)
            for option in question.options:
                ElementTree.SubElement(control, "Choice", value=option.value, hotkey=option.key)
        case RatingQuestion():
            stars = {"maxRating": str(MAX_RATING), "hotkey": question.key, "icon": "star", "size": "medium"}
            ElementTree.SubElement(cell, "Rating", shared | stars)
        case TextQuestion():
            text = {"rows": str(question.rows), "maxSubmissions": "1", "editable": "true"}
            ElementTree.SubElement(cell, "TextArea", shared | text, placeholder=question.placeholder)
