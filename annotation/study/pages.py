"""The pages of a blind study: what is asked, how it is explained, how it is drawn.

    PAIRWISE   prompt / A beside B / three axes and the overall: A, tie or B each
    ABSOLUTE   prompt / one video  / three axes: pass or fail each; the overall (all three) is counted, not asked

The axes are HunyuanVideo's (report section 4: text alignment, motion quality, visual quality). The report publishes no
wording, so the anchors and the worked examples are ours. Keys lie as the answers do: a row of the keyboard for each
axis, its answers from left to right, so that one hand answers and the other submits.

Videos are not in Label Studio's player, which neither starts by itself nor loops, but in the browser's own, drawn by a
HyperText tag: muted, they start at once and loop. Nothing else keeps two of them together than that they are equally
long (Label Studio takes scripts out of pages, rightly); in Chromium the first round
starts 0 to 0.12 s apart, as the files arrive, and four rounds later that has changed by 0.02 s.
"""

from dataclasses import dataclass
from xml.etree import ElementTree

from annotation.screen import VIDEO, ChoiceQuestion, Option, Panel, Screen
from annotation.study.axes import ALL_AXES, AXES, FAIL, PASS, TIE, A, B, Design
from annotation.study.tasks import PROMPT, VIDEO_A, VIDEO_B

KEYS = ("123", "qwe", "asd", "zxc")  # of each axis, in the order of its answers
TITLES = {
    "text_alignment": "Text alignment",
    "motion_quality": "Motion quality",
    "visual_quality": "Visual quality",
    "overall": "Overall",
}


@dataclass(frozen=True)
class Anchor:
    """What an axis means, in words for judges, and a worked example."""

    means: tuple[str, ...]
    example: str


PAIR_ANCHORS = {
    "text_alignment": Anchor(
        (
            "Which shows more of what the prompt says: each subject and how many, what they do, the place, the style, "
            "the camera? What is missing, wrong or contradicted counts. Beauty does not.",
        ),
        "“Two dogs chase a red ball.” A: one dog, a red ball. B: two dogs, a red ball, blurred. Answer B.",
    ),
    "motion_quality": Anchor(
        (
            "Which moves more as the world does, at the pace the prompt asks for? Jumps, sliding feet, limbs that melt "
            "or swap, and flicker count; so does hardly moving where there should be action.",
        ),
        "“A horse gallops.” A: the legs carry it. B: sharper, but it glides with stiff legs. Answer A.",
    ),
    "visual_quality": Anchor(
        (
            "Which is the better picture, whatever the prompt says? Sharpness, detail, light, colour, composition; "
            "against it smears, noise, blocks, warped faces and hands.",
        ),
        "A: crisp, yet a face loses its features as it turns. B: a little soft, all faces whole. Answer B.",
    ),
    "overall": Anchor(
        (
            "Which would you rather have got for this prompt? Weigh the three as you see fit: one fault that ruins a "
            "video counts for more than several small ones.",
        ),
        "A: pretty, but a cat where the prompt says fox. B: plainer, and a fox. Answer B.",
    ),
}
PASS_ANCHORS = {
    "text_alignment": Anchor(
        (
            "Pass: every subject, number, action, place, style and camera movement of the prompt is there.",
            "Fail: something that a person would name when retelling the prompt is missing, wrong or contradicted. "
            "Beauty does not count.",
        ),
        "“Two dogs chase a red ball.” One dog and a red ball: fail. Two dogs and a red ball, blurred: pass.",
    ),
    "motion_quality": Anchor(
        (
            "Pass: it moves as the world does, at the pace the prompt asks for, from the first frame to the last.",
            "Fail: jumps, sliding feet, limbs that melt or swap, flicker, or it hardly moves where there should be "
            "action.",
        ),
        "“A horse gallops.” It glides over the field with stiff legs: fail, however sharp it is.",
    ),
    "visual_quality": Anchor(
        (
            "Pass: a picture you would use, sharp, well lit, in good colour, nothing broken.",
            "Fail: smears, noise, blocks, warped faces or hands, or washed-out colour that catches the eye. What the "
            "prompt says does not count.",
        ),
        "A face loses its features as it turns: fail. A little soft in the background: pass.",
    ),
}
HINTS = {
    Design.PAIRWISE: "Tie: you would not notice it again.    Ctrl+Enter: submit and next.    Ctrl+Space: skip",
    Design.ABSOLUTE: "Each axis by itself.    Ctrl+Enter: submit and next.    Ctrl+Space: skip",
}


def _panel(axis: str, answers: tuple[str, ...], keys: str) -> Panel:
    options = tuple(Option(answer, key) for answer, key in zip(answers, keys, strict=False))
    return Panel(TITLES[axis], (ChoiceQuestion(axis, TITLES[axis], options, required=True),))


PAIRWISE = Screen(
    "study_pairwise",
    tuple(_panel(axis, (A, TIE, B), keys) for axis, keys in zip(ALL_AXES, KEYS, strict=True)),
    "Read the prompt, watch both videos to the end at least once, answer the four questions. A is on the left, B on "
    "the right; the keys in brackets answer. Both start over by themselves. Ctrl+Enter submits and shows the next.",
)
ABSOLUTE = Screen(
    "study_absolute",
    tuple(_panel(axis, (PASS, FAIL), keys) for axis, keys in zip(AXES, KEYS, strict=False)),
    "Read the prompt, watch the video to the end at least once, answer the three questions, each by itself. The keys "
    "in brackets answer. The video starts over by itself. Ctrl+Enter submits and shows the next.",
)
PLAYER = 'autoplay loop muted playsinline controls controlslist="nodownload noremoteplayback" disablepictureinpicture'

