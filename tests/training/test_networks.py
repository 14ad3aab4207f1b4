"""Networks from presets and checkpoints, text encoders from folders."""

import pytest
import torch

from curation.records import UserError
from model.presets import DIT_PRESETS, VAE_PRESETS
from training.networks import build_network, make_text_encoder, open_text_encoder
from training.stages import TextSettings


def test_weights_follow_from_the_seed_and_leave_torch_alone():
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    one, two, other = (build_network(DIT_PRESETS["tiny"], seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_a_new_vae_starts_almost_without_noise_in_its_latents():
    vae = build_network(VAE_PRESETS["tiny"], 0)
    posterior = vae.encode(torch.zeros(1, 3, 1, 64, 64))  # type: ignore[operator]
    assert posterior.logvar.mean().item() < -4


def test_tiny_text_encoders_are_the_same_for_the_same_captions(shapes, tmp_path):
    corpus = ["a red disc moves right", "a blue square"]
    encoder_id = make_text_encoder(shapes, corpus, seed=0)
    names = shapes.file_names("text_encoder", encoder_id, "llm")
    first = {name: shapes.read_bytes("text_encoder", encoder_id, "llm", name) for name in names}
    shapes.local_path("text_encoder", encoder_id, "llm", "model.safetensors").unlink()
    assert make_text_encoder(shapes, corpus, seed=0) == encoder_id
    assert {name: shapes.read_bytes("text_encoder", encoder_id, "llm", name) for name in names} == first
    assert make_text_encoder(shapes, corpus[:1], seed=0) != encoder_id
    (state,) = open_text_encoder(shapes, TextSettings(), encoder_id).encode(["a red disc"], "video")
    assert state.states.shape[1] == DIT_PRESETS["tiny"].text_width
    assert state.pooled.shape == (DIT_PRESETS["tiny"].pooled_width,)


def test_a_folder_without_a_model_is_refused_by_name(shapes, tmp_path):
    with pytest.raises(UserError, match=r"train.text does not fit: .*empty: there is no such folder"):
        open_text_encoder(shapes, TextSettings(llm=str(tmp_path / "empty"), clip=str(tmp_path / "empty")), "")
