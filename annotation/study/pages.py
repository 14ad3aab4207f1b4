"""The pages of a blind study: what is asked, how it is explained, how it is drawn.

    PAIRWISE   prompt / A beside B / three axes and the overall: A, tie or B each
    ABSOLUTE   prompt / one video  / three axes: pass or fail each; the overall (all three) is not asked but counted

The axes are HunyuanVideo's (report section 4: text alignment, motion quality, visual quality); the report publishes no
wording, so the anchors and the worked examples are ours.
"""

from annotation.screen import ChoiceQuestion, Option, Panel, Screen
from annotation.study.axes import ALL_AXES, AXES, FAIL, PASS, TIE, A, B, Design

PAIR_KEYS = ("123", "456", "789", "qwe")  # of A, tie and B, axis by axis
PASS_KEYS = ("12", "45", "78")
TITLES = {
    "text_alignment": "Text alignment",
    "motion_quality": "Motion quality",
    "visual_quality": "Visual quality",
    "overall": "Overall",
}


def _question(axis: str, answers: tuple[str, ...], keys: str) -> Panel:
    options = tuple(Option(answer, key) for answer, key in zip(answers, keys, strict=True))
    return Panel(TITLES[axis], (ChoiceQuestion(axis, TITLES[axis], options, required=True),))


PAIRWISE = Screen(
    "study_pairwise",
    tuple(_question(axis, (A, TIE, B), keys) for axis, keys in zip(ALL_AXES, PAIR_KEYS, strict=True)),
)
ABSOLUTE = Screen(
    "study_absolute",
    tuple(_question(axis, (PASS, FAIL), keys) for axis, keys in zip(AXES, PASS_KEYS, strict=True)),
)


def screen_of(design: Design) -> Screen:
    return PAIRWISE if design is Design.PAIRWISE else ABSOLUTE
