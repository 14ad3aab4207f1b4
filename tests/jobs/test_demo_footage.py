"""The demo's footage: true to its shot list, spoilt where it says so, broken where it must be, and drawn once."""

import av
import cv2
import numpy as np
import pytest
from scenedetect import ContentDetector, SceneManager, open_video

from jobs import demo_footage
from jobs.demo_films import FILMS
from jobs.demo_footage import CUT_OFF_NAME, HEIGHT, NOT_A_VIDEO_NAME, WIDTH, num_frames, render, shot_list, take_frames

STAR = next(index for index, film in enumerate(FILMS) if any(take.fade_in for take in film.takes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The first film and the two broken files: 8 s of footage."""
    folder = tmp_path_factory.mktemp("footage")
    render(folder, 0, lambda _count, _note: None, num_films=1)
    return folder


def pictures(kind: str, length: int = 6) -> np.ndarray:
    """Frames of the first take of that kind, grey float [length, H, W]."""
    film, take = next((film, take) for film in FILMS for take in film.takes if take.kind == kind)
    frames = take_frames(film, take, length, np.random.default_rng(0))
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]).astype(float)


def sharpness(frames: np.ndarray) -> float:
    return float(np.mean([cv2.Laplacian(frame, cv2.CV_64F).var() for frame in frames]))


def test_the_file_is_what_the_shot_list_says(folder):
    shots = [shot for shot in shot_list(0) if shot.file == FILMS[0].name]
    with av.open(str(folder / FILMS[0].name)) as container:
        stream = container.streams.video[0]
        assert container.metadata["title"] == FILMS[0].title == shots[0].title
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", WIDTH, HEIGHT)
        assert stream.average_rate == shots[0].frame_rate
        assert sum(1 for _ in container.decode(stream)) == sum(shot.num_frames for shot in shots)


def test_a_cut_detector_finds_exactly_the_cuts(folder):
    video, manager = open_video(str(folder / FILMS[0].name), backend="pyav"), SceneManager()
    manager.add_detector(ContentDetector())
    manager.detect_scenes(video)
    found = [start.frame_num for start, _ in manager.get_scene_list()]
    assert found == [shot.start_frame for shot in shot_list(0) if shot.file == FILMS[0].name]


def test_there_are_about_thirty_shots_and_a_hundred_seconds():
    shots = shot_list(0)
    assert 28 <= len(shots) <= 36
    assert 88 < sum(shot.num_frames / shot.frame_rate for shot in shots) < 120
    assert all(2 <= shot.num_frames / shot.frame_rate <= 4 for shot in shots)
    assert num_frames(0) == sum(shot.num_frames for shot in shots)
    assert num_frames(0, 1) == sum(shot.num_frames for shot in shots if shot.file == FILMS[0].name)


def test_another_seed_is_another_film():
    assert shot_list(0) != shot_list(1)
    first, second = (next(take_frames(FILMS[0], FILMS[0].takes[0], 2, np.random.default_rng(seed))) for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_the_same_seed_gives_the_same_bytes(folder, tmp_path):
    render(tmp_path, 0, lambda _count, _note: None, num_films=1)
    for path in folder.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_what_is_there_is_not_drawn_again(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    reported = []
    paths = render(folder, 0, lambda count, note: reported.append((count, note)), num_films=1)
    assert {path: path.stat().st_mtime_ns for path in paths} == before
    assert reported == [(num_frames(0, 1), f"{FILMS[0].name} was there")]


def test_a_half_written_file_and_one_of_another_seed_are_drawn_again(tmp_path, monkeypatch):
    monkeypatch.setattr(demo_footage, "FILMS", (FILMS[STAR],))
    (tmp_path / f".{FILMS[STAR].name}.part").write_bytes(b"half")
    render(tmp_path, 5, lambda _count, _note: None)
    old = (tmp_path / FILMS[STAR].name).read_bytes()
    counted = []
    render(tmp_path, 6, lambda count, _note: counted.append(count))
    assert (tmp_path / FILMS[STAR].name).read_bytes() != old
    assert sum(counted) == num_frames(6)
    assert not list(tmp_path.glob(".*"))


def test_the_interrupted_download_opens_and_then_ends_too_early(folder):
    with av.open(str(folder / CUT_OFF_NAME)) as container:
        promised, decoded = container.streams.video[0].frames, 0
        try:
            for _ in container.decode(video=0):
                decoded += 1
        except av.error.InvalidDataError:
            pass
    assert 0 < decoded < promised


def test_the_notes_are_no_video(folder):
    with pytest.raises(av.error.InvalidDataError), av.open(str(folder / NOT_A_VIDEO_NAME)):
        pass


def test_the_fade_goes_through_black():
    lights = [float(image.mean()) for image in demo_footage.film_frames(FILMS[STAR], 0)]
    shots = [shot for shot in shot_list(0) if shot.file == FILMS[STAR].name]
    black = shots[1].start_frame
    assert shots[1].fade_in
    assert lights[black] < 1 and lights[black - 1] < 1
    assert lights[black - 20] > 60 and lights[black + 20] > 60


def test_spoilt_takes_are_spoilt_and_plain_ones_are_not():
    plain = pictures("plain")
    assert sharpness(pictures("blurred")) < 0.1 * sharpness(plain)
    assert pictures("dark").mean() < 12 < 60 < plain.mean()
    still = np.abs(np.diff(pictures("static"), axis=0)).mean()
    assert still < 3 < np.abs(plain[-1] - plain[0]).mean()
    text = pictures("text")
    assert (text[:, 10:60, 60:360] > 200).mean() > 0.1, "bright letters in the title area"
