"""Cuts between like pictures go, all others stay, and nothing depends on when a cut became known."""

import random
import weakref
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from pydantic import BaseModel

from curation.embedder import Embedder, make_embedder
from curation.split import SplitSettings, missing_requirements, split_video, splitter_version
from curation.stitch import LOOKS_PER_S, SIDE_S, Stitcher, best_cosine
from curation.video import Frame, Ticks
from tests.curation.tiny_clip import tiny_options
from tests.cut_footage import cut_film
from tests.footage import drift, shots, texture, write_video

FPS = 24
SHOT_FRAMES = 48
APART = SplitSettings(trim_frames=0, blank_contrast=0)  # the flashes are nearly white
STITCHED = APART.model_copy(update={"stitch_similarity": 0.5})


def lengths(path: Path, settings: SplitSettings) -> list[int]:
    return [clip.num_frames for clip in split_video(str(path), settings)[1]]


def test_a_flash_inside_a_shot_is_no_cut(tmp_path: Path) -> None:
    film = cut_film(tmp_path / "flashes.mp4", ["hard", "hard"], seconds_each=3, flashes=True)
    assert lengths(film.path, APART) == [36, 36] * 3
    assert lengths(film.path, STITCHED) == [72] * 3


def test_a_jump_of_exposure_is_no_cut_and_a_cut_beside_it_stays(tmp_path: Path) -> None:
    bright = list(drift(texture(1, (256, 144)), 2 * SHOT_FRAMES, (1.5, 0.5)))
    dark = [(frame * 0.35).astype(np.uint8) for frame in bright[SHOT_FRAMES:]]
    other = list(drift(texture(2, (256, 144), hue=120), SHOT_FRAMES, (0, 1)))
    path = write_video(tmp_path / "film.mp4", [*bright[:SHOT_FRAMES], *dark, *other])
    assert lengths(path, APART) == [SHOT_FRAMES] * 3
    assert lengths(path, STITCHED) == [2 * SHOT_FRAMES, SHOT_FRAMES]


@pytest.mark.parametrize("fps", [6, 24, 60])
def test_true_cuts_stay(tmp_path: Path, fps: int) -> None:
    film = shots(tmp_path / "shots.mp4", fps=fps)
    assert lengths(film.path, STITCHED) == lengths(film.path, APART) == [round(1.5 * fps)] * 4


def test_an_embedder_with_weights_looks_at_the_small_frames_too(tmp_path: Path) -> None:
    film = cut_film(tmp_path / "flash.mp4", [], seconds_each=2, flashes=True)
    options = tiny_options("clip", tmp_path)
    given = {"stitch_similarity": 0.5, "stitch_embedder": "clip", "stitch_options": options}
    of_clip = SplitSettings.model_validate({**APART.model_dump(), **given})
    assert missing_requirements(of_clip) == []
    assert (lengths(film.path, APART), lengths(film.path, of_clip)) == ([24, 24], [48])
    assert splitter_version(of_clip) not in (splitter_version(STITCHED), splitter_version(APART))


class KnownCuts:
    """A detector that is told its cuts and reports each so many frames late, or only at the end (None)."""

    version: ClassVar[str] = "1"
    settings_class: ClassVar[type[BaseModel]] = BaseModel

    def __init__(self, cuts: Sequence[int], delay: int | None) -> None:
        self._cuts, self._delay = list(cuts), delay
        self.settled_pts: int | None = None

    def push(self, frame: Frame) -> list[int]:
        self.settled_pts = 0 if self._delay is None else max(0, frame.pts + 1 - self._delay)
        reported = [cut for cut in self._cuts if cut < self.settled_pts]
        self.settled_pts = min(self.settled_pts, frame.pts)
        self._cuts = self._cuts[len(reported) :]
        return reported

    def finish(self) -> list[int]:
        return self._cuts


