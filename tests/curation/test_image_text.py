from pathlib import Path

import numpy as np
import pytest

from curation.scorer import About, make_scorer
from tests.curation.clip_frames import clip_of
from tests.curation.tiny_clip import tiny_options
from tests.footage import texture


def test_it_is_the_mean_cosine_of_the_frames_with_the_caption(tmp_path: Path) -> None:
    scorer = make_scorer("image_text", tiny_options("image_text", tmp_path))
    scorer.load()
    tower = scorer._tower  # type: ignore[attr-defined]
    values = []
    for caption in ("a red ball", "people by night"):
        clip = clip_of(
            [texture(seed, (32, 32)) for seed in range(3)], scorer.frames, about=About(32, 32, 1, caption=caption)
        )
        assert clip.bgr is not None
        assert scorer(clip) == pytest.approx(float((tower.images(clip.bgr) @ tower.texts([caption])[0]).mean()))
        values.append(scorer(clip))
    assert values[0] != values[1] and np.abs(values).max() <= 1


@pytest.mark.parametrize("caption", ["", "  \n"])
def test_a_clip_that_nobody_described_has_no_answer(tmp_path: Path, caption: str) -> None:
    scorer = make_scorer("image_text", tiny_options("image_text", tmp_path))
    scorer.load()
    with pytest.raises(ValueError, match="nobody has written a caption"):
        scorer(clip_of([texture(0, (32, 32))], scorer.frames, about=About(32, 32, 1, caption=caption)))
