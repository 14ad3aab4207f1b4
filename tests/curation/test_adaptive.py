from fractions import Fraction
from pathlib import Path

import numpy as np
from scenedetect.detectors import AdaptiveDetector as SceneDetectAdaptive

from curation.detectors.adaptive import AdaptiveDetector, AdaptiveSettings
from curation.detectors.content import ContentDetector, ContentSettings
from curation.video import Frame
from tests.curation.scenedetect_cuts import frames_of, our_cuts, scenedetect_cuts
from tests.cut_footage import cut_film


def test_a_change_among_changes_is_no_cut() -> None:
    """A steadily strobing shot: every frame changes by 40, which `content` calls cuts and `adaptive` does not."""
    content = ContentDetector(ContentSettings(min_shot_s=0), Fraction(1, 10), 10)
    adaptive = AdaptiveDetector(AdaptiveSettings(min_shot_s=0), Fraction(1, 10), 10)
    by_content, by_adaptive = [], []
    for pts in range(30):
        picture = np.full((16, 16, 3), 60 + 120 * (pts % 2), np.uint8)
        frame = Frame(pts, pts / 10, picture[..., 0], picture)
        by_content += content.push(frame)
        by_adaptive += adaptive.push(frame)
    assert len(by_content) == 29
    assert by_adaptive + adaptive.finish() == []


def test_the_cuts_are_those_of_pyscenedetect(tmp_path: Path) -> None:
    films = [
        cut_film(tmp_path / "mixed.mp4", ["hard", "dissolve", "fade"], seconds_each=1.0, flashes=True),
        cut_film(tmp_path / "fast.mp4", ["hard"] * 12, seconds_each=0.25),
    ]
    for film in films:
        frames, facts = frames_of(film.path)
        for ratio in (3.5, 1.5):
            settings = AdaptiveSettings(ratio=ratio, min_shot_s=0.6)
            theirs = SceneDetectAdaptive(
                adaptive_threshold=ratio, min_scene_len=0.6, window_width=3, min_content_val=15.0
            )
            ours = our_cuts(AdaptiveDetector(settings, facts.time_base, facts.frame_rate), frames)
            assert ours and ours == scenedetect_cuts(theirs, frames, facts)
