"""Clips for scorer tests: pictures and times given directly, as a scan would hand them over."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from curation.scorer import ClipFrames, Scorer
from curation.video import FrameSpec, scan


def clip_of(pictures: Sequence[np.ndarray], spec: FrameSpec, step_s: float = 0.1) -> ClipFrames:
    """RGB pictures `step_s` apart, as that spec's frames."""
    bgr = np.stack([picture[..., ::-1] for picture in pictures])
    return ClipFrames(
        luma=np.stack([cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures]),
        bgr=np.ascontiguousarray(bgr) if spec.planes == "bgr" else None,
        times_s=np.arange(len(pictures)) * step_s,
        fps=spec.fps,
    )


def score_file(scorer: Scorer, path: Path) -> float:
    """The scorer's value of a whole file, its weights read here."""
    scorer.load()
    return scorer(ClipFrames.of([seen.frame for seen in scan(str(path), [scorer.frames])], scorer.frames))
