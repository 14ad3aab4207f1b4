"""Sample videos during training: what they show, say, and leave as it was."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace

import av
import cv2
import numpy as np
import pytest
import torch

from curation.tables import Workspace
from model.dit import VideoDiT
from model.presets import VAE_PRESETS
from model.text import Kind, TextState
from model.vae import CausalVideoVAE
from tests.model.seeded import randomised
from tests.training.encoded_source import TINY, clip_of
from training.clip_tensors import generator_of
from training.data import seed_of
from training.samples import SampleShape, SampleWriter, common_shape
from training.stages import StageSettings, TrainSettings

PROMPTS = ("a red disc moves right", "a blue square", "ein grüner Kreis, der sich sehr lange und sehr weit bewegt " * 3)
STAGE = StageSettings(name="video", shards={"video": 1}, shift=3.0)
SETTINGS = TrainSettings(sample_prompts=PROMPTS, sample_steps=2, sample_guidance=4.0, seed=3)
CLIPS = [clip_of("a", 5), clip_of("b", 5), clip_of("c", 9, 48)]


def encode(prompts: Sequence[str], kind: Kind) -> list[TextState]:
    generators = [generator_of(seed_of(prompt, kind)) for prompt in prompts]
    return [
        TextState(torch.randn(3, TINY.text_width, generator=each), torch.randn(TINY.pooled_width, generator=each))
        for each in generators
    ]


@pytest.fixture(scope="module")
def vae() -> CausalVideoVAE:
    network = randomised(VAE_PRESETS["tiny"])
    assert isinstance(network, CausalVideoVAE)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def dit() -> VideoDiT:
    network = randomised(replace(TINY, num_dual_blocks=1, num_single_blocks=1))
    assert isinstance(network, VideoDiT)
    return network


def writer_of(folder: object, vae: CausalVideoVAE) -> SampleWriter:
    return SampleWriter(Workspace(str(folder)), ("run", "video"), SETTINGS, STAGE, CLIPS, vae, encode)


def test_samples_are_of_the_shape_that_most_clips_have():
    assert common_shape(CLIPS) == SampleShape(32, 32, 5, 8.0)
    assert common_shape([clip_of("a"), clip_of("b", 9, 48)]) == SampleShape(48, 48, 9, 8.0)


def test_every_prompt_gets_a_video_its_caption_beside_it_and_a_row_of_the_sheet(tmp_path, vae, dit):
    writer = writer_of(tmp_path, vae)
    uris = writer.write(dit, 20)
    folder = tmp_path / "run" / "video" / "samples" / "step-000020"
    assert uris == [f"run/video/samples/step-000020/0{i}.mp4" for i in range(3)]
    assert sorted(path.name for path in folder.iterdir()) == [
        *("00.json", "00.mp4", "01.json", "01.mp4", "02.json", "02.mp4", "sheet.png")
    ]
    facts = json.loads((folder / "01.json").read_text())
    how = {"width": 32, "height": 32, "num_frames": 5, "frame_rate": 8.0, "steps": 2, "shift": 3.0, "cfg_scale": 4.0}
    seed = seed_of("sample", 3, 1)
    assert facts == {"caption": PROMPTS[1], "seed": seed, "step": 20, "stage": "video", "settings": how}
    with av.open(str(folder / "01.mp4")) as video:
        assert json.loads(video.metadata["comment"]) == facts
        assert [(frame.width, frame.height) for frame in video.decode(video=0)] == [(32, 32)] * 5
    sheet = cv2.imread(str(folder / "sheet.png"))
    assert sheet is not None and sheet.shape[1] > 4 * 240 and sheet.shape[0] > 3 * 240


def test_the_same_step_gives_the_same_bytes_and_other_weights_other_pixels(tmp_path, vae, dit):
    writer = writer_of(tmp_path, vae)
    place = tmp_path / "run" / "video" / "samples"
    writer.write(dit, 20)
    first = {path.name: path.read_bytes() for path in (place / "step-000020").iterdir()}
    writer_of(tmp_path, vae).write(dit, 20)
    assert first == {path.name: path.read_bytes() for path in (place / "step-000020").iterdir()}
    with torch.no_grad():
        dit.final_layer.linear.bias.add_(1)
    writer.write(dit, 20)
    with torch.no_grad():
        dit.final_layer.linear.bias.sub_(1)
    assert all((place / "step-000020" / f"0{i}.mp4").read_bytes() != first[f"0{i}.mp4"] for i in range(3))


def test_the_training_goes_on_as_if_nothing_had_been_sampled(tmp_path, vae, dit):
    before = {name: weight.clone() for name, weight in dit.state_dict().items()}
    states = torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002
    dit.train()
    writer_of(tmp_path, vae).write(dit, 20)
    assert torch.equal(states[0], torch.get_rng_state()) and states[1] == random.getstate()
    assert states[2] == str(np.random.get_state())  # noqa: NPY002
    assert dit.training and all(weight.grad is None for weight in dit.parameters())
    assert all(torch.equal(weight, before[name]) for name, weight in dit.state_dict().items())


def test_a_network_that_embeds_a_scale_is_told_it_and_runs_once_a_step(tmp_path, vae, dit):
    guided = randomised(replace(dit.config, guidance=True))
    assert isinstance(guided, VideoDiT)
    counted: list[int] = []
    guided.register_forward_pre_hook(lambda module, given: counted.append(len(given[0])))
    writer_of(tmp_path, vae).write(guided, 50)
    assert counted == [1] * 2 * len(PROMPTS)
    facts = json.loads((tmp_path / "run/video/samples/step-000050/00.json").read_text())
    assert facts["settings"]["guidance"] == 4.0 and "cfg_scale" not in facts["settings"]


def test_a_process_that_does_not_write_takes_part_in_every_forward(tmp_path, vae, dit):
    counted: list[int] = []
    handle = dit.register_forward_pre_hook(lambda module, given: counted.append(len(given[0])))
    assert writer_of(tmp_path, vae).write(dit, 20, writes=False) == []
    handle.remove()
    assert counted == [2] * 2 * len(PROMPTS) and not (tmp_path / "run").exists()
