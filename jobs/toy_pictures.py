"""Pictures of the tiny run: samples under their captions, and the curves of its stages."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import cv2
import numpy as np

from curation.drawing import png
from jobs.shapes import Scene
from jobs.shapes_score import Seen

CELL_PX, TEXT_PX, GAP_PX = 64, 14, 4
FRAMES_SHOWN, COLUMNS, SHOWN = 4, 3, 24
GOOD, BAD, INK, LINE = (70, 200, 90), (230, 90, 70), (225, 225, 225), (90, 160, 240)


def contact_sheet(scenes: Sequence[Scene], samples: Sequence[np.ndarray], seen: Sequence[Seen]) -> bytes:
    """A PNG of the first and last frames of samples and two between, each row under its prompt.

    A prompt is green where the detector saw all that it asks for, else red with what was seen.
    """
    cells = [_cell(*row) for row in list(zip(scenes, samples, seen, strict=True))[:: max(1, len(scenes) // SHOWN)]]
    cells += [np.zeros_like(cells[0])] * (-len(cells) % COLUMNS)
    rows = [np.concatenate(cells[start : start + COLUMNS], axis=1) for start in range(0, len(cells), COLUMNS)]
    return png(np.concatenate(rows)[..., ::-1])


def _cell(scene: Scene, frames: np.ndarray, seen: Seen) -> np.ndarray:
    moving = len(frames) > 1
    places = np.linspace(0, len(frames) - 1, FRAMES_SHOWN if moving else 1).round().astype(int)
    pictures = [cv2.resize(frames[i], (CELL_PX, CELL_PX), interpolation=cv2.INTER_NEAREST) for i in places]
    row = np.concatenate(pictures, axis=1)
    wanted = (scene.colour, scene.shape, scene.direction if moving else "")
    right = wanted == (seen.colour, seen.shape, seen.direction)
    text = scene.caption(moving)
    if not right:
        text += f" ({' '.join(filter(None, (seen.colour, seen.shape, seen.direction))) or 'nothing'})"
    title = np.zeros((TEXT_PX, row.shape[1], 3), np.uint8)
    cv2.putText(title, text, (2, 10), cv2.FONT_HERSHEY_SIMPLEX, 0.3, GOOD if right else BAD, 1, cv2.LINE_AA)
    return np.pad(np.concatenate((title, row)), ((0, GAP_PX), (0, GAP_PX), (0, 0)))


def curves(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """A PNG with one panel per stage: training losses as dots, held-out losses as a line."""
    by_stage: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        by_stage[row["stage"]].append(row)
    panels = [_panel(stage, own) for stage, own in by_stage.items()]
    panels += [np.zeros_like(panels[0])] * (-len(panels) % COLUMNS)
    lines = [np.concatenate(panels[start : start + COLUMNS], axis=1) for start in range(0, len(panels), COLUMNS)]
    return png(np.concatenate(lines)[..., ::-1])


def _panel(stage: str, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    width, height, edge = 260, 130, 16
    panel = np.full((height, width, 3), 24, np.uint8)
    steps = [(row["step"], row["loss"]) for row in rows if row["kind"] == "step"]
    held = [(row["step"], row["loss"]) for row in rows if row["kind"] == "held_out"]
    values = [loss for _, loss in (*steps, *held)]
    low, high, last = min(values), max(values), max(1, *(step for step, _ in (*steps, *held)))

    def place(step: int, loss: float) -> tuple[int, int]:
        x = edge + (width - 2 * edge) * step / last
        y = height - edge - (height - 3 * edge) * (loss - low) / max(high - low, 1e-9)
        return round(x), round(y)

    for step, loss in steps:
        cv2.circle(panel, place(step, loss), 1, LINE, -1)
    points = [place(*one) for one in held]
    for start, end in pairwise(points):
        cv2.line(panel, start, end, GOOD, 1, cv2.LINE_AA)
    said = f"{stage}: {held[0][1]:.3f} -> {held[-1][1]:.3f}" if held else stage
    cv2.putText(panel, said, (edge, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.38, INK, 1, cv2.LINE_AA)
    cv2.putText(panel, f"{high:.3g}", (edge, 2 * edge), cv2.FONT_HERSHEY_SIMPLEX, 0.3, INK, 1, cv2.LINE_AA)
    cv2.putText(panel, f"{low:.3g}", (edge, height - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.3, INK, 1, cv2.LINE_AA)
    return panel
