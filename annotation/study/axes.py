"""What judges are asked: HunyuanVideo's three axes and the overall, in two designs.

pairwise   A | tie | B on each axis and overall
absolute   pass | fail on each axis; overall = all three (as the published table implies)
"""

from enum import StrEnum

AXES = ("text_alignment", "motion_quality", "visual_quality")
OVERALL = "overall"
ALL_AXES = (*AXES, OVERALL)

A, TIE, B = "A", "tie", "B"
PASS, FAIL = "pass", "fail"


class Design(StrEnum):
    """How videos are judged."""

    PAIRWISE = "pairwise"
    ABSOLUTE = "absolute"
