"""Blur: the share of a clip's frames that are blurred, 0 to 1; above 0.5 the majority is.

    luma --windows of 9 px with contrast--> contrast / steepest step = width of an edge, px --sharpest tenth--> wide?

An edge is as wide as its contrast divided by its steepest step between neighbours (edge width: Marziliano et al. 2002,
"A no-reference perceptual blur metric"). A frame is blurred if even the sharpest tenth of its windows has edges of 2.5
px and more at 360 lines, which a viewer sees; plain scenes, soft light and a background out of focus do not make it so.
Relative to the picture's own contrast, so dim and bright scenes compare. On real footage: in focus 1.1-1.9 px, soft
uploads 2.0-2.4, out of focus or shaken 2.6-5. Noise hides blur. A frame without contrast (24 levels) is not blurred;
`flatness` and `exposure` are about that. The majority rule is Open-Sora 2.0's.
"""

from typing import ClassVar

import cv2
import numpy as np
from pydantic import BaseModel, Field

from curation.drawing import captioned, heat, sheet, spread
from curation.scorer import ClipFrames, Direction
from curation.video import FrameSpec

WINDOW_PX = 9
MIN_CONTRAST = 24  # grey levels within a window
MIN_WINDOWS = 20
EVERY_PX = 3  # windows overlap, so a ninth of them tells as much
SHARPEST_SHARE = 0.1


class BlurSettings(BaseModel, frozen=True, extra="forbid"):
    fps: float = Field(default=2.0, gt=0, description="frames looked at per second")
    blurred_from_px: float = Field(
        default=2.5, gt=1, le=WINDOW_PX, description="width of a frame's sharpest edges from which on it is blurred"
    )


class BlurScorer:
    settings_class: ClassVar[type[BaseModel]] = BlurSettings
    direction: ClassVar[Direction] = "lower is better"
    unit: ClassVar[str] = "share of frames"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0

    def __init__(self, settings: BlurSettings) -> None:
        self.settings = settings
        self.frames = FrameSpec(settings.fps, short_side_px=360)
        self.version = f"1/{settings.fps:g}fps-{settings.blurred_from_px:g}px"

    def missing(self) -> str | None:
        return None

    def load(self) -> None:
        pass

    def __call__(self, clip: ClipFrames) -> float:
        return float(np.mean([width >= self.settings.blurred_from_px for width in frame_edge_widths(clip)]))

    def draw(self, clip: ClipFrames) -> np.ndarray:
        widths = frame_edge_widths(clip)
        pictures = []
        for index in spread(len(widths), 4):
            contrast, widths_px = _edge_widths(clip.luma[index])
            sharp = np.where(contrast >= MIN_CONTRAST, 1 / widths_px, 0)
            words = "blurred" if widths[index] >= self.settings.blurred_from_px else "not blurred"
            pictures.append(captioned(clip.luma[index], f"{words}: edges of {widths[index]:.2f} px"))
            pictures.append(captioned(heat(sharp, 1.0), "red: edges of 1 px"))
        return sheet(pictures)


def frame_edge_widths(clip: ClipFrames) -> list[float]:
    """Width in px of each frame's sharpest edges, 0 for one without contrast; computed once, whoever asks."""
    return clip.once(("edge widths",), lambda: [edge_width_px(luma) for luma in clip.luma])


def edge_width_px(luma: np.ndarray) -> float:
    """Width of the edges in the sharpest tenth of the windows of a picture uint8 [H, W]; 0 if it has no contrast."""
    contrast, widths_px = (each[::EVERY_PX, ::EVERY_PX] for each in _edge_widths(luma))
    found = widths_px[contrast >= MIN_CONTRAST]
    return float(np.quantile(found, SHARPEST_SHARE)) if len(found) >= MIN_WINDOWS else 0.0


def _edge_widths(luma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Contrast uint8 [H, W] and edge width float32 [H, W] of the window around each pixel."""
    window = np.ones((WINDOW_PX, WINDOW_PX), np.uint8)
    contrast = cv2.subtract(cv2.dilate(luma, window), cv2.erode(luma, window))
    steps = np.zeros_like(luma)
    steps[:, 1:] = cv2.absdiff(luma[:, 1:], luma[:, :-1])
    steps[1:] = cv2.max(steps[1:], cv2.absdiff(luma[1:], luma[:-1]))
    steepest = np.maximum(cv2.dilate(steps, window), 1).astype(np.float32)
    return contrast, np.clip(contrast / steepest, 1, WINDOW_PX)
