"""Models in a workspace: found under the inputs they were taught on, and applied with each clip's own vector."""

import numpy as np
import pytest

from annotation.fitting import fit_one
from annotation.suitability import SUITABILITY
from curation.records import UserError
from curation.score import versions
from jobs.calibrations import (
    current_calibration,
    embedder_of,
    features_at,
    point_at,
    read_model,
    vectors_at,
    write_model,
    write_scores,
)
from jobs.gates import current_catalogue
from tests.jobs.taught import recipe_of, taught_context


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    return taught_context(tmp_path_factory.mktemp("calibrations"))


def test_each_clip_gets_the_chance_of_its_own_scores_and_vector(context):
    workspace, recipe = context.workspace, context.recipe
    catalogue = current_catalogue(workspace, recipe)
    everywhere = np.arange(len(catalogue))
    vectors = vectors_at(workspace, recipe, catalogue, everywhere)
    assert vectors is not None and np.isnan(vectors[:, 0]).sum() == 15
    features = features_at(catalogue, recipe.score, everywhere, vectors)
    kept = np.nan_to_num(vectors[:, 0]) > 0  # a taste that only the vectors tell
    model = fit_one("logistic", features, kept, everywhere % 30, recipe.calibrate.model_copy(update={"vector_axes": 8}))
    assert write_scores(workspace, recipe, catalogue, model) == (300, 0, 0)
    rows = {row.clip_id: row.value for row in workspace.table("scores").records() if row.scorer == SUITABILITY}
    expected = dict(zip(catalogue.clip_ids.to_pylist(), model.chance(features), strict=True))
    assert rows == pytest.approx(expected, abs=1e-12)
    known = ~np.isnan(vectors[:, 0])
    assert ((model.chance(features) > 0.5) == kept)[known].mean() > 0.9


def test_features_are_scores_facts_and_classes_in_the_order_of_the_places(context):
    catalogue = current_catalogue(context.workspace, context.recipe)
    places = np.array([30, 7, 2])
    features = features_at(catalogue, context.recipe.score, places, None)
    assert features.names[:5] == context.recipe.score.scorers and "duration_s" in features.names
    assert "duplicate" not in features.names and SUITABILITY not in features.names
    assert np.isnan(features.values[1, 0]) and not np.isnan(features.values[0, 0]), "clip 7 has a failed score"
    movement = features.classes["camera_movement"]
    assert set(movement.names) == {"pan left", "static shot"} and len(movement.codes) == 3


def test_vectors_of_an_embedder_that_does_not_run_are_refused_and_none_can_be_asked_for():
    assert embedder_of(recipe_of(embedder="")) is None
    recipe = recipe_of()
    assert embedder_of(recipe) == ("perceptual_hash", versions(recipe.score)["perceptual_hash"])
    with pytest.raises(UserError, match=r"calibrate.embedder is 'clip', but score.embedders has only perceptual_hash"):
        embedder_of(recipe_of(embedder="clip"))


def test_a_model_is_current_for_the_inputs_it_was_taught_on_alone(context):
    workspace, recipe = context.workspace, context.recipe
    catalogue = current_catalogue(workspace, recipe)
    features = features_at(catalogue, recipe.score, np.arange(300), None)
    model = fit_one("logistic", features, np.arange(300) % 3 == 0, np.arange(300) % 30, recipe.calibrate)
    write_model(workspace, model)
    point_at(workspace, recipe, model.digest)
    assert current_calibration(workspace, recipe) == model.digest
    assert read_model(workspace, model.digest).to_json() == model.to_json()
    assert current_calibration(workspace, recipe_of(precision=0.5)) == model.digest, "a wish changes no score"
    for other in (recipe_of(embedder=""), recipe_of(allow_simulated=True)):
        assert current_calibration(workspace, other) is None
