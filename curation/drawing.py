"""Parts of pictures that scorers draw for people: frames side by side, marked regions, colours of motion.

All pictures are uint8 BGR [H, W, 3]. `dailies score --scorer NAME --clip ID --show` writes what comes out.
"""

from collections.abc import Sequence

import cv2
import numpy as np

GREEN, RED, WHITE, DARK = (80, 200, 80), (70, 70, 235), (245, 245, 245), (32, 32, 32)
CAPTION_LINES = 22


def as_bgr(picture: np.ndarray) -> np.ndarray:
    """Luma [H, W] or BGR [H, W, 3] as a BGR copy."""
    return cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR) if picture.ndim == 2 else picture.copy()


def captioned(picture: np.ndarray, text: str) -> np.ndarray:
    """The picture with one line of text below it."""
    strip = np.full((CAPTION_LINES, picture.shape[1], 3), DARK, np.uint8)
    cv2.putText(strip, text, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, WHITE, 1, cv2.LINE_AA)
    return np.vstack([as_bgr(picture), strip])


def marked(picture: np.ndarray, where: np.ndarray, colour: tuple[int, int, int] = RED) -> np.ndarray:
    """The picture with the pixels of a boolean [H, W] mask tinted."""
    tinted = as_bgr(picture)
    tinted[where] = (0.4 * tinted[where] + 0.6 * np.array(colour)).astype(np.uint8)
    return tinted


def heat(values: np.ndarray, high: float) -> np.ndarray:
    """Values [H, W] as colours: dark blue at 0, red at `high` and above."""
    return cv2.applyColorMap(np.clip(values * (255 / high), 0, 255).astype(np.uint8), cv2.COLORMAP_TURBO)


def sheet(pictures: Sequence[np.ndarray], columns: int = 4, width: int = 360) -> np.ndarray:
    """Pictures in rows, each scaled to `width` px, on a dark ground."""
    scaled = []
    for picture in pictures:
        height = max(1, round(picture.shape[0] * width / picture.shape[1]))
        scaled.append(cv2.resize(as_bgr(picture), (width, height), interpolation=cv2.INTER_AREA))
    tallest = max(picture.shape[0] for picture in scaled)
    padded = [
        cv2.copyMakeBorder(picture, 0, tallest - picture.shape[0] + 4, 0, 4, cv2.BORDER_CONSTANT, value=DARK)
        for picture in scaled
    ]
    columns = min(columns, len(padded))
    padded += [np.full_like(padded[0], DARK[0])] * (-len(padded) % columns)
    return np.vstack([np.hstack(padded[start : start + columns]) for start in range(0, len(padded), columns)])


def spread(count: int, most: int) -> list[int]:
    """At most `most` indices spread evenly over `count` things, first and last among them."""
    return sorted({round(index) for index in np.linspace(0, count - 1, min(count, most))})


def png(picture: np.ndarray) -> bytes:
    """A picture as a PNG file."""
    done, data = cv2.imencode(".png", np.ascontiguousarray(picture))
    assert done, "cv2 encodes any uint8 picture"
    return data.tobytes()
