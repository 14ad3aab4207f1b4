"""Technical quality: how much fine detail the picture has for its contrast, less noise; the median over frames, 0 to 1.

    luma --MSCN--> mean square E --> E / (E + 0.06) = detail --+
    luma --Immerkaer, plainest tenth of 16 px windows--> sigma --> 1 / (1 + (sigma / 1.5)^2) = cleanness --+-> product

MSCN are a pixel's deviations from its surroundings divided by their spread plus one (Mittal et al. 2012, BRISQUE): blur
and compression take away what is small and faint, so E falls; noise adds to it, so its strength is measured where the
picture is plainest (Immerkaer 1996, "Fast noise variance estimation") and taken off. Medians over 29 sources: as they
were 0.60; x264 crf 24, 36, 48: 0.57, 0.52, 0.45; Gaussian blur of 0.7, 3, 6 px at 360 lines: 0.59, 0.34, 0.26; noise of
2, 5, 20 levels at 720 lines: 0.60, 0.40, 0.05. Single steps of that ladder fell in 0.92 (crf), 0.97 (blur) and 0.86
(noise, the faintest of which passes for detail) of the cases. Fine texture all over the picture (gravel, grass) passes
for noise: one clip of it has 0.17. It is a statistic of pixels, not a trained model of opinion such as DOVER, whose
weights do not come with this project: compare takes of one scene by it, and use percentiles of your own pool. Block
edges of a codec cannot be told at 360 lines, where their grid is scaled away.
"""

from typing import ClassVar

import cv2
import numpy as np
from pydantic import BaseModel, Field

from curation.drawing import captioned, heat, sheet, spread
from curation.scorer import ClipFrames, Direction, NeedsNothing
from curation.video import FrameSpec

WINDOW_PX, WINDOW_SIGMA = 7, 7 / 6  # BRISQUE's
HALF_DETAIL = 0.06  # mean square of MSCN that counts as half; the median source has 0.11
HALF_CLEAN_LEVELS = 1.5
NOISE_WINDOW_PX = 16
SECOND_DIFFERENCES = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)  # Immerkaer, equation 3


class TechnicalQualitySettings(BaseModel, frozen=True, extra="forbid"):
    fps: float = Field(default=2.0, gt=0, description="frames per second to choose from")
    max_frames: int = Field(default=4, ge=1, description="frames judged at most, spread over the clip")


class TechnicalQualityScorer(NeedsNothing):
    settings_class: ClassVar[type[BaseModel]] = TechnicalQualitySettings
    direction: ClassVar[Direction] = "higher is better"
    unit: ClassVar[str] = "detail x cleanness, 0 to 1"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0

    def __init__(self, settings: TechnicalQualitySettings) -> None:
        self.settings = settings
        self.frames = FrameSpec(settings.fps, short_side_px=360)
        self.version = f"1/{settings.fps:g}fps-{settings.max_frames}frames"

    def __call__(self, clip: ClipFrames) -> float:
        chosen = spread(len(clip.luma), self.settings.max_frames)
        return float(np.median([_detail(clip.luma[index]) * _cleanness(clip.luma[index]) for index in chosen]))

    def draw(self, clip: ClipFrames) -> np.ndarray:
        pictures = []
        for index in spread(len(clip.luma), self.settings.max_frames):
            luma = clip.luma[index]
            parts = (
                f"detail {_detail(luma):.3f}, cleanness {_cleanness(luma):.3f}, noise {_noise_levels(luma):.2f} levels"
            )
            pictures += [captioned(luma, parts), captioned(heat(np.abs(_normalised(luma)), 1.5), "detail")]
        return sheet(pictures)


def _detail(luma: np.ndarray) -> float:
    energy = float(np.mean(_normalised(luma) ** 2))
    return energy / (energy + HALF_DETAIL)


def _cleanness(luma: np.ndarray) -> float:
    return 1 / (1 + (_noise_levels(luma) / HALF_CLEAN_LEVELS) ** 2)


def _normalised(luma: np.ndarray) -> np.ndarray:
    """Mean-subtracted, contrast-normalised values of uint8 [H, W] (Mittal et al., equations 1-3), float32."""
    values = luma.astype(np.float32)
    mean = cv2.GaussianBlur(values, (WINDOW_PX, WINDOW_PX), WINDOW_SIGMA)
    square = cv2.GaussianBlur(values * values, (WINDOW_PX, WINDOW_PX), WINDOW_SIGMA)
    return (values - mean) / (np.sqrt(np.maximum(square - mean * mean, 0)) + 1)


def _noise_levels(luma: np.ndarray) -> float:
    """Standard deviation of noise in grey levels, where uint8 [H, W] is plainest."""
    rows, columns = (max(1, side // NOISE_WINDOW_PX) for side in luma.shape)
    residual = np.abs(cv2.filter2D(luma.astype(np.float32), -1, SECOND_DIFFERENCES))
    sigmas = cv2.resize(residual, (columns, rows), interpolation=cv2.INTER_AREA) * (np.sqrt(np.pi / 2) / 6)
    return float(np.quantile(sigmas, 0.1))
