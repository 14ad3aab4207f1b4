"""The verb `generate`, from a run trained on the spot to a video that players accept."""

import argparse
import io
import json

import av
import numpy as np
import pytest
import torch

from curation.records import UserError
from curation.tables import Workspace
from jobs.config import Context, Recipe
from jobs.generate import GenerateSettings, check_size, generate
from tests.training.moving_shapes import pack_shapes
from training.curriculum import TrainingRun
from training.stages import StageSettings, TrainSettings

TRAIN = TrainSettings(
    threads=1,
    stages=(
        StageSettings(name="vae", objective="vae", shards={"image": 1}, steps=2, batch=2, crop_px=16),
        StageSettings(name="image_256", shards={"image": 1}, steps=2, batch=2, learning_rate=1e-2, warmup_steps=0),
    ),
)
SETTINGS = GenerateSettings(prompts=("a red disc", "a blue square"), num_frames=5, steps=2)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    torch.set_num_threads(1)
    workspace = Workspace(str(tmp_path_factory.mktemp("trained")))
    pack_shapes(workspace, "image", count=6)
    run = TrainingRun(workspace, TRAIN)
    for stage in TRAIN.stages:
        run.train(stage, lambda step, loss: None)
    return workspace


def context(workspace: Workspace, settings: GenerateSettings = SETTINGS, **flags) -> Context:
    args = argparse.Namespace(**{"prompt": [], "out": None, "run": None, **flags})
    return Context(Recipe(train=TRAIN, generate=settings), workspace, args)


def test_each_prompt_becomes_a_video_with_its_facts_beside_it_and_a_row(workspace):
    samples = generate(context(workspace))
    assert [sample.prompt for sample in samples] == list(SETTINGS.prompts)
    assert workspace.read_bytes(samples[0].uri) != workspace.read_bytes(samples[1].uri)
    facts = json.loads(workspace.read_bytes("samples", f"{samples[0].sample_id}.json"))
    assert (facts["prompt"], facts["seed"], facts["settings"]["num_frames"]) == ("a red disc", 0, 5)
    assert set(facts["weights_sha256"]) == {"vae", "flow"}
    rows = workspace.table("samples").records()
    assert {row.sample_id for row in rows} >= {sample.sample_id for sample in samples}
    assert samples[0].checkpoint == f"{facts['run_id']}/image_256"


def test_players_get_h264_with_the_index_in_front_and_its_colours_named(workspace):
    (sample,) = generate(context(workspace, prompt=["a red disc"]))
    data = workspace.read_bytes(sample.uri)
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        context_ = stream.codec_context
        assert (stream.codec.name, context_.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 8)
        assert (context_.color_primaries, context_.color_trc, context_.colorspace) == (1, 1, 1)
    assert np.stack(frames).shape == (5, 64, 64, 3)


def test_running_it_again_makes_nothing_twice_and_another_seed_another_video(workspace, capsys):
    first = generate(context(workspace))
    path = workspace.local_path(first[0].uri)
    written_ns = path.stat().st_mtime_ns
    assert generate(context(workspace)) == first
    assert path.stat().st_mtime_ns == written_ns
    assert capsys.readouterr().out.count("(made before)") >= 2
    other = generate(context(workspace, SETTINGS.model_copy(update={"seed": 1})))
    assert {sample.sample_id for sample in other}.isdisjoint(sample.sample_id for sample in first)


def test_a_lost_file_of_the_same_sample_would_have_the_same_bytes(workspace, tmp_path):
    (sample,) = generate(context(workspace, prompt=["a green disc"], out=str(tmp_path / "a.mp4")))
    workspace.table("samples").remove(sample.sample_id)
    (again,) = generate(context(workspace, prompt=["a green disc"], out=str(tmp_path / "b.mp4")))
    assert again == sample
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_a_still_image_is_a_video_of_one_frame(workspace):
    (sample,) = generate(context(workspace, SETTINGS.model_copy(update={"num_frames": 1}), prompt=["a red disc"]))
    with av.open(io.BytesIO(workspace.read_bytes(sample.uri))) as container:
        assert sum(1 for _ in container.decode(video=0)) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 70}, "generate.width must be a multiple of 16 px, got 70; nearest: 64"),
        ({"height": 90}, "generate.height must be a multiple of 16 px, got 90; nearest: 96"),
        ({"num_frames": 16}, "must be 4n[+]1, got 16; nearest: 17"),
        ({"num_frames": 2}, "must be 4n[+]1, got 2; nearest: 1"),
    ],
)
def test_a_size_that_cannot_be_made_is_refused_with_the_nearest_that_can(change, message):
    with pytest.raises(UserError, match=message):
        check_size(SETTINGS.model_copy(update=change))


def test_one_file_for_two_prompts_and_an_untrained_workspace_are_refused(workspace, tmp_path):
    with pytest.raises(UserError, match="--out takes one video, but there are 2 prompts"):
        generate(context(workspace, out=str(tmp_path / "a.mp4")))
    with pytest.raises(UserError, match="nothing was trained"):
        generate(context(Workspace(str(tmp_path))))
