"""Results of finished stages, and their mean."""

import pytest
import torch

from curation.records import UserError
from tests.training.finished_stages import TINY, finish
from training.averaging import averaged, stage_weights
from training.checkpoint import CheckpointStore


def test_the_mean_of_three_stages_and_of_one(shapes):
    stores = [CheckpointStore(shapes, "run", name) for name in "abc"]
    networks = [dict(finish(store, seed=seed).named_parameters()) for seed, store in enumerate(stores)]
    with stage_weights(stores[0]) as a, stage_weights(stores[1]) as b, stage_weights(stores[2]) as c:
        mean, alone = dict(averaged([a, b, c])), dict(averaged([b]))
    assert mean.keys() == networks[0].keys()
    for name, tensor in mean.items():
        wanted = torch.stack([network[name].double() for network in networks]).mean(dim=0).float()
        assert torch.equal(tensor, wanted)
        assert torch.equal(alone[name], networks[1][name])


def test_a_result_in_an_object_store_is_read_too(object_store):
    store = CheckpointStore(object_store, "run", "a")
    network = dict(finish(store).named_parameters())
    with stage_weights(store) as weights:
        assert weights.config == TINY
        assert all(torch.equal(tensor, network[name]) for name, tensor in averaged([weights]))


def test_a_damaged_result_is_refused(shapes):
    store = CheckpointStore(shapes, "run", "a")
    finish(store)
    path = shapes.local_path(*store.file_parts(3, "average"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="is damaged: state"), stage_weights(store):
        pass
