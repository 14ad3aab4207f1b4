"""Files of checkpoints: what is in them, and that torch's own reader opens them too."""

import hashlib
import json

import pytest
import torch
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.distributed.checkpoint.state_dict_loader import load

from curation.tables import Workspace
from model.weight_files import read_header
from model.weight_writing import TensorSpec
from training.checkpoint import CheckpointStore
from training.checkpoint_files import digest_of, stem_of, write_file


def test_a_stem_is_the_kind_of_tensors_in_a_file():
    assert stem_of("model.rank-00003") == "model"
    assert stem_of("average") == "average"


def test_the_digest_taken_while_writing_is_that_of_the_file(tmp_path):
    workspace = Workspace(str(tmp_path))
    tensors = [torch.arange(12.0).reshape(3, 4).T, torch.tensor(7, dtype=torch.int64)]
    specs = [TensorSpec("a", torch.float32, (4, 3)), TensorSpec("b", torch.int64, ())]
    found = write_file(workspace, ("file.safetensors",), specs, tensors, {"note": "x"})
    assert found == hashlib.sha256((tmp_path / "file.safetensors").read_bytes()).hexdigest()
    assert found == digest_of(workspace, "file.safetensors")
    assert digest_of(workspace, "other") == ""


@pytest.fixture
def saved(tmp_path) -> tuple[CheckpointStore, dict[str, torch.Tensor]]:
    store = CheckpointStore(Workspace(str(tmp_path)), "run")
    tensors = {
        "bytes": torch.arange(5, dtype=torch.uint8),
        "matrix": torch.randn(6, 4, generator=torch.Generator().manual_seed(0)),
        "half": torch.arange(8, dtype=torch.bfloat16),
    }
    store.save(1, {"model": tensors}, {}, wait=True)
    return store, tensors


def test_values_begin_at_multiples_of_their_size_and_headers_tell_where_chunks_lie(saved):
    store, tensors = saved
    found, metadata = read_header(store.workspace.local_path(*store.file_parts(1, "model.rank-00000")))
    assert list(found) == ["matrix", "half", "bytes"]
    assert all(tensor.start % tensor.dtype.itemsize == 0 for tensor in found.values())
    places = {name: {"saved_offsets": [0] * tensor.ndim} for name, tensor in tensors.items()}
    assert json.loads(metadata["DCP_SHARDING_INFO"]) == places


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_torchs_reader_of_hugging_face_files_reads_them(saved):
    store, tensors = saved
    found = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    folder = store.workspace.local_path(*store.file_parts(1, "model")).parent
    planner = DefaultLoadPlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
    load(found, storage_reader=HuggingFaceStorageReader(str(folder)), planner=planner)
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor)
