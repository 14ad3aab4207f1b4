from pathlib import Path

import numpy as np
import pytest

from curation.clip_tower import TowerSettings, tower_of
from curation.embedder import make_embedder
from curation.records import UserError
from tests.curation.clip_frames import clip_of
from tests.curation.tiny_clip import tiny_options
from tests.footage import texture


def test_it_is_the_direction_of_the_mean_of_the_frames_looked_at(tmp_path: Path) -> None:
    options = tiny_options("clip", tmp_path)
    embedder = make_embedder("clip", options)
    embedder.load()
    clip = clip_of([texture(seed, (32, 32)) for seed in range(9)], embedder.frames)
    assert clip.bgr is not None
    mean = tower_of(TowerSettings(**options), "clip").images(clip.bgr[[1, 4, 7]]).mean(axis=0)
    np.testing.assert_allclose(embedder(clip), mean / np.linalg.norm(mean), atol=1e-6)


def test_weights_that_are_not_there_are_refused() -> None:
    embedder = make_embedder("clip", {})
    assert "score.options.clip.pretrained" in str(embedder.missing())
    with pytest.raises(UserError, match="clip lacks the CLIP weights"):
        embedder.load()
