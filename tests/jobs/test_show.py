"""`dailies score --scorer X --clip ID --show`: one scorer on one clip, told to a person, with a picture."""

import dataclasses
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from curation.records import Clip
from curation.split import SplitSettings, split_video
from curation.tables import Workspace
from jobs.cli import main
from tests.footage import shots

BAR_PX = 24


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The two clips of a letterboxed film, not scored."""
    folder = tmp_path_factory.mktemp("show")
    film = shots(folder / "film.mp4", num_shots=2, bar_px=BAR_PX).path
    workspace = Workspace(str(folder / "ws"))
    workspace.table("clips").append("film", split_video(str(film), SplitSettings())[1])
    return workspace


def clips_in(workspace: Workspace) -> list[Clip]:
    return sorted(workspace.table("clips").records(), key=lambda clip: clip.start_pts)


def score(workspace: Workspace, *flags: str) -> int:
    recipe = Path(workspace.uri).parent / "recipe.toml"
    recipe.write_text('[score]\nscorers = ["sharpness"]\n')
    return main(["score", "--recipe", str(recipe), "--workspace", workspace.uri, *flags])


def test_the_value_is_told_with_what_it_means_and_the_picture_is_one(workspace, capsys):
    clip = clips_in(workspace)[0]
    assert score(workspace, "--scorer", "motion", "--clip", clip.clip_id[:8], "--show") == 0
    told = capsys.readouterr().out
    value, unit = re.findall(r"^motion (\S+)\n  (.+), two-sided, usually 0 to", told)[0]
    assert 0.05 < float(value) < 1 and "short sides" in unit
    assert f"clip {clip.clip_id}: {clip.uri} from 0.00 to 1.42 s" in told
    assert re.search(r"^  version \S+\+\S+$", told, re.MULTILINE)
    (named,) = re.findall(r"^  picture: (.+)$", told, re.MULTILINE)
    picture = cv2.imdecode(np.fromfile(named, np.uint8), cv2.IMREAD_COLOR)
    assert named.endswith(f"{clip.clip_id}-motion.png") and picture is not None and picture.std() > 5
    assert workspace.table("scores").stems() == set()


def test_what_a_crop_cut_off_is_told_and_not_looked_at(workspace, capsys):
    assert score(workspace, "--scorer", "black", "--clip", clips_in(workspace)[0].clip_id) == 0
    told = capsys.readouterr().out
    width, height = map(int, re.findall(r"cropped to (\d+)x(\d+) of 320x180 px \(letterbox\)", told)[0])
    assert width == 320 and 180 - 2 * BAR_PX - 8 <= height <= 180 - 2 * BAR_PX
    assert told.startswith("black 0\n") and "picture" not in told


def test_a_class_is_told_with_the_confidence_in_it(workspace, capsys):
    assert score(workspace, "--scorer", "camera_movement", "--clip", clips_in(workspace)[0].clip_id) == 0
    assert re.match(r"camera_movement \w+( \w+)* \((0\.\d{3}|1\.000)\)\n", capsys.readouterr().out)


def test_a_scorer_that_cannot_tell_says_why(workspace, capsys):
    clip = clips_in(workspace)[0]
    end_pts = clip.start_pts + (clip.end_pts - clip.start_pts) // clip.num_frames
    image = dataclasses.replace(clip, clip_id="image", end_pts=end_pts, num_frames=1)
    workspace.table("clips").append("image", [image])
    assert score(workspace, "--scorer", "motion", "--clip", "image", "--show") == 0
    told = capsys.readouterr().out
    workspace.table("clips").remove("image")
    assert told.startswith("motion has no answer: ValueError: 1 frames over 0.00 s have no two within 0.")
    picture = cv2.imread(re.findall(r"picture: (.+)", told)[0])
    assert picture is not None and picture.std() > 5


def test_what_is_wrong_with_the_question_is_said(workspace, tmp_path, capsys):
    clip = clips_in(workspace)[0]
    gone = dataclasses.replace(clip, clip_id="gone", uri=str(tmp_path / "gone.mp4"))
    workspace.table("clips").append("gone", [gone, dataclasses.replace(gone, clip_id="gone2")])
    together = "--scorer NAME and --clip ID go together, and --show needs both; without them all is scored"
    wrong = {
        ("--scorer", "motion"): together,
        ("--clip", clip.clip_id): together,
        ("--show",): together,
        ("--scorer", "motion", "--clip", "nobody"): f"no clip 'nobody' among the 4 clips of {workspace.uri}; ",
        ("--scorer", "motion", "--clip", "gon"): "2 of 4 clips begin with 'gon': gone, gone2; give more of the id",
        ("--scorer", "mood", "--clip", clip.clip_id): "no scorer 'mood'; the scorers are aesthetic, ",
        ("--scorer", "aesthetic", "--clip", clip.clip_id): "cannot score: aesthetic lacks ",
        ("--scorer", "motion", "--clip", "gone2"): f"clip gone2 cannot be looked at: not found: {gone.uri} does not",
    }
    for flags, message in wrong.items():
        assert score(workspace, *flags) == 2
        assert capsys.readouterr().err.startswith(f"dailies score: {message}"), flags
    workspace.table("clips").remove("gone")
