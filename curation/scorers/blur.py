"""Blur: the share of a clip's frames that are blurred, 0 to 1; above 0.5 the majority is.

    luma --> steepest steps across and down --> contrast over 9 px / step = edge width --sharpest tenth--> wide?

The width of an edge is its contrast divided by its steepest step between neighbours (Marziliano et al. 2002, "A
no-reference perceptual blur metric"). A frame is blurred if even the sharpest tenth of its edges are 3.5 px wide and
more at 360 lines; across and down are measured apart and the worse one counts, so a shaken or panned frame is blurred.
Plain scenes, soft light and a background out of focus are not, as they are by the variance of the Laplacian. Medians on
real footage: in focus 1.1-2.0 px, soft 2.1-3.2, out of focus or shaken 3.3-5.2. Noise hides blur. A frame without
contrast (24 levels) is not blurred; `flatness` and `exposure` are about that. The majority of five frames is
Open-Sora 2.0's rule.
"""

from typing import ClassVar

import cv2
import numpy as np
from pydantic import BaseModel, Field

from curation.drawing import captioned, heat, sheet, spread
from curation.scorer import ClipFrames, Direction, NeedsNothing
from curation.video import FrameSpec

WINDOW_PX = 9
MIN_CONTRAST = 24  # grey levels within a window
MIN_EDGES = 50  # points of edges along one direction
EVERY_LINE = 3  # neighbouring lines have the same edges
SHARPEST_SHARE = 0.1


class BlurSettings(BaseModel, frozen=True, extra="forbid"):
    fps: float = Field(default=2.0, gt=0, description="frames looked at per second")
    max_frames: int = Field(default=5, ge=1, description="most frames looked at, spread over the clip")
    blurred_from_px: float = Field(
        default=3.5, gt=1, le=WINDOW_PX, description="width of a frame's sharpest edges from which on it is blurred"
    )


class BlurScorer(NeedsNothing):
    settings_class: ClassVar[type[BaseModel]] = BlurSettings
    direction: ClassVar[Direction] = "lower is better"
    unit: ClassVar[str] = "share of frames"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0

    def __init__(self, settings: BlurSettings) -> None:
        self.settings = settings
        self.frames = FrameSpec(settings.fps, short_side_px=360)
        self.version = f"2/{settings.fps:g}fps-{settings.max_frames}-{settings.blurred_from_px:g}px"

    def __call__(self, clip: ClipFrames) -> float:
        return float(np.mean([width >= self.settings.blurred_from_px for width in self._widths(clip).values()]))

    def _widths(self, clip: ClipFrames) -> dict[int, float]:
        """Frame -> width in px of its sharpest edges, 0 for one without contrast."""
        looked_at = spread(len(clip.luma), self.settings.max_frames)
        return clip.once(
            ("edge widths", len(looked_at)), lambda: {index: edge_width_px(clip.luma[index]) for index in looked_at}
        )

    def draw(self, clip: ClipFrames) -> np.ndarray:
        widths, pictures = self._widths(clip), []
        for index in sorted(widths)[:4]:
            luma, sharp = clip.luma[index], np.zeros(clip.luma.shape[1:], np.float32)
            for picture, place in ((luma, sharp), (luma.T, sharp.T)):
                widths_px, is_edge = _edges_along_rows(np.ascontiguousarray(picture))
                place[is_edge] = 1 / widths_px[is_edge]
            words = "blurred" if widths[index] >= self.settings.blurred_from_px else "not blurred"
            pictures.append(captioned(luma, f"{words}: edges of {widths[index]:.2f} px"))
            pictures.append(captioned(heat(cv2.dilate(sharp, np.ones((3, 3))), 1.0), "red: edges of 1 px"))
        return sheet(pictures)


def edge_width_px(luma: np.ndarray) -> float:
    """Width of the sharpest tenth of the edges of uint8 [H, W], across or down, whichever is worse; 0 without edges."""
    found = []
    for picture in (luma[::EVERY_LINE], luma.T[::EVERY_LINE]):
        widths_px, is_edge = _edges_along_rows(np.ascontiguousarray(picture))
        if is_edge.sum() >= MIN_EDGES:
            found.append(float(np.quantile(widths_px[is_edge], SHARPEST_SHARE)))
    return max(found, default=0.0)


def _edges_along_rows(luma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Width float32 [H, W] of what lies around each pixel of a row, and which pixels are an edge's steepest."""
    window = np.ones((1, WINDOW_PX), np.uint8)
    contrast = cv2.subtract(cv2.dilate(luma, window), cv2.erode(luma, window))
    steps = np.zeros_like(luma)
    steps[:, 1:] = cv2.absdiff(luma[:, 1:], luma[:, :-1])
    is_edge = (contrast >= MIN_CONTRAST) & (steps == cv2.dilate(steps, window))
    return contrast / np.maximum(steps, 1).astype(np.float32), is_edge
