"""Perceptual hash: what the picture looks like from afar, in 256 bits; finds copies without any weights.

    luma [T] --32 x 32--> DCT --mean over each quarter of the clip--> 8 x 8 lowest waves --above median?--> 64 bits
                                                                      4 quarters --> +-1/16 [256], a unit vector

Cosine of two clips = 1 - 2 x differing bits / 256. The bits are Zauner 2010's ("Implementation and Benchmarking of
Perceptual Image Hash Functions"); taking the mean picture of each quarter in place of one frame makes them stand
different frame rates and starts. The DCT is linear, so the mean of the waves is the waves of the mean.

What a copy keeps and what unrelated clips have in common has not been measured on a large pool; the threshold 0.875
allows 16 differing bits. Bars move the whole picture, so remove them first (`curation/crop.py`).
"""

from typing import ClassVar

import cv2
import numpy as np
from pydantic import BaseModel, Field

from curation.scorer import ClipFrames, NeedsNothing
from curation.video import FrameSpec

NUM_QUARTERS, PICTURE_PX, NUM_WAVES = 4, 32, 8
ROUNDING = 0.5  # a wave of 1 / 32 grey level: what a picture without any texture may have
NUM_BITS = NUM_QUARTERS * NUM_WAVES**2


class PerceptualHashSettings(BaseModel, frozen=True, extra="forbid"):
    fps: float = Field(default=2.0, gt=0, description="frames looked at per second")


class PerceptualHashEmbedder(NeedsNothing):
    settings_class: ClassVar[type[BaseModel]] = PerceptualHashSettings

    def __init__(self, settings: PerceptualHashSettings) -> None:
        self.frames = FrameSpec(settings.fps, short_side_px=360)
        self.version = f"1/{settings.fps:g}fps"

    def __call__(self, clip: ClipFrames) -> np.ndarray:
        waves = np.stack([_waves(luma) for luma in clip.luma])
        hashed = [_bits(mean) for mean in np.tensordot(_quarters(len(waves)), waves, 1)]
        return (np.concatenate(hashed) / np.sqrt(NUM_BITS)).astype(np.float32)


def _waves(luma: np.ndarray) -> np.ndarray:
    """The 8 x 8 lowest coefficients of a picture's discrete cosine transform."""
    small = cv2.resize(luma, (PICTURE_PX, PICTURE_PX), interpolation=cv2.INTER_AREA)
    return cv2.dct(small.astype(np.float32))[:NUM_WAVES, :NUM_WAVES]


def _bits(waves: np.ndarray) -> np.ndarray:
    """+1 where a wave is above the median of all but the first (the mean brightness), else -1; [64]."""
    flat = waves.ravel()
    return np.where(flat > np.median(flat[1:]) + ROUNDING, 1.0, -1.0)


def _quarters(num_frames: int) -> np.ndarray:
    """Share of every frame in the mean of each quarter of the clip, [4, T]; rows sum to 1."""
    edges = np.linspace(0, num_frames, NUM_QUARTERS + 1)
    begins = np.arange(num_frames)
    overlaps = np.minimum(begins + 1, edges[1:, None]) - np.maximum(begins, edges[:-1, None])
    shares = np.clip(overlaps, 0, None)
    return shares / shares.sum(axis=1, keepdims=True)
