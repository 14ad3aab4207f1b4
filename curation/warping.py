"""One frame redrawn from another along the flow between them: what motion alone explains.

    before, after --dense_flow--> vectors [H, W, 2] px     `after` at x + vectors shows what `before` has at x
    after, vectors --pulled--> what `before` would look like if nothing but motion had happened
    vectors both ways --hidden--> where that cannot be: left the picture, or covered

Flow is DIS (Kroeger et al. 2016), ultrafast preset as in `curation.flow`, 1.5 ms a pair at 256 lines. A texture that
moves is redrawn with an error of 0.33 grey levels, by the medium preset of 0.16; but that one takes 21 ms and refines
flow by brightness, so that a lamp that flickers passes for motion, while patches less their means do not. Places that
leave the picture or are covered fail the check of Sundaram et al. 2010 ("Dense Point Trajectories by GPU-accelerated
Large Displacement Optical Flow", equation 5): there, the way back does not lead back.
"""

from typing import Any

import cv2
import numpy as np

from curation.flow import SMALLEST_SIDE_PX

BACK_SHARE, BACK_PX2 = 0.01, 0.5  # of equation 5: share of both squared lengths, and px^2


def dense_flow(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Where each pixel of `before` went, float32 [H, W, 2], x right and y down in px; luma uint8 [H, W].

    Raises:
        ValueError: the pictures are too small.
    """
    if max(before.shape) < SMALLEST_SIDE_PX:
        raise ValueError(f"pictures of {before.shape[1]}x{before.shape[0]} px are too small for optical flow")
    dis: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    return dis.calc(np.ascontiguousarray(before), np.ascontiguousarray(after), None)


def pulled(picture: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Values of the picture at x + vectors, float32; its edge goes on outside."""
    rows, columns = vectors.shape[:2]
    y, x = np.meshgrid(np.arange(rows, dtype=np.float32), np.arange(columns, dtype=np.float32), indexing="ij")
    at_x, at_y = x + vectors[..., 0], y + vectors[..., 1]
    given = np.ascontiguousarray(picture, dtype=np.float32)
    return cv2.remap(given, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def hidden(forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """Where what is seen before is not seen after, bool [H, W]: outside, or covered by something else."""
    rows, columns = forward.shape[:2]
    back = np.stack([pulled(backward[..., axis], forward) for axis in range(2)], axis=-1)
    lengths = np.sum(forward**2, axis=-1) + np.sum(back**2, axis=-1)
    covered = np.sum((forward + back) ** 2, axis=-1) > BACK_SHARE * lengths + BACK_PX2
    y, x = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    at_x, at_y = x + forward[..., 0], y + forward[..., 1]
    return covered | (at_x < 0) | (at_y < 0) | (at_x > columns - 1) | (at_y > rows - 1)


def between(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The frame half way from one to the other if everything moves evenly, float32 [H, W].

    Each is drawn half of the way along the flow, then they are averaged; vectors are taken from where they start, which
    is within half a vector of where they would be needed (Jiang et al. 2018, "Super SloMo", equation 4).
    """
    vectors = dense_flow(before, after)
    return (pulled(before, -vectors / 2) + pulled(after, vectors / 2)) / 2
