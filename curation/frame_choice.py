"""The sharpest frame of a clip, for image stages: a clip's first and middle frame may be blurred, faded or in motion.

    span --scan, a few frames--> luma at 360 lines --crop, bucket's shape--> variance of the Laplacian --> the highest

HunyuanVideo picks a clear frame of every clip by OpenCV's Laplacian (report section 3.1). Only the part of the picture
that the member will show is judged. The same clip gives the same frame: candidates lie on ticks of the source's clock,
and of equally sharp ones the first is taken. Costs one small decode of the span.
"""

from dataclasses import dataclass, replace

import numpy as np

from curation.picture import crop_slices
from curation.records import Clip, Crop, Span
from curation.scorers.sharpness import laplacian_variance
from curation.source import UnreadableVideo
from curation.video import FrameSpec, Seen, scan

CANDIDATES = 16
SHORT_SIDE_PX = 360


@dataclass(frozen=True)
class ChosenFrame:
    """A frame of a source by its time; `sharpness` is the variance of the Laplacian at 360 lines."""

    pts: int
    time_s: float
    sharpness: float


def sharpest_frame(
    clip: Clip, width: int, height: int, crop: Crop | None = None, span: Span | None = None
) -> ChosenFrame:
    """The sharpest of about 16 frames of a clip, or of a part of it, spread evenly.

    Args:
        width, height: the shape that the picture will be cut to.
        crop: the part of the picture to take; default all of it.

    Raises:
        UnreadableVideo: nothing of the span decodes.
    """
    span = span or clip.span
    spec = FrameSpec(CANDIDATES / span.duration_s, SHORT_SIDE_PX)
    best: tuple[bool, float] | None = None
    chosen = None
    for seen in scan(clip.uri, [spec], span):
        sharpness = laplacian_variance(_shown(seen, clip, width, height, crop))
        rank = (not seen.stands_in, sharpness)
        if best is None or rank > best:
            best, chosen = rank, ChosenFrame(seen.frame.pts, seen.frame.time_s, sharpness)
    if chosen is None:
        raise UnreadableVideo("no decodable frame", f"{clip.uri} from {span.start_s:.3f} s to {span.end_s:.3f} s")
    return chosen


def _shown(seen: Seen, clip: Clip, width: int, height: int, crop: Crop | None) -> np.ndarray:
    """The largest centred part of the wanted shape of what the crop keeps."""
    whole = Crop(clip.clip_id, "", 0, 0, clip.width, clip.height, "")
    kept = crop or whole
    scale = min(kept.width / width, kept.height / height)
    part_width, part_height = max(1, round(width * scale)), max(1, round(height * scale))
    part = replace(
        kept,
        left=kept.left + (kept.width - part_width) // 2,
        top=kept.top + (kept.height - part_height) // 2,
        width=part_width,
        height=part_height,
    )
    return seen.frame.luma[crop_slices(part, seen.frame.luma.shape, (clip.width, clip.height))]
