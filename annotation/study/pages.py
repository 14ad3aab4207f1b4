"""The pages of a blind study: what is asked, how it is explained, how it is drawn.

    PAIRWISE   prompt / A beside B / three axes and the overall: A, tie or B each
    ABSOLUTE   prompt / one video  / three axes: pass or fail each; the overall (all three) is counted, not asked

The axes are HunyuanVideo's (report section 4: text alignment, motion quality, visual quality). The report publishes no
wording, so the anchors and the worked examples are ours. Keys lie as the answers do: a row of the keyboard for each
axis, its answers from left to right, so that one hand answers and the other submits.

Videos are not Label Studio's player, which neither loops nor keeps two of them together to the frame, but the browser's
own, drawn by a HyperText tag: they wait for each other, start in the same turn of the event loop, and start over when
all have ended. So no video is ever sought or slowed while it plays, which a judge of motion would see. Measured in
Chromium: 0 to 1 frames apart over ten rounds.
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

    means: str
    example: str


PAIR_ANCHORS = {
    "text_alignment": Anchor(
        "Which shows more of what the prompt says: each subject and how many, what they do, the place, the style, the "
        "camera? Missing, wrong and contradicting things count. Beauty does not.",
        "“Two dogs chase a red ball.” A: one dog, a red ball. B: two dogs, a red ball, blurred. Answer B.",
    ),
    "motion_quality": Anchor(
        "Which moves more as the world does, at the pace the prompt asks for? Jumps, sliding feet, limbs that melt or "
        "swap and flicker count, and so does hardly moving where there should be action.",
        "“A horse gallops.” A: the legs carry it. B: sharper, but it glides with stiff legs. Answer A.",
    ),
    "visual_quality": Anchor(
        "Which is the better picture, prompt or not? Sharpness, detail, light, colour and composition; against it "
        "smears, noise, blocks, warped faces and hands.",
        "A: crisp, yet a face loses its features as it turns. B: a little soft, all faces whole. Answer B.",
    ),
    "overall": Anchor(
        "Which would you rather have got for this prompt? Weigh the three as you see fit: one fault that ruins a video "
        "counts for more than several small ones.",
        "A: pretty, but a cat where the prompt says fox. B: plainer, and a fox. Answer B.",
    ),
}
PASS_ANCHORS = {
    "text_alignment": Anchor(
        "Pass: every subject, number, action, place, style and camera movement of the prompt is there. Fail: something "
        "a person would name when retelling the prompt is missing, wrong or contradicted. Beauty does not count.",
        "“Two dogs chase a red ball.” One dog and a red ball: fail. Two dogs and a red ball, blurred: pass.",
    ),
    "motion_quality": Anchor(
        "Pass: it moves as the world does, at the pace the prompt asks for, from the first frame to the last. Fail: "
        "jumps, sliding feet, limbs that melt or swap, flicker, or it hardly moves where there should be action.",
        "“A horse gallops.” It glides over the field with stiff legs: fail, however sharp it is.",
    ),
    "visual_quality": Anchor(
        "Pass: a picture you would use: sharp, well lit, good colour, nothing broken. Fail: smears, noise, blocks, "
        "warped faces or hands, or washed-out colour that catches the eye. The prompt does not count.",
        "A face loses its features as it turns: fail. A little soft in the background: pass.",
    ),
}
TIE_MEANS = "Tie: you would not notice the difference again."


def _panel(axis: str, answers: tuple[str, ...], keys: str) -> Panel:
    options = tuple(Option(answer, key) for answer, key in zip(answers, keys, strict=False))
    return Panel(TITLES[axis], (ChoiceQuestion(axis, TITLES[axis], options, required=True),))


PAIRWISE = Screen(
    "study_pairwise",
    tuple(_panel(axis, (A, TIE, B), keys) for axis, keys in zip(ALL_AXES, KEYS, strict=True)),
    "Read the prompt, watch both videos to the end at least once, answer the four questions. A is on the left, B on "
    "the right; the keys in brackets answer. Click a video to stop or go on. Ctrl+Enter submits and shows the next.",
)
ABSOLUTE = Screen(
    "study_absolute",
    tuple(_panel(axis, (PASS, FAIL), keys) for axis, keys in zip(AXES, KEYS, strict=False)),
    "Read the prompt, watch the video to the end at least once, answer the three questions, each by itself. The keys "
    "in brackets answer. Click the video to stop or go on. Ctrl+Enter submits and shows the next.",
)

STYLE = """
.lsf-sidepanels__wrapper { display: none !important; }
.lsf-sidepanels { padding: 0 !important; }
.study { padding: 0 8px; }
.study .prompt { max-height: 92px; overflow: auto; margin: 0 0 8px 0; }
.study .videos { display: flex; gap: 12px; justify-content: center; }
.study figure { flex: 1 1 0; min-width: 0; margin: 0; position: relative; }
.study video { width: 100%; height: HEIGHT; object-fit: contain; background: #000; display: block; cursor: pointer; }
.study .axes { display: grid; gap: 0 16px; margin-top: 8px; }
.study h3 { font-size: 15px; line-height: 20px; margin: 0; }
"""
PROMPT_STYLE = "font-size: 17px; line-height: 23px"
START = (
    "const f=this.closest('.videos'),all=[...f.querySelectorAll('video')];"
    "if(!f.dataset.on&&all.every(v=>v.readyState>3)){f.dataset.on=1;all.forEach(v=>v.play())}"
)
AGAIN = (
    "const all=[...this.closest('.videos').querySelectorAll('video')];"
    "if(all.every(v=>v.ended))all.forEach(v=>{v.currentTime=0;v.play()})"
)
STOP_OR_GO = "const p=this.paused;this.closest('.videos').querySelectorAll('video').forEach(v=>p?v.play():v.pause())"


def screen_of(design: Design) -> Screen:
    """What a design asks, and what counts as a valid answer to it."""
    return PAIRWISE if design is Design.PAIRWISE else ABSOLUTE


def draw(design: Design) -> str:
    """The page as Label Studio's XML; task data gives the prompt and the videos' addresses."""
    pairwise = design is Design.PAIRWISE
    root = ElementTree.Element("View", className=f"study {design.value}")
    ElementTree.SubElement(root, "Style").text = STYLE.replace("HEIGHT", "41vh" if pairwise else "66vh")
    ElementTree.SubElement(
        ElementTree.SubElement(root, "View", className="prompt"), "Text", name=PROMPT, value="$prompt"
    )
    page = ElementTree.SubElement(root, "View", className="page")
    names = (VIDEO_A, VIDEO_B) if pairwise else (VIDEO_A,)
    html = f'<div class="videos">{"".join(_figure(name, pairwise) for name in names)}</div>'
    ElementTree.SubElement(page, "HyperText", name=VIDEO, value=html, inline="true", selectionEnabled="false")
    axes = ElementTree.SubElement(page, "View", className="axes")
    anchors = PAIR_ANCHORS if pairwise else PASS_ANCHORS
    for name, question in screen_of(design).questions.items():
        assert isinstance(question, ChoiceQuestion)
        _question(axes, question, anchors[name])
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode")


def _figure(name: str, named: bool) -> str:
    side = name[-1].upper()
    caption = f"<figcaption>{side}</figcaption>" if named else ""
    return (
        f'<figure>{caption}<video src="${name}" muted playsinline preload="auto" oncanplaythrough="{START}" '
        f'onended="{AGAIN}" onclick="{STOP_OR_GO}"></video></figure>'
    )


def _question(parent: ElementTree.Element, question: ChoiceQuestion, anchor: Anchor) -> None:
    cell = ElementTree.SubElement(parent, "View", className="axis")
    ElementTree.SubElement(cell, "Header", value=question.title, size="4")
    shared = {"name": question.name, "toName": VIDEO, "choice": "single-radio", "showInline": "true"}
    shared |= {"required": "true", "requiredMessage": f"{question.title}: please answer"}
    control = ElementTree.SubElement(cell, "Choices", shared)
    for option in question.options:
        ElementTree.SubElement(control, "Choice", value=option.value, hotkey=option.key)
    ElementTree.SubElement(cell, "Header", value=anchor.means, size="6")
    ElementTree.SubElement(cell, "Header", value=anchor.example, size="6")
