from pathlib import Path

import numpy as np
import pytest

from curation.scorer import Scorer, make_scorer
from tests.curation.clip_frames import clip_of
from tests.curation.tiny_clip import tiny_options
from tests.footage import texture

PICTURES = [texture(seed, (32, 32)) for seed in range(3)]


def loaded(folder: Path, **prompts: tuple[str, ...]) -> Scorer:
    scorer = make_scorer("nsfw", {**tiny_options("nsfw", folder), **prompts})
    scorer.load()
    return scorer


def test_it_is_the_share_of_the_softmax_in_the_worst_frame(tmp_path: Path) -> None:
    scorer = loaded(tmp_path, unsafe=("blood", "violence"), safe=("a cat", "a house", "a tree"))
    clip, tower = clip_of(PICTURES, scorer.frames), scorer._tower  # type: ignore[attr-defined]
    assert clip.bgr is not None
    logits = (
        tower.logit_scale * tower.images(clip.bgr) @ tower.texts(["blood", "violence", "a cat", "a house", "a tree"]).T
    )
    shares = np.exp(logits.astype(np.float64))
    expected = shares[:, :2].sum(1) / shares.sum(1)
    assert scorer(clip) == pytest.approx(expected.max())
    alone = [scorer(clip_of([picture], scorer.frames)) for picture in PICTURES]
    assert alone == pytest.approx(list(expected), rel=1e-4)


def test_the_two_groups_share_all_of_the_probability(tmp_path: Path) -> None:
    here, there = ("blood", "violence"), ("a cat",)
    values = []
    for unsafe, safe in ((here, there), (there, here)):
        scorer = loaded(tmp_path, unsafe=unsafe, safe=safe)
        values.append(scorer(clip_of(PICTURES[:1], scorer.frames)))
    assert sum(values) == pytest.approx(1)  # type: ignore[arg-type]


def test_other_prompts_are_another_version(tmp_path: Path) -> None:
    versions = {
        loaded(tmp_path, unsafe=unsafe, safe=safe).version
        for unsafe, safe in ((("a",), ("b", "c")), (("a", "b"), ("c",)))
    }
    assert len(versions) == 2
