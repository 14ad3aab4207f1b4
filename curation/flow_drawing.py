"""Pictures of motion for people: flow as arrows over frames, and numbers over time as a graph.

    flow_sheet(clip, flow, vectors, texts)  -> frames of at most 12 pairs, arrows, one line of text each
    graph({"name": values}, times_s, width, unit)-> lines over time, with a legend
All are uint8 BGR [H, W, 3].
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from curation.drawing import DARK, GREEN, RED, WHITE, captioned, sheet, spread
from curation.flow import GRID_STEP_PX, ClipFlow
from curation.scorer import ClipFrames

MOST_PAIRS = 12
PICTURE_WIDTH = 400
ARROW_STEP = 3  # one arrow in so many vectors each way
ARROW_S = 0.2  # an arrow is as long as the way in this time
FAST = 1.0  # short sides per second that are drawn in full red
LINE_COLOURS = (GREEN, RED, (240, 180, 60), (80, 200, 240), (220, 120, 220), WHITE)
GRAPH_HEIGHT = 240
MARGIN_PX = 24


def flow_sheet(
    clip: ClipFrames, flow: ClipFlow, vectors: np.ndarray, texts: Sequence[str], columns: int = 4
) -> np.ndarray:
    """Frames with `vectors` (float [P, R, C, 2], short sides per second) and the text of their pair."""
    pictures = []
    for pair in spread(len(flow.first), MOST_PAIRS):
        frame = int(flow.first[pair])
        time_s = clip.times_s[frame] - clip.times_s[0]
        pictures.append(
            captioned(
                with_arrows(clip.luma[frame], vectors[pair], flow.short_side_px), f"{time_s:.1f} s  {texts[pair]}"
            )
        )
    return sheet(pictures, columns, PICTURE_WIDTH)


def with_arrows(luma: np.ndarray, vectors: np.ndarray, short_side_px: int) -> np.ndarray:
    """The picture, `PICTURE_WIDTH` wide, with one of the flow's vectors [R, C, 2] in `ARROW_STEP` each way."""
    offset = min(GRID_STEP_PX // 2, (short_side_px - 1) // 2) + 0.5
    rows, columns = (np.arange(0, size, ARROW_STEP) for size in vectors.shape[:2])
    x, y = np.meshgrid(columns * GRID_STEP_PX + offset, rows * GRID_STEP_PX + offset)
    places = np.stack([x / luma.shape[1], y / luma.shape[0]], axis=-1).reshape(-1, 2)
    return _drawn(luma, places, vectors[rows][:, columns].reshape(-1, 2))


def with_vectors(luma: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """The picture, `PICTURE_WIDTH` wide, with the codec's vectors (as `Frame.vectors`)."""
    return _drawn(luma, vectors[:, :2], vectors[:, 2:4])


def _drawn(luma: np.ndarray, places_N2: np.ndarray, vectors_N2: np.ndarray) -> np.ndarray:
    """Arrows at places in shares of width and height, short sides per second; the faster, the redder."""
    size = (PICTURE_WIDTH, max(1, round(luma.shape[0] * PICTURE_WIDTH / luma.shape[1])))
    picture = cv2.cvtColor(cv2.resize(np.ascontiguousarray(luma), size), cv2.COLOR_GRAY2BGR)
    starts = (places_N2 * size).round().astype(int)
    ends = (places_N2 * size + vectors_N2 * (ARROW_S * min(size))).round().astype(int)
    haste = np.minimum(1, np.hypot(vectors_N2[:, 0], vectors_N2[:, 1]) / FAST)[:, None]
    colours = (1 - haste) * np.array(GREEN) + haste * np.array(RED)
    for start, end, colour in zip(starts.tolist(), ends.tolist(), colours.tolist(), strict=True):
        cv2.arrowedLine(picture, start, end, colour, 1, cv2.LINE_AA, tipLength=0.3)
    return picture


def graph(lines: Mapping[str, np.ndarray], times_s: np.ndarray, width: int, unit: str) -> np.ndarray:
    """Each line's values at `times_s` on one scale, with the names, the range and the unit below."""
    height = GRAPH_HEIGHT
    picture = np.full((height, width, 3), DARK, np.uint8)
    everything = np.concatenate([np.ravel(values) for values in lines.values()])
    low, high = float(min(everything.min(), 0)), float(max(everything.max(), 0))
    span, span_s = max(high - low, 1e-6), max(float(np.ptp(times_s)), 1e-6)
    x = MARGIN_PX + (times_s - times_s[0]) / span_s * (width - 2 * MARGIN_PX)
    zero = round(height - MARGIN_PX + low / span * (height - 2 * MARGIN_PX))
    cv2.line(picture, (0, zero), (width, zero), (90, 90, 90), 1)
    for index, (name, values) in enumerate(lines.items()):
        y = height - MARGIN_PX - (values - low) / span * (height - 2 * MARGIN_PX)
        colour = LINE_COLOURS[index % len(LINE_COLOURS)]
        points = np.stack([x, y], axis=1).round().astype(np.int32)
        cv2.polylines(picture, [points], False, colour, 1, cv2.LINE_AA)
        cv2.putText(
            picture, name, (MARGIN_PX + 190 * index, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA
        )
    return captioned(picture, f"{low:.3f} to {high:.3f} {unit}, {span_s:.1f} s")
