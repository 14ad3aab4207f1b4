"""Codec motion: how fast the picture moves by the codec's own motion vectors, for a cheap first gate.

    motion vectors of every coded block --length x area / area--> mean over frames

The vectors are there once a file is decoded, so this costs no optical flow. They are what was cheap to code, not what
moved: dark and flat places get wild ones or none, a vector may reach back further than the frame before it, and an
encoder told to hurry looks less far. So it tells a still clip from a lively one and no more; `motion` is the measure.
Blocks coded without prediction have no vector and count for nothing. Bars of black count as still: the vectors are
those of the whole coded picture, also where the clip is cropped. Codecs that give none (VP9, AV1, ProRes, most formats
other than H.264, MPEG-4 and MPEG-2) are an error, never a number.
Real footage (`motion` beside it): slides 0.00 (0.01), juggler 0.01 (0.03), crossing 0.05 (0.06), kitchen 0.11 (0.11),
motorway 0.19 (0.06: wild vectors in the flat road), city from the hand 0.47 (0.37), driving before a car 0.75 (0.25).
"""

from typing import ClassVar

import numpy as np
from pydantic import BaseModel, Field

from curation.drawing import captioned, sheet, spread
from curation.flow_drawing import with_vectors
from curation.scorer import ClipFrames, Direction, NeedsNothing
from curation.video import FrameSpec

LINES = 144


class CodecMotionSettings(BaseModel, frozen=True, extra="forbid"):
    fps: float = Field(default=10.0, gt=0, description="frames whose vectors are read per second")


class CodecMotionScorer(NeedsNothing):
    settings_class: ClassVar[type[BaseModel]] = CodecMotionSettings
    direction: ClassVar[Direction] = "two-sided"
    unit: ClassVar[str] = "short sides per second"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0

    def __init__(self, settings: CodecMotionSettings) -> None:
        self.frames = FrameSpec(settings.fps, LINES, planes="vectors")
        self.version = f"1/{settings.fps:g}fps"

    def __call__(self, clip: ClipFrames) -> float:
        return float(np.mean([mean_speed(vectors) for _, vectors in _with_vectors(clip)]))

    def draw(self, clip: ClipFrames) -> np.ndarray:
        """Frames with the vectors of their blocks; the faster, the redder."""
        coded = _with_vectors(clip)
        pictures = []
        for which in spread(len(coded), 12):
            frame, vectors = coded[which]
            time_s = clip.times_s[frame] - clip.times_s[0]
            picture = with_vectors(clip.luma[frame], vectors)
            pictures.append(captioned(picture, f"{time_s:.1f} s  {mean_speed(vectors):.3f} short sides/s"))
        return sheet(pictures, width=400)


def mean_speed(vectors: np.ndarray) -> float:
    """Mean length of motion vectors float32 [N, 5] (x, y, right, down, area), by area."""
    return float(np.average(np.hypot(vectors[:, 2], vectors[:, 3]), weights=vectors[:, 4]))


def _with_vectors(clip: ClipFrames) -> list[tuple[int, np.ndarray]]:
    """Index and vectors of each frame that has any.

    Raises:
        ValueError: no frame has.
    """
    found = [
        (index, vectors) for index, vectors in enumerate(clip.vectors or []) if vectors is not None and len(vectors)
    ]
    if not found:
        raise ValueError(
            f"none of the {len(clip.times_s)} frames carries motion vectors: the codec gives none (H.264, MPEG-4 and "
            "MPEG-2 do), or all frames are coded on their own; use the scorer motion"
        )
    return found
