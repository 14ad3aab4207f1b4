"""What a labelling page asks, as data, and the page drawn from it.

    Screen(panels of questions, each with its key) --render--> Label Studio's XML

Label Studio gives every control without a key of its own an automatic one, so that stray typing changes answers; hence
every option, rating and number here names its key. On a page with text boxes the keys have `alt` or `ctrl+alt` before
them, so that words typed while no box has the focus change nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

from curation.records import content_id

VIDEO = "clip"  # name of the screen's one object; every control refers to it
MAX_RATING = 5


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
    """A criterion rated 1 to `MAX_RATING`; its key steps the rating up; `anchors` say what each level means."""

    name: str
    title: str
    key: str
    anchors: tuple[str, str, str, str, str]
    required: bool = False


@dataclass(frozen=True)
class NumberQuestion:
    """A number of 0 or more in the unit its title names; its key adds a step."""

    name: str
    title: str
    key: str
    step: float = 0.1
    required: bool = False


@dataclass(frozen=True)
class TextQuestion:
    """A line or a few of free text."""

    name: str
    title: str
    placeholder: str
    rows: int = 1
    required: bool = False


Question = ChoiceQuestion | RatingQuestion | NumberQuestion | TextQuestion


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
    """The whole page; `name` tells its answers from those of other pages."""

    name: str
    panels: tuple[Panel, ...]
    instruction: str = ""

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

    def asks(self, name: str) -> bool:
        return name in self.questions


# The side panels list regions, of which these screens have none; without them the video is a quarter larger.
STYLE = """
.lsf-sidepanels__wrapper { display: none !important; }
.lsf-sidepanels { padding: 0 !important; }
.dailies .page { display: grid; grid-template-columns: minmax(480px, 1fr) minmax(340px, 440px); gap: 4px 24px; }
.dailies .columns-2 { display: grid; grid-template-columns: 1fr 1fr; gap: 0 16px; }
.dailies .columns-3 { display: grid; grid-template-columns: 1fr 1fr 1fr; gap: 0 16px; }
.dailies .panel { margin-bottom: 12px; }
.dailies h3 { font-size: 12px; letter-spacing: 0.08em; text-transform: uppercase; opacity: 0.6; margin: 0 0 2px 0; }
.dailies h4 { font-size: 14px; line-height: 20px; margin: 2px 0; }
.dailies .rating .asked { display: flex; align-items: center; justify-content: space-between; min-height: 30px; }
.dailies .choice .lsf-choices { margin: 4px 0; }
.dailies .text .lsf-text-area { margin: 0 0 4px 0; }
.dailies .text .ant-form-item { margin: 0; }
"""
ANCHOR_STYLE = (
    "font-size: 11px; line-height: 14px; font-weight: 400; text-transform: none; letter-spacing: 0; margin: 0 0 6px 0"
)
TALL_PX, WIDE_PX = 570, 680  # the video's height beside a long column of questions, and beside a short one


def render(screen: Screen) -> str:
    """The screen as Label Studio's XML; task data gives `video` (address) and `frame_rate` (Hz, as text)."""
    root = ElementTree.Element("View", className="dailies")
    ElementTree.SubElement(root, "Style").text = STYLE
    page = ElementTree.SubElement(root, "View", className="page")
    left, right = ElementTree.SubElement(page, "View"), ElementTree.SubElement(page, "View")
    height = TALL_PX if any(panel.below for panel in screen.panels) else WIDE_PX
    video = {"name": VIDEO, "value": "$video", "frameRate": "$frame_rate", "height": str(height), "timelineHeight": "0"}
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
    shared = {"name": question.name, "toName": VIDEO}
    if question.required:
        shared |= {"required": "true", "requiredMessage": f"{question.title}: please answer"}
    if isinstance(question, RatingQuestion):
        _render_rating(cell, question, shared)
        return
    if titled:
        ElementTree.SubElement(cell, "Header", value=question.title, size="6")
    match question:
        case ChoiceQuestion():
            look = {"layout": "select"} if question.dropdown else {"showInline": "true"}
            choice = "multiple" if question.many else ("single" if question.dropdown else "single-radio")
            control = ElementTree.SubElement(cell, "Choices", shared, choice=choice, **look)
            for option in question.options:
                ElementTree.SubElement(control, "Choice", value=option.value, hotkey=option.key)
        case NumberQuestion():
            steps = {"min": "0", "step": f"{question.step:g}", "hotkey": question.key}
            ElementTree.SubElement(cell, "Number", shared | steps)
        case TextQuestion():
            text = {"rows": str(question.rows), "maxSubmissions": "1", "editable": "true"}
            ElementTree.SubElement(cell, "TextArea", shared | text, placeholder=question.placeholder)


def _render_rating(cell: ElementTree.Element, question: RatingQuestion, shared: Mapping[str, str]) -> None:
    """Title with its key, the stars beside it, what each level means below."""
    asked = ElementTree.SubElement(cell, "View", className="asked")
    ElementTree.SubElement(asked, "Header", value=f"{question.title} [{question.key}]", size="6")
    stars = {"maxRating": str(MAX_RATING), "hotkey": question.key, "icon": "star", "size": "medium"}
    ElementTree.SubElement(asked, "Rating", {**shared, **stars})
    levels = " · ".join(f"{level} {anchor}" for level, anchor in enumerate(question.anchors, 1))
    ElementTree.SubElement(cell, "Header", value=levels, style=ANCHOR_STYLE)
