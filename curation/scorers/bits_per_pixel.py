"""Bits per pixel: how many bits the source spends on a pixel of the clip; above 0.

    8 x coded bytes of the clip / (width x height x frames)      of the whole picture, at the source's frame rate

Open-Sora 2.0 asks for at least 0.02. H.264 at a good quality has 0.05-0.2, starved streams below 0.02, cameras' own
files 0.3 and more; newer codecs need half as much, so compare within a codec. No pixel is looked at: the frames it asks
for, those of other scorers, are for `draw`.
"""

from typing import ClassVar

import numpy as np
from pydantic import BaseModel

from curation.drawing import captioned, sheet, spread
from curation.scorer import ClipFrames, Direction, NeedsNothing
from curation.video import FrameSpec


class BitsPerPixelSettings(BaseModel, frozen=True, extra="forbid"):
    pass


class BitsPerPixelScorer(NeedsNothing):
    settings_class: ClassVar[type[BaseModel]] = BitsPerPixelSettings
    direction: ClassVar[Direction] = "higher is better"
    unit: ClassVar[str] = "bits per pixel"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 0.5

    def __init__(self, settings: BitsPerPixelSettings) -> None:
        self.frames = FrameSpec(fps=2.0, short_side_px=360)
        self.version = "1"

    def __call__(self, clip: ClipFrames) -> float:
        about = clip.about
        if about.num_bytes is None or not about.num_frames:
            raise ValueError(
                f"the coded bytes and frames of the clip were not counted (bytes {about.num_bytes}, frames "
                f"{about.num_frames}); split its source again"
            )
        return 8 * about.num_bytes / (about.width * about.height * about.num_frames)

    def draw(self, clip: ClipFrames) -> np.ndarray:
        about = clip.about
        facts = (
            f"{self(clip):.4f} bit/px: {about.num_bytes} bytes, {about.width}x{about.height}, {about.num_frames} frames"
        )
        shown = spread(len(clip.luma), 4)
        return captioned(sheet([clip.luma[index] for index in shown], columns=2), facts)
