"""The clips of the tiny run: scenes of shapes and cuts of real footage, packed at every size that its stages read.

    scenes 0 .. n --------------------------------------> shapes_<set>   image, image_large, short, long, large, sft
    footage (yours, or three rendered films) --cuts-----> real_<set>     the same sizes, caption: what the film is of

A clip has one id in every set, so it is held out of every stage or of none. The verdicts of the fine-tuning set are
simulated: a scene is kept when its shape is large and stands out from the ground, a cut when its middle is sharp.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from curation.records import Clip, UserError, content_id
from curation.shards import ShardItem
from curation.source import UnreadableVideo
from curation.split import SplitSettings, split_video
from curation.tables import Workspace
from curation.transcode import write_frames
from curation.video import read_frames
from jobs.demo_films import FILMS
from jobs.footage import FootageSettings, list_footage
from jobs.shapes import FRAME_RATE, pack_items, scene_of, shape_item
from jobs.toy_settings import ClipSet, ToySettings

SHAPES, REAL = "shapes", "real"
SIMULATED = "people (simulated)"
CUTS_PER_FILE = 6


@dataclass(frozen=True)
class Cut:
    """A stretch of real footage, long enough for the longest set."""

    clip: Clip
    words: str

    @property
    def cut_id(self) -> str:
        """Its own: what `Clip.part` gives keeps the id of the whole."""
        return content_id(self.clip.clip_id, self.clip.start_pts, self.clip.end_pts)


def pack_shapes(workspace: Workspace, settings: ToySettings, seed: int) -> None:
    """Draw and pack the scenes of every set."""
    for name, size in settings.sets.items():
        scenes = [scene_of(number, seed) for number in range(size.scenes or settings.scenes)]
        kept = [scene for scene in scenes if scene.is_clear or not size.chosen]
        by = SIMULATED if size.chosen else "gates"
        stage = f"{SHAPES}_{name}"
        pack_items(workspace, stage, (shape_item(scene, stage, size.size_px, size.num_frames, by) for scene in kept))


def pack_cuts(workspace: Workspace, settings: ToySettings, cuts: list[Cut]) -> None:
    """Read, resize and pack the cuts of every set; a still is the middle frame."""
    largest = max(size.size_px for size in settings.sets.values())
    longest = max(size.num_frames for size in settings.sets.values())
    frames = {cut.cut_id: _frames(cut.clip, largest, longest) for cut in cuts}
    sharp = {clip_id: _sharpness(pixels) for clip_id, pixels in frames.items()}
    limit = float(np.median(list(sharp.values())))
    for name, size in settings.sets.items():
        kept = [cut for cut in cuts if sharp[cut.cut_id] >= limit or not size.chosen]
        stage, by = f"{REAL}_{name}", SIMULATED if size.chosen else "gates"
        pack_items(workspace, stage, [_cut_item(cut, frames[cut.cut_id], stage, size, by) for cut in kept])


def find_cuts(footage: FootageSettings, settings: ToySettings) -> list[Cut]:
    """The first cuts of each file, in the order of names, until there are enough; unreadable files are named and left.

    Raises:
        UserError: there is no footage at that path, or not two cuts in it.
    """
    window_s = max(size.num_frames for size in settings.sets.values()) / FRAME_RATE
    titles = {film.name: film.title for film in FILMS}
    per_file: list[list[Cut]] = []
    for file in list_footage(footage):
        name = file.uri.rsplit("/", 1)[-1]
        try:
            _, clips = split_video(file.uri, SplitSettings(min_clip_s=window_s))
        except UnreadableVideo as error:
            print(f"train-tiny: {name} is left out: {error}", flush=True)
            continue
        words = titles.get(name, "footage of " + Path(name).stem.replace("_", " ").replace("-", " "))
        per_file.append([Cut(part, words) for clip in clips for part in _windows(clip, window_s)][:CUTS_PER_FILE])
        if sum(map(len, per_file)) >= settings.footage_cuts:
            break
    found = [cut for cuts in per_file for cut in cuts][: settings.footage_cuts]
    if len(found) < 2:
        raise UserError(
            f"{footage.path} gives {len(found)} cuts, but one must be trained on and one held out: there is no cut of "
            f"{window_s:.3g} s in most of its files; give longer footage or shorter toy.sets"
        )
    return found


def _windows(clip: Clip, window_s: float) -> Iterator[Clip]:
    for number in range(int(clip.duration_s / window_s)):
        yield clip.part(number * window_s, (number + 1) * window_s)


def _frames(clip: Clip, size_px: int, num_frames: int) -> np.ndarray:
    """uint8 RGB [T, size_px, size_px, 3] from the start of a cut."""
    rate = num_frames / clip.duration_s
    return np.stack(list(read_frames(clip.uri, clip.span, size_px, size_px, num_frames, rate * 0.999)))


def _sharpness(frames: np.ndarray) -> float:
    """Variance of the Laplacian of the middle frame."""
    return float(cv2.Laplacian(cv2.cvtColor(frames[len(frames) // 2], cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())


def _cut_item(cut: Cut, frames: np.ndarray, stage: str, size: ClipSet, kept_by: str) -> ShardItem:
    start = (len(frames) - size.num_frames) // 2
    side = (size.size_px, size.size_px)
    pixels = [
        cv2.resize(frame, side, interpolation=cv2.INTER_AREA) for frame in frames[start : start + size.num_frames]
    ]
    meta = {
        "clip_id": cut.cut_id,
        "stage": stage,
        "width": size.size_px,
        "height": size.size_px,
        "num_frames": size.num_frames,
        "frame_rate": FRAME_RATE,
        "caption": {"short": cut.words},
        "caption_by": "file name",
        "kept_by": kept_by,
        "scores": {},
    }
    return ShardItem(cut.cut_id, write_frames(pixels, FRAME_RATE), meta)
