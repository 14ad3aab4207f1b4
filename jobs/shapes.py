"""The toy set: one coloured shape that moves in one direction, drawn with its caption and packed like any other clip.

    scene number + seed --> Scene (colour, shape, direction, size, place) --frames at any size--> shards of a stage
                                 "a red disc moves left"

A scene has one clip id at every size and length, so it is held out of every stage or of none. Three shapes of equal
area, four colours, four directions: what a prompt asks for can be read off a finished video (`jobs.shapes_score`). The
same seed gives the same bytes. Coordinates are shares of the frame's side.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from curation.records import content_id
from curation.shards import ShardItem, point_to, write_shard
from curation.tables import Workspace
from curation.transcode import write_frames

COLOURS = {"red": (225, 40, 40), "green": (40, 200, 60), "blue": (50, 80, 235), "yellow": (235, 215, 40)}
SHAPES = ("disc", "bar", "pillar")  # corners and edges take a tiny network longer than the minutes there are
DIRECTIONS = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1)}
FRAME_RATE = 8.0
WAY_PER_FRAME = 0.04  # at most so far; a clip's whole way is no longer than LONGEST_WAY
LONGEST_WAY = 0.32


@dataclass(frozen=True)
class Scene:
    """What one clip shows. `x`, `y` is the middle of the way, `radius` that of a disc of the shape's area."""

    scene_id: str
    colour: str
    shape: str
    direction: str
    x: float
    y: float
    radius: float
    ground: int  # grey level, 0 to 255

    def caption(self, moving: bool) -> str:
        """What a person would say of it; a still has no direction."""
        return caption_of(self.colour, self.shape, self.direction if moving else "")

    @property
    def is_clear(self) -> bool:
        """Whether the simulated annotator keeps it for fine-tuning: the shape is large and stands out."""
        return self.radius >= 0.24 and self.ground <= 60


def caption_of(colour: str, shape: str, direction: str = "") -> str:
    return f"a {colour} {shape}" + (f" moves {direction}" if direction else "")


def scene_of(number: int, seed: int) -> Scene:
    """Scenes run through all 48 combinations in turn; the rest is drawn."""
    rng = np.random.default_rng([seed, number])
    colour = list(COLOURS)[number % 4]
    direction = list(DIRECTIONS)[number // 4 % 4]
    shape = SHAPES[number // 16 % 3]
    along, across = rng.uniform(-0.02, 0.02), rng.uniform(-0.15, 0.15)
    dx, dy = DIRECTIONS[direction]
    x, y = 0.5 + abs(dx) * along + abs(dy) * across, 0.5 + abs(dy) * along + abs(dx) * across
    radius, ground = float(rng.uniform(0.21, 0.27)), int(rng.integers(25, 90))
    return Scene(content_id("shapes", seed, number), colour, shape, direction, float(x), float(y), radius, ground)


def draw(scene: Scene, size_px: int, num_frames: int) -> np.ndarray:
    """The scene as uint8 RGB [num_frames, size_px, size_px, 3]; one frame is a still at the middle of the way."""
    centres = (np.arange(size_px) + 0.5) / size_px
    x, y = np.meshgrid(centres, centres)
    ground = np.repeat((scene.ground * (0.75 + 0.5 * y))[..., None], 3, axis=2)
    step = min(WAY_PER_FRAME, LONGEST_WAY / max(1, num_frames - 1))
    dx, dy = DIRECTIONS[scene.direction]
    frames = []
    for frame in range(num_frames):
        way = (frame - (num_frames - 1) / 2) * step
        distance = DISTANCES[scene.shape](x - scene.x - dx * way, y - scene.y - dy * way, scene.radius)
        cover = np.clip(0.5 - distance * size_px, 0, 1)[..., None]  # edges are one pixel wide
        frames.append(ground + cover * (np.array(COLOURS[scene.colour]) - ground))
    return np.round(frames).astype(np.uint8)


def _disc(x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    return np.hypot(x, y) - radius


def _bar(x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    """A rectangle twice as wide as it is high."""
    half_height = radius * math.sqrt(math.pi / 8)
    return np.maximum(abs(x) - 2 * half_height, abs(y) - half_height)


def _pillar(x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    """A bar on its end."""
    return _bar(y, x, radius)


DISTANCES: dict[str, Callable[[np.ndarray, np.ndarray, float], np.ndarray]] = {
    "disc": _disc,
    "bar": _bar,
    "pillar": _pillar,
}
"""Signed distance to the edge, negative inside, of a shape at the origin; `y` points down."""


def shape_item(scene: Scene, stage: str, size_px: int, num_frames: int, kept_by: str = "gates") -> ShardItem:
    """A scene as a member of a shard."""
    meta = {
        "clip_id": scene.scene_id,
        "stage": stage,
        "width": size_px,
        "height": size_px,
        "num_frames": num_frames,
        "frame_rate": FRAME_RATE,
        "caption": {"short": scene.caption(num_frames > 1)},
        "caption_by": "shapes",
        "kept_by": kept_by,
        "scores": {},
    }
    return ShardItem(scene.scene_id, write_frames(iter(draw(scene, size_px, num_frames)), FRAME_RATE), meta)


def pack_items(workspace: Workspace, stage: str, items: Iterable[ShardItem], per_shard: int = 256) -> None:
    """Write members, in the order of their ids, as the current shards of a stage; what is there already stays."""
    ordered = sorted(items, key=lambda item: item.clip_id)
    written = workspace.table("shards").stems()
    shard_ids = []
    for start in range(0, len(ordered), per_shard):
        part: Sequence[ShardItem] = ordered[start : start + per_shard]
        shard_id = f"{stage}-{content_id(stage, *(f'{item.clip_id} {item.meta} {item.video!r}' for item in part))}"
        shard_ids.append(shard_id)
        if shard_id in written:
            continue
        shard, members = write_shard(workspace, stage, shard_id, _bucket(part[0]), part)
        workspace.table("shard_members").append(shard_id, members)
        workspace.table("shards").append(shard_id, [shard])
    point_to(workspace, stage, shard_ids)


def _bucket(item: ShardItem) -> str:
    return f"{item.meta['width']}x{item.meta['height']}x{item.meta['num_frames']}@{item.meta['frame_rate']:g}"
