"""What every embedder must do, for every file in the folder."""

from pathlib import Path

import numpy as np
import pytest

from curation import embedders
from curation.embedder import Embedder, embedder_class, embedder_version, make_embedder
from curation.named_modules import names_in
from curation.records import UserError
from tests.curation.clip_frames import clip_of
from tests.curation.tiny_clip import tiny_options
from tests.footage import texture

NAMES = names_in(embedders)


def ready(name: str, folder: Path) -> Embedder:
    embedder = make_embedder(name, tiny_options(name, folder))
    assert embedder.missing() is None
    embedder.load()
    return embedder


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("num_frames", [1, 2, 3, 11])
def test_a_clip_is_a_unit_vector_always_the_same(tmp_path: Path, name: str, num_frames: int) -> None:
    embedder = ready(name, tmp_path)
    clip = clip_of([texture(seed, (64, 48)) for seed in range(num_frames)], embedder.frames)
    for array in (clip.luma, clip.bgr, clip.times_s):
        if array is not None:
            array.flags.writeable = False
    vector = embedder(clip)
    assert vector.dtype == np.float32 and vector.ndim == 1
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    again = ready(name, tmp_path)(clip_of([texture(seed, (64, 48)) for seed in range(num_frames)], embedder.frames))
    np.testing.assert_array_equal(vector, again)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("level", [0, 255])
def test_blank_frames_have_a_vector(tmp_path: Path, name: str, level: int) -> None:
    embedder = ready(name, tmp_path)
    vector = embedder(clip_of([np.full((90, 160, 3), level, np.uint8)] * 3, embedder.frames))
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_setting_that_changes_the_vector_changes_the_version(tmp_path: Path, name: str) -> None:
    given = tiny_options(name, tmp_path)
    assert embedder_version(name, {**given, "fps": 3}) != embedder_version(name, {**given, "fps": 4})
    for setting, field in embedder_class(name).settings_class.model_fields.items():
        assert field.description, f"setting {setting} of {name} has no description"


def test_an_unknown_embedder_or_setting_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="no embedder 'dino'; the embedders are clip, perceptual_hash"):
        make_embedder("dino", {})
    with pytest.raises(UserError, match=r"settings of embedder 'perceptual_hash': rate: .* It has: fps"):
        make_embedder("perceptual_hash", {"rate": 1})