# No `>` in it: the page would keep it escaped. HEIGHT is the smaller of what the window and the shape leave.
STYLE = """
.lsf-sidepanels__wrapper { display: none !important; }
.lsf-sidepanels { padding: 0 !important; }
.study { padding: 0 12px; }
.study .lsf-richtext__container { padding: 0; border: 0; }
.study .prompt { max-height: 76px; overflow: auto; font-size: 17px; line-height: 25px; }
.study .videos { display: flex; gap: 16px; margin-top: 4px; }
.study figure { flex: 1 1 0; min-width: 0; margin: 0; }
.study figcaption { text-align: center; line-height: 24px; font-size: 17px; font-weight: 600; }
.study video { width: 100%; height: HEIGHT; object-fit: contain; display: block; }
.study .axes { display: grid; }
.study.pairwise .axes { grid-template-columns: repeat(4, 1fr); gap: 0 24px; margin-top: 14px; }
.study.absolute .page { display: grid; grid-template-columns: minmax(0, 1fr) 460px; gap: 0 24px;
  margin-top: 8px; }
.study.absolute .axes { align-content: start; gap: 30px; }
.study .lsf-choices { display: flex; gap: 8px; margin: 6px 0 8px 0; }
.study .lsf-choice { flex: 1 1 0; margin: 0; }
.study .lsf-choice__item, .study label.lsf-choice__checkbox { display: block; width: 100%; margin: 0; padding: 0; }
.study .lsf-choice .ant-radio, .study .lsf-choice__checkbox::after { display: none; }
.study .lsf-choice .ant-radio + span { display: block; padding: 7px 0; border: 1px solid #9aa0b5; border-radius: 6px;
  text-align: center; font-size: 16px; cursor: pointer; }
.study .lsf-choice .ant-radio + span:hover { border-color: #4a62c8; }
.study .lsf-choice .ant-radio-checked + span { background: #4a62c8; border-color: #4a62c8; color: #fff; }
.study .lsf-choice .lsf-hint { top: 0; margin-left: 8px; font-size: 13px; opacity: 0.75; text-transform: uppercase;
  color: inherit; }
"""
HEIGHTS = {
    Design.PAIRWISE: "min(52vh, calc((50vw - 36px) / SHAPE))",
    Design.ABSOLUTE: "min(76vh, calc((100vw - 536px) / SHAPE))",
}
TITLE_STYLE = "font-size: 16px; line-height: 22px; font-weight: 600; margin: 0"
MEANS_STYLE = "font-size: 14px; line-height: 20px; font-weight: 400; letter-spacing: 0; margin: 0 0 4px 0"
HINT_STYLE = "font-size: 13px; line-height: 18px; font-weight: 400; margin: 8px 0 0 0; opacity: 0.75; white-space: pre"
EXAMPLE_STYLE = MEANS_STYLE + "; opacity: 0.75; font-style: italic"


def screen_of(design: Design) -> Screen:
    """What a design asks, and what counts as a valid answer to it."""
    return PAIRWISE if design is Design.PAIRWISE else ABSOLUTE


def draw(design: Design, shape: float) -> str:
    """The page as Label Studio's XML; task data gives the prompt and the videos' addresses.

    Args:
        shape: width by height of the videos.
    """
    pairwise = design is Design.PAIRWISE
    root = ElementTree.Element("View", className=f"study {design.value}")
    ElementTree.SubElement(root, "Style").text = STYLE.replace(
        "HEIGHT", HEIGHTS[design].replace("SHAPE", f"{shape:.4f}")
    )
    prompt = ElementTree.SubElement(root, "View", className="prompt")
    ElementTree.SubElement(prompt, "Text", name=PROMPT, value=f"${PROMPT}", selectionEnabled="false")
    page = ElementTree.SubElement(root, "View", className="page")
    figures = [_figure(VIDEO_A, "A"), _figure(VIDEO_B, "B")] if pairwise else [_figure(VIDEO_A)]
    html = f'<div class="videos">{"".join(figures)}</div>'
    ElementTree.SubElement(page, "HyperText", name=VIDEO, value=html, inline="true", selectionEnabled="false")
    axes = ElementTree.SubElement(page, "View", className="axes")
    for name, question in screen_of(design).questions.items():
        assert isinstance(question, ChoiceQuestion)
        _question(axes, question, (PAIR_ANCHORS if pairwise else PASS_ANCHORS)[name])
    ElementTree.SubElement(root, "Header", value=HINTS[design], size="6", style=HINT_STYLE)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode")


def _figure(name: str, side: str = "") -> str:
    caption = f"<figcaption>{side}</figcaption>" if side else ""
    return f'<figure>{caption}<video src="${name}" {PLAYER}></video></figure>'


def _question(parent: ElementTree.Element, question: ChoiceQuestion, anchor: Anchor) -> None:
    cell = ElementTree.SubElement(parent, "View", className="axis")
    ElementTree.SubElement(cell, "Header", value=question.title, size="4", style=TITLE_STYLE)
    shared = {"name": question.name, "toName": VIDEO, "choice": "single-radio", "showInline": "true"}
    shared |= {"required": "true", "requiredMessage": f"{question.title}: please answer"}
    control = ElementTree.SubElement(cell, "Choices", shared)
    for option in question.options:
        ElementTree.SubElement(control, "Choice", value=option.value, hotkey=option.key)
    for line in anchor.means:
        ElementTree.SubElement(cell, "Header", value=line, size="6", style=MEANS_STYLE)
    ElementTree.SubElement(cell, "Header", value=anchor.example, size="6", style=EXAMPLE_STYLE)
