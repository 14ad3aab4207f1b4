"""Text overlay: the share of the picture covered by text that can be read, in the frame that has most of it.

    bgr at 360 lines --PP-OCRv4 detection--> boxes --recognition--> boxes that read as text --> area / picture

Subtitles, titles and watermarks teach a generator to draw letters. Detection alone also fires on faces and windows
(0.10 of a picture on one real clip); asking that a box reads as at least two characters removed every false one there,
and costs little, since most frames have no box. About 90 ms a frame without text and 230 ms with two lines of it on one
core, so few frames are looked at. The models come inside the package `rapidocr-onnxruntime`.
"""

import importlib.util
from typing import Any, ClassVar

import cv2
import numpy as np
from pydantic import BaseModel, Field

from curation.scorer import ClipFrames, Direction
from curation.video import FrameSpec

MIN_CHARACTERS = 2


class TextOverlaySettings(BaseModel, frozen=True, extra="forbid"):
    fps: float = Field(default=0.5, gt=0, description="frames looked at per second; the first is always looked at")
    short_side_px: int = Field(default=360, ge=64, description="size at which text is sought; 480 takes twice as long")
    min_confidence: float = Field(default=0.5, ge=0, le=1, description="of the reading, from which on it is text")
    num_threads: int = Field(default=1, ge=1, description="threads of the network; as many as the worker has cores")


class TextOverlayScorer:
    settings_class: ClassVar[type[BaseModel]] = TextOverlaySettings
    direction: ClassVar[Direction] = "lower is better"
    unit: ClassVar[str] = "share of the picture"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 0.2

    def __init__(self, settings: TextOverlaySettings) -> None:
        self.settings = settings
        self.frames = FrameSpec(settings.fps, settings.short_side_px, planes="bgr")
        self.version = f"1/{settings.fps:g}fps-{settings.short_side_px}px-{settings.min_confidence:g}"
        self._reader: Any = None

    def missing(self) -> str | None:
        if importlib.util.find_spec("rapidocr_onnxruntime") is None:
            return (
                "the package rapidocr-onnxruntime is not installed: pip install --no-deps rapidocr-onnxruntime==1.4.4 "
                "(--no-deps, because it asks for an opencv-python that overwrites opencv-python-headless)"
            )
        return None

    def load(self) -> None:
        from rapidocr_onnxruntime import RapidOCR

        self._reader = RapidOCR(
            use_cls=False,
            det_limit_side_len=self.settings.short_side_px,
            text_score=self.settings.min_confidence,
            intra_op_num_threads=self.settings.num_threads,
            inter_op_num_threads=1,
        )

    def __call__(self, clip: ClipFrames) -> float:
        assert clip.bgr is not None
        return max(self._covered(picture) for picture in clip.bgr)

    def _covered(self, picture: np.ndarray) -> float:
        found, _ = self._reader(picture)
        mask = np.zeros(picture.shape[:2], np.uint8)
        for box, text, _ in found or []:
            if len(text.strip()) >= MIN_CHARACTERS:
                cv2.fillPoly(mask, [np.array(box, np.int32)], 1)
        return float(mask.mean())
