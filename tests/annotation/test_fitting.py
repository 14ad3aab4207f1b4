"""Fitting finds a planted taste, near the ceiling that the annotators' own noise sets, and is honest about videos."""

import numpy as np
import pytest

from annotation.fitting import KINDS, fit, importances, log_loss, split_by_video
from annotation.reliability import Resamples, auc
from annotation.suitability import CalibrateSettings, Features
from tests.annotation.taught import planted

SETTINGS = CalibrateSettings(vector_axes=6, num_bootstraps=100)


@pytest.fixture(scope="module")
def given():
    return planted(700, 60)


@pytest.fixture(scope="module")
def found(given):
    return fit(given.features, given.kept, given.videos, SETTINGS)


def test_a_planted_taste_is_found_near_the_ceiling_of_the_noise(given, found):
    resamples = Resamples(given.videos, 100, 0)
    ceiling = auc(given.chance, given.kept, resamples).value
    assert ceiling - 0.04 < auc(found.chance, given.kept, resamples).value <= ceiling + 0.01
    assert np.abs(found.chance - given.chance).mean() < 0.12


def test_chances_for_new_clips_are_those_of_the_taste(found):
    new = planted(500, seed=9)
    assert np.corrcoef(found.model.chance(new.features), new.chance)[0, 1] > 0.9


def test_no_video_is_on_both_sides_of_a_split(given):
    splits = split_by_video(given.kept, given.videos, 5, 0)
    assert len(splits) == 5
    for train, test in splits:
        assert not set(given.videos[train]) & set(given.videos[test])
    np.testing.assert_array_equal(np.sort(np.concatenate([test for _, test in splits])), np.arange(700))


def test_what_only_repeats_within_videos_is_not_mistaken_for_knowledge():
    """Each video has a whim of its own and a score that tells the videos apart: clips of other videos know nothing."""
    generator = np.random.default_rng(3)
    of_clip = np.repeat(np.arange(30), 12)
    whim = generator.random(30)[of_clip] < 0.5
    mark = generator.standard_normal((30, 4))[of_clip] + 0.01 * generator.standard_normal((360, 4))
    found = fit(Features(("a", "b", "c", "d"), mark), whim, of_clip, SETTINGS)
    assert auc(found.chance, whim, Resamples(of_clip, 100, 0)).low < 0.5


def test_all_of_a_class_in_one_video_cannot_be_split():
    with pytest.raises(ValueError, match="6 answers of 3 videos cannot be split"):
        split_by_video(np.array([1, 1, 0, 0, 0, 0], bool), np.array(list("aabbcc")), 5, 0)


def test_the_same_answers_give_the_same_model_and_others_another(given, found):
    again = fit(given.features, given.kept, given.videos, SETTINGS)
    assert again.model.digest == found.model.digest
    np.testing.assert_array_equal(again.chance, found.chance)
    changed = given.kept.copy()
    changed[0] = not changed[0]
    assert fit(given.features, changed, given.videos, SETTINGS).model.digest != found.model.digest


def test_the_kind_with_the_lower_held_out_loss_is_taken(found):
    assert set(found.log_losses) == set(KINDS)
    assert found.log_losses[found.model.kind] <= min(found.log_losses.values()) + 1e-3
    assert found.scaling_losses[found.model.scaling.kind] <= found.scaling_losses["none"]


def test_overconfident_models_are_scaled_back():
    """Answers that are mostly a coin's: whatever scaling is chosen, held-out loss is no worse than without."""
    given = planted(300, 30, seed=4, steepness=0.3)
    found = fit(given.features, given.kept, given.videos, SETTINGS)
    assert log_loss(found.chance, given.kept) <= log_loss(found.unscaled, given.kept)


def test_what_people_look_at_matters_and_noise_does_not(given, found):
    rises = importances(found.model, given.features, given.kept, 0)
    assert list(rises)[:3] == sorted(list(rises)[:3], key=lambda name: -rises[name])
    assert {"sharpness", "motion", "embedding"} == set(list(rises)[:3])
    assert rises["camera_movement"] > rises["noise"] and "constant" not in rises
