"""The shared CLIP model, against open_clip's own preprocessing and encoders on a tiny model with random weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from curation.clip_tower import Tower, TowerSettings, frame_vectors, looked_at, tower_of
from curation.records import UserError
from curation.scorer import ClipFrames, make_scorer
from tests.curation.clip_frames import clip_of
from tests.curation.tiny_clip import save_tiny_clip, tiny_options
from tests.footage import texture


def settings_in(folder: Path, **changed: Any) -> TowerSettings:
    return TowerSettings(**{**tiny_options("clip", folder), **changed})


def frames_of(settings: TowerSettings, num_frames: int, size: tuple[int, int] = (32, 32)) -> ClipFrames:
    return clip_of([texture(seed, size) for seed in range(num_frames)], settings.frames, step_s=1.0)


def test_images_and_texts_are_those_of_open_clip(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    tower = tower_of(settings, "clip")
    model: Any
    model, _, preprocess = open_clip.create_model_and_transforms("tiny-clip", pretrained=settings.pretrained)
    model.eval()
    pictures, texts = [texture(seed, (32, 32)) for seed in range(3)], ["a red ball", "people, by night"]
    with torch.inference_mode():
        pixels = torch.stack([preprocess(Image.fromarray(picture)) for picture in pictures])  # type: ignore[operator]
        images = model.encode_image(pixels, normalize=True).numpy()
        words = model.encode_text(open_clip.get_tokenizer("tiny-clip")(texts), normalize=True).numpy()
    bgr = clip_of(pictures, settings.frames).bgr
    assert bgr is not None
    np.testing.assert_allclose(tower.images(bgr), images, atol=1e-5)
    np.testing.assert_allclose(tower.texts(texts), words, atol=1e-5)
    assert tower.logit_scale == pytest.approx(float(model.logit_scale.exp().detach()))
    assert tower.width == images.shape[1]


def test_all_who_look_with_one_model_share_it_and_its_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scorers are real; only the calls of the image tower are counted."""
    embedded: list[int] = []
    images = Tower.images

    def counted(tower: Tower, bgr: np.ndarray) -> np.ndarray:
        embedded.append(len(bgr))
        return images(tower, bgr)

    makers = [make_scorer(name, tiny_options(name, tmp_path)) for name in ("aesthetic", "image_text", "nsfw")]
    for scorer in makers:
        scorer.load()
    assert len({id(scorer._tower) for scorer in makers}) == 1  # type: ignore[attr-defined]
    assert len({scorer.frames for scorer in makers}) == 1
    monkeypatch.setattr(Tower, "images", counted)
    clip = frames_of(settings_in(tmp_path), 9)
    for scorer in makers:
        scorer(clip)
        scorer.draw(clip)
    assert embedded == [3]


def test_frames_are_taken_from_the_middle_of_equal_shares(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    tower = tower_of(settings, "clip")
    for num_frames, expected in ((1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (9, [1, 4, 7]), (100, [16, 50, 83])):
        clip = frames_of(settings, num_frames)
        assert looked_at(clip, settings.max_frames) == expected
        assert clip.bgr is not None
        np.testing.assert_array_equal(frame_vectors(clip, tower, settings), tower.images(clip.bgr[expected]))


def test_the_centre_of_a_wide_picture_is_looked_at(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    tower = tower_of(settings, "clip")
    wide = np.zeros((1, 32, 96, 3), np.uint8)
    wide[:, :, 32:64] = texture(3, (32, 32))
    np.testing.assert_array_equal(tower.images(wide), tower.images(wide[:, :, 32:64]))


def test_weights_written_again_are_loaded_again(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    before, version = tower_of(settings, "clip"), settings.tower_version
    assert tower_of(settings, "clip") is before
    state = torch.load(settings.pretrained, weights_only=True)
    torch.save({name: values * 1.5 for name, values in state.items()}, settings.pretrained)
    assert tower_of(settings, "clip") is not before
    assert settings.tower_version != version


@pytest.mark.parametrize("changed", [{"fps": 2.0}, {"max_frames": 4}, {"precision": "bf16"}, {"short_side_px": 64}])
def test_what_changes_a_vector_changes_the_version(tmp_path: Path, changed: dict[str, Any]) -> None:
    assert settings_in(tmp_path, **changed).tower_version != settings_in(tmp_path).tower_version


def test_half_precision_stays_close(tmp_path: Path) -> None:
    exact, half = (settings_in(tmp_path, precision=precision) for precision in ("fp32", "bf16"))
    bgr = frames_of(exact, 2).bgr
    assert bgr is not None
    cosines = (tower_of(exact, "clip").images(bgr) * tower_of(half, "clip").images(bgr)).sum(axis=1)
    assert (cosines > 0.999).all() and (cosines < 1 - 1e-9).any()


def test_a_tokenizer_that_would_be_fetched_is_refused(tmp_path: Path) -> None:
    config, weights = save_tiny_clip(tmp_path)
    given = json.loads(config.read_text())
    given["text_cfg"]["hf_tokenizer_name"] = "somebody/tokenizer"
    config.write_text(json.dumps(given))
    scorer = make_scorer("image_text", {"model": str(config), "pretrained": str(weights), "short_side_px": 32})
    with pytest.raises(UserError, match="'somebody/tokenizer', which is not part of open_clip"):
        scorer.load()


def test_small_frames_and_missing_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"looks at 32 px, more than score\.options\.nsfw\.short_side_px, 16"):
        tower_of(settings_in(tmp_path, short_side_px=16), "nsfw")
    with pytest.raises(UserError, match=r"nsfw lacks the CLIP weights: set score\.options\.nsfw\.pretrained"):
        tower_of(settings_in(tmp_path, pretrained=""), "nsfw")
