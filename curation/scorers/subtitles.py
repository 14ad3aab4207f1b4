"""Subtitles: the share of the frames read that have a line of text along their bottom or top; 0 to 1.

    a few frames --curation.text--> level lines --in the lower or upper quarter, about the middle, wide enough--> frames

Only the part that the crop keeps counts, so a clip whose subtitles were cut off has 0. A line counts if it is at least
a tenth of the picture wide and centred within a quarter of it: names of shops and marks in corners do not. With three
frames read the values are 0, 0.33, 0.67 and 1; where the band lies is drawn by `draw`.
"""

from typing import ClassVar

import numpy as np
from pydantic import BaseModel

from curation.drawing import captioned, marked, sheet
from curation.scorer import ClipFrames, Direction
from curation.text import ReadFrame, TextJudge, TextLine, TextSettings, clip_text, in_kept_part, text_lines

ZONE = 0.25  # of the height
MIN_WIDTH = 0.1
MAX_OFF_CENTRE = 0.25


class SubtitlesSettings(TextSettings, frozen=True, extra="forbid"):
    pass


class SubtitlesScorer(TextJudge):
    settings_class: ClassVar[type[BaseModel]] = SubtitlesSettings
    direction: ClassVar[Direction] = "lower is better"
    unit: ClassVar[str] = "share of frames"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0

    def __init__(self, settings: SubtitlesSettings) -> None:
        super().__init__(settings)
        self.version = f"1.{self._reader.version}"

    def __call__(self, clip: ClipFrames) -> float:
        return float(np.mean([bool(_bands(clip, frame)) for frame in clip_text(clip, self._reader)]))

    def draw(self, clip: ClipFrames) -> np.ndarray:
        assert clip.bgr is not None
        pictures = []
        for frame in clip_text(clip, self._reader):
            rows = (np.arange(clip.luma.shape[1]) + 0.5) / clip.luma.shape[1]
            bands = _bands(clip, frame)
            within = np.zeros(clip.luma.shape[1:], bool)
            for band in bands:
                within[(band.top <= rows) & (rows <= band.bottom)] = True
            heights = ", ".join(f"{band.top:.2f}-{band.bottom:.2f}" for band in bands)
            pictures.append(captioned(marked(clip.bgr[frame.index], within), f"band {heights}" if bands else "no band"))
        return sheet(pictures, columns=2, width=640)


def _bands(clip: ClipFrames, frame: ReadFrame) -> list[TextLine]:
    """Lines that are subtitles, in shares of the kept part."""
    lines = []
    for line in text_lines(frame.boxes):
        (left, top), (right, bottom) = in_kept_part(clip, [(line.left, line.top), (line.right, line.bottom)]).tolist()
        lines.append(TextLine(left, top, right, bottom))
    return [line for line in lines if _is_subtitle(line)]


def _is_subtitle(line: TextLine) -> bool:
    across, down = line.middle
    is_outer = 0 <= down <= ZONE or 1 - ZONE <= down <= 1
    return is_outer and line.right - line.left >= MIN_WIDTH and abs(across - 0.5) <= MAX_OFF_CENTRE
