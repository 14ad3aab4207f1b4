"""A fitted model as numbers: stored as JSON, applied by numpy, deaf to units, columns in other places and gaps."""

import json

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier

from annotation.fitting import fit_encoder, fit_one
from annotation.suitability import CalibrateSettings, Classes, Features, Model, Scaling, Trees, rounded
from tests.annotation.taught import planted

SETTINGS = CalibrateSettings(vector_axes=4)


@pytest.mark.parametrize("kind", ["logistic", "boosting"])
def test_a_stored_model_answers_the_same_to_the_last_bit(kind):
    given = planted(200)
    model = fit_one(kind, given.features, given.kept, given.videos, SETTINGS)
    again = Model.from_json(model.to_json())
    assert again.digest == model.digest and again.to_json() == model.to_json()
    np.testing.assert_array_equal(again.chance(given.features), model.chance(given.features))
    assert json.loads(model.to_json())["kind"] == kind


def test_trees_say_what_scikit_learn_says():
    given = planted(300)
    model = fit_one("boosting", given.features, given.kept, given.videos, SETTINGS)
    x_NK = model.encoder.encode(given.features)
    theirs = GradientBoostingClassifier(
        n_estimators=120, learning_rate=0.06, min_samples_leaf=8, subsample=0.7, max_features=0.4, random_state=0
    ).fit(x_NK, given.kept)
    assert isinstance(model.core, Trees) and len(model.core.trees) == 120
    np.testing.assert_allclose(model.core.logits(x_NK), theirs.decision_function(x_NK), atol=1e-6)


def test_units_and_outliers_do_not_matter():
    """Another unit is the same model; a clip far outside is like the farthest clip that was seen."""
    given = planted(200)
    values = given.features.values.copy()
    values[:, 0] = np.log(values[:, 0])
    other = Features(given.features.names, values, given.features.classes, given.features.vectors)
    models = [fit_one("logistic", each, given.kept, given.videos, SETTINGS) for each in (given.features, other)]
    chances = [model.chance(each) for model, each in zip(models, (given.features, other), strict=True)]
    assert np.corrcoef(chances)[0, 1] > 0.999
    far = given.features.take(np.array([int(np.argmax(given.features.values[:, 0]))] * 2))
    far.values[1, 0] *= 1e6
    assert np.ptp(models[0].chance(far)) < 1e-9


def test_columns_are_found_by_name_and_what_is_gone_counts_as_missing():
    given = planted(200)
    model = fit_one("logistic", given.features, given.kept, given.videos, SETTINGS)
    order = np.array([3, 1, 0, 4, 2])
    names = tuple(np.array(given.features.names)[order].tolist())
    swapped = Features(names, given.features.values[:, order], given.features.classes, given.features.vectors)
    np.testing.assert_array_equal(model.chance(swapped), model.chance(given.features))
    bare = Features((), np.zeros((200, 0)))
    assert np.ptp(model.chance(bare)) == 0 and 0 < model.chance(bare)[0] < 1


def test_a_class_that_was_never_seen_is_none_of_the_known_ones():
    given = planted(200)
    model = fit_one("logistic", given.features, given.kept, given.videos, SETTINGS)
    labels = given.features.classes["camera_movement"]
    renamed = {"camera_movement": Classes(labels.codes, ("a", "b", "c"))}
    none = {"camera_movement": Classes(np.full(200, -1), labels.names)}
    features = [
        Features(given.features.names, given.features.values, each, given.features.vectors) for each in (renamed, none)
    ]
    np.testing.assert_array_equal(model.chance(features[0]), model.chance(features[1]))


def test_constant_and_absent_columns_are_left_out_and_gaps_get_the_median_and_a_flag():
    given = planted(200)
    encoder = fit_encoder(given.features, 4)
    assert set(encoder.knots) == {"sharpness", "motion", "noise"} and encoder.indicators == ("noise",)
    x_NK, names = encoder.encode(given.features), encoder.names()
    assert x_NK.shape == (200, len(names)) and np.isfinite(x_NK).all()
    gaps = np.isnan(given.features.values[:, 2])
    np.testing.assert_array_equal(x_NK[:, names.index("noise missing")], gaps)
    np.testing.assert_array_equal(x_NK[gaps, names.index("noise")], 0)
    assert abs(np.median(x_NK[~gaps, names.index("noise")])) < 0.05
    assert names[-1] == "embedding missing" and x_NK[:, -1].sum() == np.isnan(given.features.vectors[:, 0]).sum()


@pytest.mark.parametrize(
    "scaling", [Scaling(), Scaling("platt", [0.5, 1.0]), Scaling("isotonic", [-1.0, 1.0], [0.2, 0.9])]
)
def test_chances_rise_with_the_logit_and_stay_between_0_and_1(scaling):
    chance = scaling.chance(np.linspace(-1000, 1000, 101))
    assert (np.diff(chance) >= 0).all() and 0 <= chance[0] < chance[-1] <= 1


def test_rounding_gives_plain_numbers_that_json_keeps():
    given = [np.array([1 / 3, 2.0]), np.int64(7), 1e-300]
    assert rounded(given) == [[0.333333333, 2.0], 7, 1e-300] == json.loads(json.dumps(rounded(given)))
