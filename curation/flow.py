"""Dense optical flow of a clip and the camera's share of it, computed once for all scorers of motion.

    luma [T, H, W] --DIS, pairs of neighbours--> ClipFlow: vectors [P, R, C, 2], one in 4 x 4 px
                                                    |
                                  robust affine fit per pair, all pairs at once
                                                    v
                            GlobalMotion: translation, zoom, rotation, inliers, residuals

Flow is Kroeger et al. 2016, "Fast Optical Flow using Dense Inverse Search", ultrafast preset, at 144 lines: 0.3 ms a
pair. That preset works at a quarter of the size and enlarges, so every fourth vector loses nothing, and a clip of 100
pairs keeps 1.8 MB. The fit is iteratively reweighted least squares (Geman-McClure weights) on every third of those
vectors each way, which leaves things that move over up to a fifth of the picture out of account, at an eighth of the
cost of the flow.

Units: everything is in short sides of the picture and seconds. x runs right, y down, the origin is the picture's
centre. Speeds are those of the picture: a camera that moves left gives x above 0. `zoom` is the rate at which the
picture grows (0.1: 10 % a second), `rotation` in radians per second, above 0 clockwise as seen.

Legend: P pairs, R x C grid of vectors, N vectors of a pair in one row.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from pydantic import BaseModel, Field

from curation.scorer import ClipFrames

FLOW_LINES = 144  # short side that flow is computed at
GRID_STEP_PX = 4
FIT_STEP = 3  # every third vector each way enters the fit
FIT_ROUNDS = 6
NOISE_PX = 0.1  # what DIS gives for two noisy pictures of the same thing
INLIER_PX = 0.25
INLIER_SHARE = 0.1  # of the fitted speed: parallax and lens distortion stay inliers up to this
TEXTURED_LEVELS = 2.0  # mean step between neighbouring pixels, of 255, from which flow is seen and not guessed
LEAST_TEXTURED = 0.05  # share of cells; below this the guesses are taken too
SMALLEST_SIDE_PX = 12  # DIS takes no less


class FlowSettings(BaseModel, frozen=True, extra="forbid"):
    fps: float = Field(default=10.0, gt=0, description="frames looked at per second; lower loses fast motion")
    max_gap_s: float = Field(default=0.3, gt=0, description="frames further apart than this are not compared")

    @property
    def flow_version(self) -> str:
        return f"{self.fps:g}fps-{self.max_gap_s:g}s"


@dataclass(frozen=True)
class ClipFlow:
    """Flow between neighbouring frames. Pair p goes from frame `first[p]` to the next, `steps_s[p]` later."""

    vectors: np.ndarray  # float32 [P, R, C, 2], x and y, short sides per second
    textured: np.ndarray  # bool [P, R, C], where there is something to see move
    x: np.ndarray  # float32 [C], short sides right of the centre
    y: np.ndarray  # float32 [R], short sides below the centre
    first: np.ndarray  # int [P]
    steps_s: np.ndarray  # float64 [P]
    short_side_px: int

    @property
    def speeds(self) -> np.ndarray:
        """float32 [P, R, C], short sides per second."""
        return np.hypot(self.vectors[..., 0], self.vectors[..., 1])

    def speed_of_px(self, distance_px: float) -> np.ndarray:
        """What a shift by so many px is as a speed, float64 [P]."""
        return distance_px / self.short_side_px / self.steps_s


@dataclass(frozen=True)
class GlobalMotion:
    """The affine motion v(x, y) = translation + matrix @ (x, y) that most of a pair's picture follows."""

    translation: np.ndarray  # float64 [P, 2], short sides per second
    matrix: np.ndarray  # float64 [P, 2, 2], per second
    inliers: np.ndarray  # float64 [P], share of the textured picture that follows it
    residuals: np.ndarray  # float32 [P, R, C, 2], what is left of the vectors, short sides per second

    @property
    def zoom(self) -> np.ndarray:
        return (self.matrix[:, 0, 0] + self.matrix[:, 1, 1]) / 2

    @property
    def rotation(self) -> np.ndarray:
        return (self.matrix[:, 1, 0] - self.matrix[:, 0, 1]) / 2


