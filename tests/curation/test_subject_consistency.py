from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

from curation.records import UserError
from curation.scorers.subject_consistency import SubjectConsistencyScorer, SubjectConsistencySettings
from tests.curation.clip_frames import clip_of
from tests.curation.tiny_clip import TRANSFORMER, save_random_transformer, tiny_options
from tests.footage import texture


def ready(folder: Path, **given: object) -> SubjectConsistencyScorer:
    scorer = SubjectConsistencyScorer(
        SubjectConsistencySettings(**{**tiny_options("subject_consistency", folder), **given})
    )
    scorer.load()
    return scorer


def test_the_vectors_are_the_network_s_of_the_whole_pictures(tmp_path):
    scorer = ready(tmp_path)
    pictures = [texture(seed, (70, 40)) for seed in range(3)]
    network = timm.create_model(TRANSFORMER, num_classes=0, dynamic_img_size=True).eval()
    network.load_state_dict(torch.load(tmp_path / "transformer.pth", weights_only=True))
    facts: Any = network.pretrained_cfg
    mean, deviation = (torch.tensor(facts[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)[:, :, :32, :64].float() / 255
    with torch.inference_mode():
        vectors = torch.nn.functional.normalize(network((pixels - mean) / deviation), dim=1).double()
    cosines = (vectors @ vectors.T).clamp(min=0)
    expected = float((cosines[0, 1] + (cosines[0, 2] + cosines[1, 2]) / 2) / 2)
    assert scorer(clip_of(pictures, scorer.frames)) == pytest.approx(expected, abs=1e-5)


def test_a_still_video_is_more_consistent_than_one_that_becomes_something_else(tmp_path):
    scorer = ready(tmp_path)
    one, other = texture(0, (64, 48), grain_px=16), np.full((48, 64, 3), 255, np.uint8)
    mixed = [(one * (1 - share) + other * share).astype(np.uint8) for share in np.linspace(0, 1, 4)]
    assert scorer(clip_of([one] * 4, scorer.frames)) == pytest.approx(1.0, abs=1e-6)
    assert scorer(clip_of(mixed, scorer.frames)) < 1 - 1e-4


def test_missing_weights_and_those_of_another_network_are_named(tmp_path):
    missing = SubjectConsistencyScorer(SubjectConsistencySettings()).missing()
    assert missing and "set score.options.subject_consistency.weights" in missing
    weights = str(save_random_transformer(tmp_path))
    with pytest.raises(UserError, match=r"transformer\.pth does not hold the weights of timm's vit_tiny"):
        ready(tmp_path, network="vit_tiny_patch16_224", weights=weights)
    with pytest.raises(UserError, match="timm makes no vision transformer 'resnet10t'"):
        ready(tmp_path, network="resnet10t", weights=weights)


def test_other_weights_are_another_version(tmp_path):
    version = ready(tmp_path).version
    torch.manual_seed(1)
    torch.save(timm.create_model(TRANSFORMER, num_classes=0).state_dict(), tmp_path / "other.pth")
    assert ready(tmp_path, weights=str(tmp_path / "other.pth")).version != version
