"""The verb `encode`: every clip ends in a latent shard or a failure, whatever is killed, and nothing is done twice."""

import shutil
from pathlib import Path

import pytest
import torch

from curation.records import UserError
from curation.tables import Workspace
from jobs.config import Context
from jobs.encode import EMPTY_TEXT, encode, encode_job, encoded_inputs
from jobs.engine import EngineSettings
from tests.jobs.faults import killing
from tests.jobs.trained import TRAIN, context
from tests.training.moving_shapes import pack_shapes
from training.curriculum import TrainingRun
from training.data import ClipLibrary
from training.encoding import ClipEncoder, LatentLibrary
from training.latent_shards import LATENTS, read_latent_shards
from training.networks import load_network, open_text_encoder
from training.stages import StageSettings

SMALL = TRAIN.model_copy(
    update={
        "stages": (
            StageSettings(name="vae", objective="vae", shards={"image": 1}, steps=1, batch=1, crop_px=16),
            StageSettings(name="flow", shards={"image": 1, "video": 1}, steps=1, batch=1),
        )
    }
)


@pytest.fixture(scope="module")
def with_vae(tmp_path_factory) -> Path:
    """40 images and 3 clips, and a VAE of one step; tests copy it."""
    folder = tmp_path_factory.mktemp("with_vae")
    workspace = Workspace(str(folder))
    torch.set_num_threads(1)
    pack_shapes(workspace, "image", count=40)
    pack_shapes(workspace, "video", count=3, num_frames=5)
    TrainingRun(workspace, SMALL).train(SMALL.stages[0], lambda step, loss: None)
    return folder


def copied(folder: Path, to: Path) -> Workspace:
    shutil.copytree(folder, to)
    return Workspace(str(to))


def asked(workspace: Workspace, **engine: object) -> Context:
    given = context(workspace, engine=EngineSettings.model_validate(engine))
    return Context(given.recipe.model_copy(update={"train": SMALL}), workspace, given.args)


def bytes_of(workspace: Workspace, key_id: str) -> dict[str, bytes]:
    names = workspace.file_names(LATENTS, key_id)
    return {name: workspace.read_bytes(LATENTS, key_id, name) for name in sorted(names)}


def test_without_a_finished_vae_it_says_what_to_run(tmp_path):
    workspace = Workspace(str(tmp_path))
    pack_shapes(workspace, "image", count=2)
    pack_shapes(workspace, "video", count=2, num_frames=5)
    with pytest.raises(UserError, match=r"stage 'vae' of run \w+ is not finished.*run `dailies train` first"):
        encode_job(asked(workspace))


def test_a_recipe_whose_stages_read_no_latents_is_refused(tmp_path):
    workspace = Workspace(str(tmp_path))
    pack_shapes(workspace, "image", count=2)
    given = asked(workspace)
    vae_alone = SMALL.model_copy(update={"stages": SMALL.stages[:1]})
    with pytest.raises(UserError, match=r"no stage of .* reads latents"):
        encode_job(Context(given.recipe.model_copy(update={"train": vae_alone}), workspace, given.args))


def test_groups_of_clips_and_the_empty_text_are_the_inputs(with_vae, tmp_path):
    job = encode_job(asked(copied(with_vae, tmp_path / "w")))
    assert [len(item.inputs) for item in job.items] == [1, 8, 8, 8, 8, 8, 3]
    assert EMPTY_TEXT in job.items[0].inputs


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_killed_workers_lose_nothing_and_what_they_wrote_is_what_an_undisturbed_run_writes(with_vae, tmp_path, capsys):
    calm, hunted = (copied(with_vae, tmp_path / name) for name in ("calm", "hunted"))
    tally = encode(asked(calm))
    assert tally.holds and (tally.inputs, tally.results, tally.new_results) == (44, 44, 44)
    key_id = encode_job(asked(calm)).digest
    written = bytes_of(calm, key_id)

    with killing(2, lambda kills: len(encoded_inputs(hunted, key_id)) > 9 * kills) as killed:
        again = encode(asked(hunted))
    assert len(killed) == 2
    assert again.holds and (again.results, again.pending) == (44, 0)
    assert bytes_of(hunted, key_id) == written

    assert encode(asked(hunted)).new_results == 0
    assert bytes_of(hunted, key_id) == written
    assert "44 results + 0 failures + 0 pending" in str(again)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_what_was_encoded_is_what_training_would_encode_itself_and_a_broken_clip_is_a_failure(with_vae, tmp_path):
    workspace = copied(with_vae, tmp_path / "w")
    given = asked(workspace, workers=1)
    run = TrainingRun(workspace, SMALL)
    broken = run.library.clips["video"][1]
    path = workspace.local_path(broken.shard_uri)
    data, whole = bytearray(path.read_bytes()), path.read_bytes()
    start = data.index(f"{broken.clip_id}.mp4".encode()) + 512
    data[start + 600] ^= 1
    path.write_bytes(bytes(data))

    tally = encode(given)
    assert tally.holds and (tally.results, sum(tally.failures.values()), tally.pending) == (43, 1, 0)
    (row,) = workspace.table("failures").records()
    assert row.job == "encode" and "is damaged" in row.detail and broken.clip_id in row.detail

    job = encode_job(given)
    (video,) = [one for one in read_latent_shards(workspace, job.digest) if one.shard_uri == broken.shard_uri]
    assert broken.clip_id not in video.clip_ids and len(video.clip_ids) == 2

    path.write_bytes(whole)
    vae = load_network(run.store(SMALL.stages[0]))
    text = open_text_encoder(workspace, SMALL.text, run.text_encoder_id)
    library = ClipLibrary(workspace, ["image"])
    live = ClipEncoder(vae, text, library.pixels, SMALL.captions, SMALL.latents)  # type: ignore[arg-type]
    stored = LatentLibrary(workspace, library, job.make_worker.args[1].key, ["image"])  # type: ignore[attr-defined]
    for clip in library.clips["image"][:9]:
        assert torch.equal(stored.latent(clip, 5), live.latent(clip, 5))
        assert torch.equal(stored.text(clip, 2).states, live.text(clip, 2).states)
        assert torch.equal(stored.empty_text(clip).pooled, live.empty_text(clip).pooled)