def clip_flow(clip: ClipFrames, max_gap_s: float) -> ClipFlow:
    """The clip's flow, computed by the first scorer that asks. Pairs further apart than `max_gap_s` are left out.

    Raises:
        ValueError: no two frames are near enough in time, or the picture is too small.
    """
    return clip.once(("flow", max_gap_s), lambda: _computed(clip, max_gap_s))


def global_motion(clip: ClipFrames, max_gap_s: float) -> GlobalMotion:
    """The global motion of every pair of `clip_flow`, fitted by the first scorer that asks."""
    return clip.once(("global motion", max_gap_s), lambda: fit_global_motion(clip_flow(clip, max_gap_s)))


def camera_path(flow: ClipFlow, motion: GlobalMotion) -> np.ndarray:
    """Where the picture's centre has moved after each pair, float64 [P, 2], short sides."""
    return np.cumsum(motion.translation * flow.steps_s[:, None], axis=0)


def smoothed(path: np.ndarray, steps_s: np.ndarray, window_s: float) -> np.ndarray:
    """A quadratic fitted around each point of a path float64 [P, 2] through `window_s` (Savitzky and Golay 1964).

    Near the ends the window is the first or the last one that is whole; a path shorter than the window has one fit.
    """
    times_s = np.cumsum(steps_s)
    num_points = min(len(path), max(3, round(window_s / float(np.median(steps_s))) | 1))
    starts = np.clip(np.arange(len(path)) - num_points // 2, 0, len(path) - num_points)
    window = starts[:, None] + np.arange(num_points)
    since_s = times_s[window] - times_s[:, None]
    basis = since_s[..., None] ** np.arange(3)
    normal = basis.transpose(0, 2, 1) @ basis + 1e-9 * np.eye(3)
    return np.linalg.solve(normal, basis.transpose(0, 2, 1) @ path[window])[:, 0]


def _computed(clip: ClipFrames, max_gap_s: float) -> ClipFlow:
    steps_s = np.diff(clip.times_s)
    first = np.flatnonzero(steps_s <= max_gap_s)
    rows, columns = clip.luma.shape[1:]
    if not len(first):
        raise ValueError(
            f"{len(clip.times_s)} frames over {np.ptp(clip.times_s):.2f} s have no two within "
            f"{max_gap_s:g} s of each other, so motion cannot be told"
        )
    if max(rows, columns) < SMALLEST_SIDE_PX:
        raise ValueError(f"pictures of {columns}x{rows} px are too small for optical flow")
    short_side_px = min(rows, columns)
    offset = min(GRID_STEP_PX // 2, (short_side_px - 1) // 2)
    grid = (slice(offset, None, GRID_STEP_PX), slice(offset, None, GRID_STEP_PX))
    x, y = np.arange(columns, dtype=np.float32)[grid[1]], np.arange(rows, dtype=np.float32)[grid[0]]
    vectors = np.empty((len(first), len(y), len(x), 2), np.float32)
    textured = np.empty((len(first), len(y), len(x)), bool)
    dis: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    for pair, index in enumerate(first):
        before, after = (np.ascontiguousarray(clip.luma[each]) for each in (index, index + 1))  # a crop is a view
        vectors[pair] = dis.calc(before, after, None)[grid] / (short_side_px * steps_s[index])
        textured[pair] = _is_textured(before, (len(x), len(y)))
    return ClipFlow(
        vectors=vectors,
        textured=textured,
        x=(x + 0.5 - columns / 2) / short_side_px,
        y=(y + 0.5 - rows / 2) / short_side_px,
        first=first,
        steps_s=steps_s[first],
        short_side_px=short_side_px,
    )


def _is_textured(luma: np.ndarray, grid_size: tuple[int, int]) -> np.ndarray:
    """Whether neighbouring pixels differ, bool [R, C]."""
    steps = cv2.max(cv2.absdiff(luma[:-1, 1:], luma[:-1, :-1]), cv2.absdiff(luma[1:, :-1], luma[:-1, :-1]))
    return cv2.resize(steps, grid_size, interpolation=cv2.INTER_AREA) >= TEXTURED_LEVELS


def fit_global_motion(flow: ClipFlow) -> GlobalMotion:
    """Affine motion of every pair by iteratively reweighted least squares, all pairs at once."""
    num_pairs = len(flow.vectors)
    part = (slice(None), slice(FIT_STEP // 2, None, FIT_STEP), slice(FIT_STEP // 2, None, FIT_STEP))
    if min(flow.vectors.shape[1:3]) <= FIT_STEP:
        part = (slice(None),) * 3
    basis_N3 = _basis(flow.x[part[2]], flow.y[part[1]])
    vectors_PN2 = flow.vectors[part].reshape(num_pairs, -1, 2)
    seen_PN = flow.textured[part].reshape(num_pairs, -1)
    seen_PN = seen_PN | (seen_PN.mean(axis=1, keepdims=True) < LEAST_TEXTURED)
    fitted = np.zeros((num_pairs, 3, 2), np.float32)
    fitted[:, 0] = np.stack([_median_seen(vectors_PN2[..., axis], seen_PN) for axis in range(2)], axis=-1)
    noise_P = flow.speed_of_px(NOISE_PX).astype(np.float32)
    for _ in range(FIT_ROUNDS):
        left_PN = _lengths(vectors_PN2 - basis_N3 @ fitted)
        scale_P = np.maximum(3 * _median_seen(left_PN, seen_PN), noise_P)
        weights_PN = seen_PN / np.square(1 + np.square(left_PN / scale_P[:, None]))
        fitted = _weighted_fit(basis_N3, vectors_PN2, weights_PN)
    left_PN, speed_PN = _lengths(vectors_PN2 - basis_N3 @ fitted), _lengths(basis_N3 @ fitted)
    limit_PN = np.maximum(flow.speed_of_px(INLIER_PX)[:, None], INLIER_SHARE * speed_PN)
    everywhere = (_basis(flow.x, flow.y) @ fitted).reshape(flow.vectors.shape)
    return GlobalMotion(
        translation=fitted[:, 0].astype(np.float64),
        matrix=fitted[:, 1:].transpose(0, 2, 1).astype(np.float64),
        inliers=np.sum(seen_PN & (left_PN <= limit_PN), axis=1) / seen_PN.sum(axis=1),
        residuals=flow.vectors - everywhere,
    )


def _basis(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """1, x and y of every point of the grid, float32 [N, 3]."""
    at_y, at_x = np.meshgrid(y, x, indexing="ij")
    return np.stack([np.ones_like(at_x), at_x, at_y], axis=-1).reshape(-1, 3)


def _lengths(vectors: np.ndarray) -> np.ndarray:
    return np.hypot(vectors[..., 0], vectors[..., 1])


def _median_seen(values_PN: np.ndarray, seen_PN: np.ndarray) -> np.ndarray:
    """The median of each row's values that are seen, [P]; at least one is."""
    ordered = np.sort(np.where(seen_PN, values_PN, np.float32(np.inf)), axis=1)
    return np.take_along_axis(ordered, (seen_PN.sum(axis=1, keepdims=True) - 1) // 2, axis=1)[:, 0]


def _weighted_fit(basis_N3: np.ndarray, vectors_PN2: np.ndarray, weights_PN: np.ndarray) -> np.ndarray:
    products_N9 = (basis_N3[:, :, None] * basis_N3[:, None, :]).reshape(len(basis_N3), 9)
    normal_P33 = (weights_PN @ products_N9).reshape(-1, 3, 3).astype(np.float64)
    normal_P33 += 1e-6 * (1 + np.trace(normal_P33, axis1=1, axis2=2))[:, None, None] * np.eye(3)
    right_P32 = np.stack([(weights_PN * vectors_PN2[..., axis]) @ basis_N3 for axis in range(2)], axis=-1)
    return np.linalg.solve(normal_P33, right_P32).astype(np.float32)
