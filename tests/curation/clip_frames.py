"""Clips for scorer tests: pictures and times given directly, as a scan would hand them over."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from curation.scorer import About, Answer, ClipFrames, Scorer
from curation.video import FrameSpec, scan

CAPTION = "a texture that drifts"
STILL_BLOCK = np.array([[0.5, 0.5, 0, 0, 1]], np.float32)  # one block as large as the picture


def clip_of(
    pictures: Sequence[np.ndarray], spec: FrameSpec, step_s: float = 0.1, about: About | None = None
) -> ClipFrames:
    """RGB pictures `step_s` apart, as that spec's frames; motion vectors, if asked for, of a still picture."""
    bgr = np.stack([picture[..., ::-1] for picture in pictures])
    return ClipFrames(
        luma=np.stack([cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures]),
        bgr=np.ascontiguousarray(bgr) if spec.planes == "bgr" else None,
        times_s=np.arange(len(pictures)) * step_s,
        fps=spec.fps,
        about=about
        or About(bgr.shape[2], bgr.shape[1], 1 / step_s, num_bytes=5000, caption=CAPTION, num_frames=len(pictures)),
        vectors=[STILL_BLOCK] * len(pictures) if spec.planes == "vectors" else None,
    )


def score_file(scorer: Scorer, path: Path) -> float | Answer:
    """The scorer's answer about a whole file, its weights read here."""
    scorer.load()
    return scorer(frames_of_file(path, scorer.frames))


def value_of_file(scorer: Scorer, path: Path) -> float:
    """The same of a scorer that names no class."""
    answer = score_file(scorer, path)
    assert isinstance(answer, float)
    return answer


def frames_of_file(path: Path, spec: FrameSpec) -> ClipFrames:
    """A whole file as one clip."""
    frames = scan(str(path), [spec])
    seen = [each.frame for each in frames]
    assert frames.facts is not None
    width, height = frames.facts.geometry.size
    num_bytes = path.stat().st_size
    about = About(
        width, height, frames.facts.frame_rate, num_bytes=num_bytes, caption=CAPTION, num_frames=frames.num_frames
    )
    return ClipFrames.of(seen, spec, about)
