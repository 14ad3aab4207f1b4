from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from PIL import Image

from curation.clip_tower import TowerSettings, tower_of
from curation.records import UserError
from curation.scorer import Scorer, make_scorer
from tests.curation.clip_frames import clip_of
from tests.curation.tiny_clip import WIDTH, save_head, tiny_options
from tests.footage import texture

IMPROVED = ("layers.0.", "layers.2.", "layers.4.", "layers.6.", "layers.7.")


def settings_in(folder: Path, **changed: Any) -> dict[str, Any]:
    return {**tiny_options("aesthetic", folder), **changed}


def tower_options(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name != "head"}


def loaded(given: dict[str, Any]) -> Scorer:
    scorer = make_scorer("aesthetic", given)
    scorer.load()
    return scorer


def test_it_is_the_head_on_the_unit_vector_of_the_tower(tmp_path: Path) -> None:
    """Against open_clip's own preprocessing and encoder, on pictures that need no resizing."""
    given = settings_in(tmp_path)
    pictures = [texture(seed, (32, 32)) for seed in range(3)]
    scorer = loaded(given)
    model: Any
    model, _, preprocess = open_clip.create_model_and_transforms("tiny-clip", pretrained=given["pretrained"])
    head = torch.load(given["head"], weights_only=True)
    with torch.inference_mode():
        pixels = torch.stack([preprocess(Image.fromarray(picture)) for picture in pictures])  # type: ignore[operator]
        vectors = model.eval().encode_image(pixels, normalize=True)
        expected = (vectors @ head["weight"].T + head["bias"]).mean()
    assert scorer(clip_of(pictures, scorer.frames)) == pytest.approx(float(expected), abs=1e-4)


def test_the_deeper_head_is_a_chain_of_its_layers(tmp_path: Path) -> None:
    widths = (WIDTH, 16, 12, 8, 4, 1)
    head = save_head(tmp_path / "improved.pth", widths, IMPROVED)
    as_safetensors = save_head(tmp_path / "improved.safetensors", widths, IMPROVED)
    values = []
    for path in (head, as_safetensors):
        scorer = loaded(settings_in(tmp_path, head=str(path)))
        values.append(scorer(clip_of([texture(0, (48, 32))], scorer.frames)))
    assert values[0] == values[1]
    state = torch.load(head, weights_only=True)
    tower = tower_of(TowerSettings(**tower_options(settings_in(tmp_path))), "aesthetic")
    bgr = clip_of([texture(0, (48, 32))], scorer.frames).bgr
    assert bgr is not None
    vectors = torch.from_numpy(tower.images(bgr))
    for name in IMPROVED:
        vectors = vectors @ state[f"{name}weight"].T + state[f"{name}bias"]
    assert values[0] == pytest.approx(float(vectors), abs=1e-4)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"pretrained": ""}, "the CLIP weights: set score.options.aesthetic.pretrained to the path of a file"),
        ({"pretrained": "openai"}, "pretrained is 'openai', and there is no such file"),
        ({"head": ""}, "the aesthetic head: set score.options.aesthetic.head"),
        ({"model": "nowhere/model.json"}, "model is 'nowhere/model.json', and there is no such file"),
    ],
)
def test_weights_that_are_not_there_are_refused(tmp_path: Path, changed: dict[str, str], expected: str) -> None:
    scorer = make_scorer("aesthetic", settings_in(tmp_path, **changed))
    assert expected in str(scorer.missing())
    with pytest.raises(UserError, match="aesthetic lacks"):
        scorer.load()


def test_parts_that_do_not_fit_each_other_are_refused(tmp_path: Path) -> None:
    wide = save_head(tmp_path / "wide.pth", (768, 1))
    with pytest.raises(UserError, match=r"takes vectors of 768, but .* gives 24: they are not of the same family"):
        loaded(settings_in(tmp_path, head=str(wide)))
    odd = save_head(tmp_path / "odd.pth", (WIDTH, 3))
    with pytest.raises(UserError, match=r"is no aesthetic head: .*found \[\[3, 24\]\]"):
        loaded(settings_in(tmp_path, head=str(odd)))
    with pytest.raises(UserError, match=r"looks at 32 px, more than .*short_side_px, 16; set that to 32"):
        loaded(settings_in(tmp_path, short_side_px=16))
    with pytest.raises(UserError, match="do not fit the model"):
        loaded(settings_in(tmp_path, model="ViT-B-32"))
    with pytest.raises(UserError, match="open_clip has no model 'ViT-Z'"):
        loaded(settings_in(tmp_path, model="ViT-Z"))


def test_other_weights_are_another_version(tmp_path: Path) -> None:
    given = settings_in(tmp_path)
    before = make_scorer("aesthetic", given).version
    save_head(Path(given["head"]), (WIDTH, 8, 1), ("layers.0.", "layers.1."))
    assert make_scorer("aesthetic", given).version != before


def test_the_worst_and_best_frame_are_drawn_with_their_own_ratings(tmp_path: Path) -> None:
    scorer = loaded(settings_in(tmp_path))
    pictures = [texture(seed, (64, 48)) for seed in range(3)]
    drawn = scorer.draw(clip_of(pictures, scorer.frames))
    alone = scorer.draw(clip_of(pictures[:1], scorer.frames))
    assert drawn.shape[1] == 3 * alone.shape[1] and (drawn[:, : alone.shape[1]] == alone).all()
