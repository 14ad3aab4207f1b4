"""Networks from a run and from a folder of weights: found without loading, and the same when they are the same."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from curation.records import UserError
from curation.tables import Workspace
from jobs.generate import generate
from jobs.generators import find_source
from jobs.sampling import png
from tests.jobs.trained import SETTINGS, context
from tests.model.text_encoders import make_llava
from tests.training.finished_stages import finish
from training.checkpoint import CheckpointStore
from training.stages import TextSettings
from training.trained import find_trained, load_trained, newest_run


@pytest.fixture(scope="module")
def folder(trained_workspace: Workspace, tmp_path_factory) -> Path:
    """The trained run written out as a folder of weights, tokenizers beside their encoders as diffusers has them."""
    folder = tmp_path_factory.mktemp("weights")
    found = find_trained(trained_workspace, newest_run(trained_workspace))
    trained = load_trained(trained_workspace, found)
    for name, network in (("transformer", trained.dit), ("vae", trained.vae)):
        (folder / name).mkdir()
        save_file(
            {key: value.contiguous() for key, value in network.state_dict().items()}, folder / name / "w.safetensors"
        )
    trained.text.llm.save_pretrained(folder / "text_encoder")
    trained.text.tokenizer.save_pretrained(folder / "tokenizer")
    trained.text.clip.save_pretrained(folder / "text_encoder_2")
    trained.text.clip_tokenizer.save_pretrained(folder / "tokenizer_2")
    return folder


def test_a_folder_of_weights_makes_a_sample_and_says_which_weights(trained_workspace, folder):
    (sample,) = generate(context(trained_workspace, prompt=["a green disc"], weights=str(folder)))
    assert sample.checkpoint == f"weights/{folder.name}"
    source = find_source(trained_workspace, "", str(folder), TextSettings())
    assert set(source.weights_sha256) == {"dit", "vae", "llm", "clip"}
    assert not source.sees_pictures


def test_changed_weights_are_another_sample(trained_workspace, folder, tmp_path):
    before = find_source(trained_workspace, "", str(folder), TextSettings()).weights_sha256
    changed = tmp_path / "changed"
    changed.mkdir()
    for path in folder.iterdir():
        if path.name != "vae":
            (changed / path.name).symlink_to(path)
    (changed / "vae.safetensors").write_bytes(b"other")
    after = find_source(trained_workspace, "", str(changed), TextSettings()).weights_sha256
    assert {network for network in before if before[network] != after[network]} == {"vae"}
    with pytest.raises(UserError, match=r"--weights: .*vae.safetensors is no safetensors file"):
        generate(context(trained_workspace, prompt=["a"], weights=str(changed)))


def test_what_a_folder_lacks_is_said_and_the_recipe_can_name_text_encoders(trained_workspace, folder, tmp_path):
    with pytest.raises(UserError, match=r"--weights .*nowhere is no folder"):
        find_source(trained_workspace, "", str(tmp_path / "nowhere"), TextSettings())
    with pytest.raises(UserError, match=r"holds no dit: none of transformer, dit, .* is there$"):
        find_source(trained_workspace, "", str(tmp_path), TextSettings())
    for name in ("transformer", "vae"):
        (tmp_path / name).symlink_to(folder / name)
    with pytest.raises(UserError, match=r"holds no llm: none of text_encoder is there, and train.text.llm names none"):
        find_source(trained_workspace, "", str(tmp_path), TextSettings())
    named = TextSettings(llm=str(folder / "text_encoder"), clip=str(folder / "text_encoder_2"))
    assert find_source(trained_workspace, "", str(tmp_path), named).weights_sha256["llm"]


def test_an_earlier_stage_of_a_run_is_sampled_as_well_as_the_last(trained_workspace, tmp_path):
    shutil.copytree(trained_workspace.root, tmp_path / "ws")
    workspace, run_id = Workspace(str(tmp_path / "ws")), newest_run(trained_workspace)
    facts = json.loads(workspace.read_bytes("checkpoints", run_id, "run.json"))
    stages = facts["settings"]["stages"]
    stages.append({**stages[-1], "name": "later", "steps": 3})
    workspace.write_bytes(json.dumps(facts).encode(), "checkpoints", run_id, "run.json")
    finish(CheckpointStore(workspace, "checkpoints", run_id, "later"))
    asked = context(workspace, prompt=["a red disc"])
    (last,), (early,) = generate(asked), generate(context(workspace, prompt=["a red disc"], stage="image_256"))
    assert (last.checkpoint, early.checkpoint) == (f"{run_id}/later", f"{run_id}/image_256")
    assert workspace.read_bytes(last.uri) != workspace.read_bytes(early.uri)
    assert generate(context(trained_workspace, prompt=["a red disc"])) == [early]
    with pytest.raises(UserError, match=f"run {run_id} has no finished flow stage 'vae'; it has image_256, later"):
        generate(context(workspace, prompt=["a red disc"], stage="vae"))
    with pytest.raises(UserError, match="--stage and --weights name two sets of networks"):
        find_source(workspace, "", str(tmp_path), TextSettings(), "later")


def test_a_language_model_that_sees_is_shown_the_first_frame(trained_workspace, folder, tmp_path, capsys):
    seeing = tmp_path / "seeing"
    seeing.mkdir()
    for name in ("transformer", "vae", "text_encoder_2", "tokenizer_2"):
        (seeing / name).symlink_to(folder / name)
    tokenized = tmp_path / "llm"
    shutil.copytree(folder / "text_encoder", tokenized)
    shutil.copytree(folder / "tokenizer", tokenized, dirs_exist_ok=True)
    make_llava(seeing / "text_encoder", tokenized)
    (tmp_path / "first.png").write_bytes(png(np.full((32, 32, 3), 200, np.uint8)))
    asked = {"prompt": ["a disc"], "image": str(tmp_path / "first.png"), "weights": str(seeing)}
    (seen,) = generate(context(trained_workspace, **asked))
    assert "the language model sees it too" in capsys.readouterr().out
    told = SETTINGS.model_copy(update={"picture_in_text": False})
    (unseen,) = generate(context(trained_workspace, told, **asked))
    assert "the language model reads the words alone" in capsys.readouterr().out
    assert trained_workspace.read_bytes(seen.uri) != trained_workspace.read_bytes(unseen.uri)


def test_lower_precision_is_another_sample_of_the_same_size(trained_workspace):
    half = SETTINGS.model_copy(update={"precision": "bf16"})
    (sample,) = generate(context(trained_workspace, half, prompt=["a green disc"]))
    (whole,) = generate(context(trained_workspace, prompt=["a green disc"]))
    assert sample.sample_id != whole.sample_id
