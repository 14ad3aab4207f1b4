"""Scenes and cuts are packed at every size under one id, and the fine-tuning set holds what was kept."""

from pathlib import Path

import numpy as np
import pytest

from curation.records import UserError
from curation.tables import Workspace
from curation.transcode import write_frames
from jobs.footage import FootageSettings
from jobs.shapes import scene_of
from jobs.toy_clips import SIMULATED, find_cuts, pack_cuts, pack_shapes
from jobs.toy_settings import ClipSet, ToySettings
from training.data import ClipLibrary

SETTINGS = ToySettings(
    scenes=48,
    footage_cuts=4,
    sets={
        "image": ClipSet(size_px=32, num_frames=1),
        "large": ClipSet(size_px=64, num_frames=9),
        "sft": ClipSet(size_px=64, num_frames=9, chosen=True),
    },
)


@pytest.fixture
def footage(tmp_path: Path) -> FootageSettings:
    """Two films of moving noise, one sharper than the other, and a file that is no video."""
    folder = tmp_path / "footage"
    folder.mkdir()
    for name, sharpness in (("a_soft_film.mp4", 25), ("b_sharp_film.mp4", 60)):
        noise = np.random.default_rng(0).normal(120, sharpness, (96, 128, 3))
        frames = [np.roll(noise, shift, axis=1).clip(0, 255).astype(np.uint8) for shift in range(60)]
        (folder / name).write_bytes(write_frames(frames, 24.0))
    (folder / "0_notes.mp4").write_text("no video")
    return FootageSettings(path=str(folder))


def test_every_set_holds_the_same_ids_at_its_own_size(tmp_path: Path, footage: FootageSettings) -> None:
    workspace = Workspace(str(tmp_path / "workspace"))
    pack_shapes(workspace, SETTINGS, seed=0)
    cuts = find_cuts(footage, SETTINGS)
    pack_cuts(workspace, SETTINGS, cuts)
    library = ClipLibrary(workspace, [f"{kind}_{name}" for kind in ("shapes", "real") for name in SETTINGS.sets])
    ids = {source: {clip.clip_id for clip in clips} for source, clips in library.clips.items()}
    assert ids["shapes_image"] == ids["shapes_large"] == {scene_of(number, 0).scene_id for number in range(48)}
    assert ids["shapes_sft"] == {scene_of(n, 0).scene_id for n in range(48) if scene_of(n, 0).is_clear}
    assert ids["real_image"] == ids["real_large"] == {cut.cut_id for cut in cuts}
    assert {library.pixels(clip).shape for clip in library.clips["real_large"]} == {(9, 64, 64, 3)}
    assert {library.pixels(clip).shape for clip in library.clips["shapes_image"]} == {(1, 32, 32, 3)}
    kept_by = {member.kept_by for member in workspace.table("shard_members").records() if member.stage == "shapes_sft"}
    assert kept_by == {SIMULATED}


def test_cuts_come_from_every_readable_file_and_the_sharp_ones_are_kept(
    tmp_path: Path, footage: FootageSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    cuts = find_cuts(footage, SETTINGS)
    assert {cut.words for cut in cuts} == {"footage of a soft film", "footage of b sharp film"}
    assert len({cut.cut_id for cut in cuts}) == len(cuts) == 4
    assert "0_notes.mp4 is left out" in capsys.readouterr().out
    workspace = Workspace(str(tmp_path / "workspace"))
    pack_cuts(workspace, SETTINGS, cuts)
    kept = {clip.caption["short"] for clip in ClipLibrary(workspace, ["real_sft"]).clips["real_sft"]}
    assert kept == {"footage of b sharp film"}


def test_a_folder_without_a_cut_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("no video")
    with pytest.raises(UserError, match=r"no cut of 1.12 s"):
        find_cuts(FootageSettings(path=str(tmp_path)), SETTINGS)
