"""The cuts of PySceneDetect's own detectors, to compare ours with: same frames, same times."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from scenedetect.common import FrameTimecode, Timecode

from curation.video import Frame, FrameSpec, StreamFacts, scan

REAL_FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "videos"
RUN_UP_FRAMES = 60


def real_films(*names: str) -> list[Path]:
    if not REAL_FOLDER.is_dir():
        pytest.skip(f"{REAL_FOLDER} is absent")
    return [REAL_FOLDER / name for name in names]


def frames_of(path: Path) -> tuple[list[Frame], StreamFacts]:
    frames = scan(str(path), [FrameSpec(fps=None, short_side_px=72, planes="bgr")])
    pictures = [seen.frame for seen in frames]
    assert frames.facts is not None
    return pictures, frames.facts


def scenedetect_cuts(detector: Any, frames: list[Frame], facts: StreamFacts) -> list[int]:
    """PTS of its cuts after a run-up of the first frame, as it ignores all cuts of a film's first moments."""
    step = frames[1].pts - frames[0].pts
    times = [frames[0].pts - step * (RUN_UP_FRAMES - index) for index in range(RUN_UP_FRAMES)]
    rate = Fraction(facts.frame_rate).limit_denominator(1001)
    cuts = []
    for pts, frame in [*((pts, frames[0]) for pts in times), *((frame.pts, frame) for frame in frames)]:
        time = FrameTimecode(Timecode(pts - times[0], facts.time_base), rate)
        cuts += [cut.pts + times[0] for cut in detector.process_frame(time, frame.bgr)]
    return cuts


def our_cuts(detector: Any, frames: list[Frame]) -> list[int]:
    return [cut for frame in frames for cut in detector.push(frame)] + detector.finish()
