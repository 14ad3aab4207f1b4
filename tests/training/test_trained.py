"""What a run has trained, opened without its recipe."""

import pytest
import torch

from curation.records import UserError
from tests.training.test_curriculum import train_all, undisturbed, weights
from training.trained import find_trained, load_trained, newest_run

__all__ = ["undisturbed"]  # a fixture


def test_trained_networks_open_without_the_recipe_and_latents_have_unit_size(undisturbed):
    run_id = newest_run(undisturbed.workspace)
    found = find_trained(undisturbed.workspace, run_id)
    trained = load_trained(undisturbed.workspace, found)
    assert (run_id, found.stage) == (undisturbed.run_id, "mixed")
    averaged = weights(undisturbed)
    assert torch.equal(trained.dit.img_in.proj.weight, averaged["mixed/average/img_in.proj.weight"])
    assert trained.vae.scaling_factor != 0.476986


def test_generating_from_an_unfinished_run_is_refused(shapes):
    with pytest.raises(UserError, match="nothing was trained"):
        newest_run(shapes)
    with pytest.raises(InterruptedError):
        train_all(shapes, stop_after=8)
    with pytest.raises(UserError, match=r"finished \['vae'\]; generating needs"):
        find_trained(shapes, newest_run(shapes))
    with pytest.raises(UserError, match="no training run 'other'"):
        find_trained(shapes, "other")