def film_of(seed: int) -> tuple[list[Frame], list[int]]:
    """Frames of a film of 2 to 40 frames a shot, in which every other boundary shows the same texture again."""
    generator = random.Random(seed)
    pictures: list[np.ndarray] = []
    cuts: list[int] = []
    for shot in range(12):
        cuts.append(len(pictures))
        pictures += drift(texture(shot // 2, (64, 36), grain_px=6), generator.randrange(2, 40), (1.0, 0.5))
    frames = [
        Frame(index, index / FPS, np.ascontiguousarray(each[..., 1]), each) for index, each in enumerate(pictures)
    ]
    return frames, cuts[1:]


def perceptual_hash() -> Embedder:
    return make_embedder("perceptual_hash", {})


def stitched(frames: Sequence[Frame], cuts: Sequence[int], delay: int | None) -> list[int]:
    """What a stitcher leaves of the cuts; it must report them in order, none before the time that was settled."""
    stitcher = Stitcher(KnownCuts(cuts, delay), 0.6, perceptual_hash(), Fraction(1, FPS))
    assert stitcher.settled_pts is None
    found: list[int] = []
    for frame in frames:
        settled = stitcher.settled_pts
        reported = stitcher.push(frame)
        assert stitcher.settled_pts is not None and (settled or 0) <= stitcher.settled_pts <= frame.pts
        assert all(cut >= (settled or 0) for cut in reported)
        found += reported
    settled = stitcher.settled_pts or 0
    rest = stitcher.finish()
    assert all(cut >= settled for cut in rest)
    return found + rest


def judged_at_the_end(frames: Sequence[Frame], cuts: Sequence[int]) -> list[int]:
    """The same by the definition, with the whole film at hand."""
    ticks, side = Ticks(LOOKS_PER_S, Fraction(1, FPS)), SIDE_S * FPS
    first = frames[:1]
    looks = [*first, *(new for old, new in pairwise(frames) if ticks.last(new.pts) > ticks.last(old.pts))]
    stay = []
    for index, cut in enumerate(cuts):
        start = max(cut - side, *cuts[max(0, index - 1) : index], 0)
        end = min(cut + side, *cuts[index + 1 : index + 2], len(frames))
        before = [look for look in looks if start <= look.pts < cut]
        after = [look for look in looks if cut <= look.pts < end]
        if not (before and after) or best_cosine(perceptual_hash(), before, after) < 0.6:
            stay.append(cut)
    return stay


@pytest.mark.parametrize("seed", range(4))
def test_what_stays_does_not_depend_on_when_a_cut_becomes_known(seed: int) -> None:
    frames, cuts = film_of(seed)
    expected = judged_at_the_end(frames, cuts)
    assert 0 < len(expected) < len(cuts)
    assert [stitched(frames, cuts, delay) for delay in (0, 1, 30, None)] == [expected] * 4


def test_only_pictures_of_the_last_second_are_kept() -> None:
    stitcher = Stitcher(KnownCuts([50, 60, 100, 170], 0), 0.6, perceptual_hash(), Fraction(1, FPS))
    pushed: list[weakref.ref[Frame]] = []
    for index, picture in enumerate(drift(texture(0, (64, 36)), 240, (1, 0))):
        frame = Frame(index, index / FPS, picture[..., 0], picture)
        stitcher.push(frame)
        pushed.append(weakref.ref(frame))
        del frame
        assert sum(each() is not None for each in pushed) <= 2 * SIDE_S * LOOKS_PER_S + 1


def test_stitching_is_part_of_the_version_only_when_it_is_on() -> None:
    plain = splitter_version(SplitSettings())
    assert splitter_version(SplitSettings(stitch_options={"fps": 4})) == plain
    versions = [splitter_version(SplitSettings(stitch_similarity=similarity)) for similarity in (0.5, 0.6)]
    assert len({plain, *versions}) == 3


def test_what_stitching_needs_is_said_before_work_starts() -> None:
    wanted = SplitSettings(stitch_similarity=0.9, stitch_embedder="clip")
    (sentence,) = missing_requirements(wanted)
    assert sentence.startswith("stitch_embedder clip lacks the CLIP weights: set split.stitch_options.pretrained to")
    assert missing_requirements(wanted.model_copy(update={"stitch_similarity": 0.0})) == []


def test_an_unknown_embedder_is_refused_even_while_it_is_off() -> None:
    with pytest.raises(ValueError, match="no embedder 'magic'; the embedders are"):
        SplitSettings(stitch_embedder="magic")
