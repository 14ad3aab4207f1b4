"""The toy set is the same every time, holds every combination, and lies in shards like any other clips."""

from pathlib import Path

import numpy as np
import pytest

from curation.shards import current_shards, read_shard
from curation.tables import Workspace
from curation.video import read_member
from jobs.shapes import COLOURS, DIRECTIONS, SHAPES, draw, pack_items, scene_of, shape_item


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    first, again, other = (shape_item(scene_of(5, seed), "short", 32, 5).video for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_48_scenes_hold_every_combination_once() -> None:
    combinations = {(scene.colour, scene.shape, scene.direction) for scene in (scene_of(n, 3) for n in range(48))}
    assert len(combinations) == len(COLOURS) * len(SHAPES) * len(DIRECTIONS) == 48


@pytest.mark.parametrize("size_px", [32, 64])
def test_a_packed_scene_decodes_to_what_was_drawn(size_px: int) -> None:
    scene = scene_of(7, 0)
    drawn = draw(scene, size_px, 9)
    decoded = read_member(shape_item(scene, "long", size_px, 9).video)
    assert decoded.shape == drawn.shape == (9, size_px, size_px, 3)
    assert np.abs(decoded.astype(int) - drawn).mean() < 5


def test_a_shape_stays_in_the_frame_and_moves_the_way_its_caption_says() -> None:
    for number in range(48):
        scene = scene_of(number, 0)
        frames = draw(scene, 64, 9).astype(int)
        coloured = frames.max(axis=3) - frames.min(axis=3) > 60
        assert scene.caption(moving=True) == f"a {scene.colour} {scene.shape} moves {scene.direction}"
        way = np.array([np.argwhere(one).mean(axis=0) for one in (coloured[0], coloured[-1])])
        moved_down, moved_right = way[1] - way[0]
        dx, dy = DIRECTIONS[scene.direction]
        assert moved_right * dx + moved_down * dy > 10
        assert coloured[0].sum() > 0.8 * coloured[4].sum() < 1.2 * coloured[-1].sum()


def test_a_still_has_no_direction_and_shows_the_middle_of_the_way() -> None:
    scene = scene_of(2, 0)
    assert "moves" not in scene.caption(moving=False)
    assert np.array_equal(draw(scene, 32, 1)[0], draw(scene, 32, 9)[4])


def test_a_scene_has_one_id_in_every_set_and_packing_twice_writes_once(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path))
    scenes = [scene_of(number, 0) for number in range(6)]
    for _ in range(2):
        pack_items(workspace, "image", (shape_item(scene, "image", 32, 1) for scene in scenes), per_shard=4)
        pack_items(workspace, "short", (shape_item(scene, "short", 32, 5) for scene in scenes), per_shard=4)
    ids = [
        [item.clip_id for shard in current_shards(workspace, stage) for item in read_shard(workspace, shard)]
        for stage in ("image", "short")
    ]
    assert ids[0] == ids[1] == sorted(scene.scene_id for scene in scenes)
    assert workspace.table("shards").read().num_rows == 4
