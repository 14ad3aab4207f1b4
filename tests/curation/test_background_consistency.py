import numpy as np
import pytest

from curation.clip_tower import tower_of
from curation.consistency import to_first_and_previous
from curation.scorers.background_consistency import BackgroundConsistencyScorer, BackgroundConsistencySettings
from tests.curation.clip_frames import clip_of
from tests.curation.tiny_clip import tiny_options
from tests.footage import texture


@pytest.fixture(scope="module")
def scorer(tmp_path_factory) -> BackgroundConsistencyScorer:
    folder = tmp_path_factory.mktemp("clip")
    made = BackgroundConsistencyScorer(
        BackgroundConsistencySettings(**tiny_options("background_consistency", folder), max_frames=4)
    )
    made.load()
    return made


def test_it_compares_the_frames_that_it_says_it_looks_at(scorer):
    pictures = [texture(seed // 2, (48, 48)) for seed in range(8)]
    tower = tower_of(scorer.settings, "background_consistency")
    looked_at = np.stack([pictures[index][..., ::-1] for index in (1, 3, 5, 7)])
    expected = to_first_and_previous(tower.images(looked_at)).mean()
    assert scorer(clip_of(pictures, scorer.frames)) == pytest.approx(expected)


def test_one_scene_is_more_consistent_than_several(scorer):
    one, other = texture(0, (48, 48)), np.full((48, 48, 3), 255, np.uint8)
    assert scorer(clip_of([one] * 4, scorer.frames)) == pytest.approx(1.0, abs=1e-6)
    assert scorer(clip_of([one, one, other, other], scorer.frames)) < 1 - 1e-4


def test_missing_weights_are_named_with_what_to_do():
    missing = BackgroundConsistencyScorer(BackgroundConsistencySettings()).missing()
    assert missing and "score.options.background_consistency.pretrained" in missing
