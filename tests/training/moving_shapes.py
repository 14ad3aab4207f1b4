"""Packed shards of moving shapes, made on the spot: what the training tests read.

A clip shows one bright shape on a dark ground that moves in one direction; its caption says so.
"""

import io
import math
from collections.abc import Sequence

import av
import numpy as np

from curation.records import content_id
from curation.shards import ShardItem, point_to, write_shard
from curation.tables import Workspace

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 70, 230), "yellow": (230, 220, 40)}
DIRECTIONS = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1)}


def shape_frames(colour: str, direction: str, shape: str, size_px: int, num_frames: int, offset: float) -> np.ndarray:
    """uint8 [T, H, W, 3] of a disc or a square whose way leads through the middle of the frame."""
    y, x = np.mgrid[0:size_px, 0:size_px] / size_px
    frames = []
    for frame in range(num_frames):
        way = (frame - (num_frames - 1) / 2) * 0.03
        dx, dy = DIRECTIONS[direction]
        u, v = x - 0.5 - dx * way - offset * dy, y - 0.5 - dy * way - offset * dx
        inside = np.hypot(u, v) < 0.25 if shape == "disc" else np.maximum(abs(u), abs(v)) < 0.22
        ground = 40 + 40 * y[..., None] + 10 * np.sin(12 * math.pi * x[..., None])
        frames.append(np.where(inside[..., None], COLOURS[colour], ground))
    return np.clip(frames, 0, 255).astype(np.uint8)


def encode_mp4(frames: np.ndarray, frame_rate: int = 8) -> bytes:
    """H.264 yuv420p, BT.709, one closed GOP that starts at 0: like the members that `pack` writes."""
    sink = io.BytesIO()
    with av.open(sink, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=frame_rate, options={"crf": "12", "bf": "0", "threads": "1"})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        for image in frames:
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return sink.getvalue()


def shape_item(stage: str, index: int, size_px: int, num_frames: int) -> ShardItem:
    colour = list(COLOURS)[index % 4]
    direction = list(DIRECTIONS)[index // 4 % 4]
    shape = ("disc", "square")[index // 16 % 2]
    frames = shape_frames(colour, direction, shape, size_px, num_frames, offset=(index * 0.37) % 0.3 - 0.15)
    motion = f" moves {direction}" if num_frames > 1 else ""
    meta = {
        "clip_id": content_id("shape", index),
        "stage": stage,
        "width": size_px,
        "height": size_px,
        "num_frames": num_frames,
        "frame_rate": 8.0,
        "caption": {"short": f"a {colour} {shape}{motion}", "background": "striped grey", "style": "rendered"},
        "caption_by": "test",
        "kept_by": "gates",
        "scores": {},
    }
    return ShardItem(meta["clip_id"], encode_mp4(frames), meta)


def pack_items(workspace: Workspace, stage: str, items: Sequence[ShardItem], per_shard: int = 8) -> None:
    """Write the items as the current shards of a curation stage."""
    shard_ids = []
    for start in range(0, len(items), per_shard):
        part = items[start : start + per_shard]
        shard_id = content_id(stage, *(item.clip_id + str(item.video) for item in part))
        shard, members = write_shard(workspace, stage, shard_id, "bucket", part)
        workspace.table("shards").append(shard_id, [shard])
        workspace.table("shard_members").append(shard_id, members)
        shard_ids.append(shard_id)
    point_to(workspace, stage, shard_ids)


def pack_shapes(workspace: Workspace, stage: str, count: int, size_px: int = 64, num_frames: int = 1) -> None:
    pack_items(workspace, stage, [shape_item(stage, index, size_px, num_frames) for index in range(count)])
