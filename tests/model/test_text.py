"""The text encoders against plain calls of transformers, on tiny models made on the spot."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModel,
    AutoTokenizer,
    CLIPTextModel,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaModel,
    T5Config,
)

from model.text import Kind, TextEncoder, TextSettings, build_tiny_text_encoder, weights_digest

CORPUS = [
    "a red ball rolls over a wooden table",
    "a woman in a yellow coat walks through the rain at night",
    "the camera pans slowly over snowy mountains",
]
PROMPTS = [CORPUS[0], "", "zwölf Boxkämpfer 🥊 {prompt} jagen", CORPUS[1] + " " + CORPUS[2]]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build_tiny_text_encoder(tmp_path_factory.mktemp("tiny"), CORPUS, seed=0)


@pytest.fixture(scope="module")
def encoder(folders: tuple[Path, Path]) -> TextEncoder:
    return TextEncoder.from_folders(*folders)


@pytest.mark.parametrize("kind", ["image", "video"])
def test_states_equal_plain_transformers_padded_to_the_maximum(folders: tuple[Path, Path], kind: Kind) -> None:
    # float64, because in float32 the length of the padding alone moves states by 3e-6
    encoder = TextEncoder.from_folders(*folders, dtype=torch.float64)
    tokenizer, llm = AutoTokenizer.from_pretrained(folders[0]), AutoModel.from_pretrained(folders[0]).double()
    template = encoder.settings.video_template if kind == "video" else encoder.settings.image_template
    crop = encoder.crop_start(kind)
    tokens = tokenizer(
        [template.replace("{prompt}", prompt, 1) for prompt in PROMPTS],
        padding="max_length",
        max_length=256 + crop,
        truncation=True,
        return_tensors="pt",
        return_token_type_ids=False,
    )
    assert tokenizer.decode(tokens["input_ids"][0, crop:]).startswith(f"{PROMPTS[0]}<|eot_id|>")
    with torch.no_grad():
        hidden = llm(**tokens, output_hidden_states=True).hidden_states
    for i, state in enumerate(encoder.encode(PROMPTS, kind)):
        valid = tokens["attention_mask"][i].sum()
        torch.testing.assert_close(state.states, hidden[-3][i, crop:valid], rtol=0, atol=1e-6)
    assert not torch.allclose(hidden[-3][0], llm.norm(hidden[-3][0])), "a final norm would show"


def test_the_vector_equals_plain_transformers_clip(folders: tuple[Path, Path], encoder: TextEncoder) -> None:
    tokenizer, clip = AutoTokenizer.from_pretrained(folders[1]), CLIPTextModel.from_pretrained(folders[1])
    tokens = tokenizer(PROMPTS, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
    with torch.no_grad():
        states = clip(tokens["input_ids"]).last_hidden_state
    end = tokenizer.eos_token_id
    assert end == len(tokenizer) - 1, "CLIP pools at the largest id"
    for i, state in enumerate(encoder.encode(PROMPTS, "image")):
        first_end = tokens["input_ids"][i].tolist().index(end)
        torch.testing.assert_close(state.pooled, states[i, first_end], rtol=0, atol=1e-6)


def test_prompts_are_told_apart_and_encode_the_same_alone(encoder: TextEncoder) -> None:
    together = encoder.encode(PROMPTS, "video")
    for prompt, state in zip(PROMPTS, together, strict=True):
        alone = encoder.encode([prompt], "video")[0]
        torch.testing.assert_close(alone.states, state.states, rtol=0, atol=1e-5)
        torch.testing.assert_close(alone.pooled, state.pooled, rtol=0, atol=1e-5)
    pooled = torch.stack([state.pooled for state in together])
    similarity = torch.nn.functional.cosine_similarity(pooled[:, None], pooled[None], dim=-1)
    assert (similarity - torch.eye(4)).max() < 0.98
    assert encoder.encode([], "video") == []


def test_a_long_prompt_loses_its_end_and_no_state_keeps_the_batch_alive(encoder: TextEncoder) -> None:
    long, short = encoder.encode(["rain " * 400, "rain"], "image")
    assert long.states.shape == (256, encoder.width)
    assert len(short.states) < 10
    assert short.states.untyped_storage().nbytes() == short.states.nbytes


def test_the_same_corpus_and_seed_give_the_same_bytes(folders: tuple[Path, Path], tmp_path: Path) -> None:
    before = torch.get_rng_state()
    again = build_tiny_text_encoder(tmp_path / "again", CORPUS[::-1], seed=0)
    other = build_tiny_text_encoder(tmp_path / "other", CORPUS, seed=1)
    assert torch.equal(torch.get_rng_state(), before), "the caller's random state is not touched"
    for first, same, different in zip(folders, again, other, strict=True):
        assert weights_digest(first) == weights_digest(same) != weights_digest(different)


def test_the_digest_sees_every_file(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"1")
    one = weights_digest(tmp_path)
    (tmp_path / "a.bin").rename(tmp_path / "b.bin")
    two = weights_digest(tmp_path)
    (tmp_path / "b.bin").write_bytes(b"2")
    assert len({one, two, weights_digest(tmp_path)}) == 3
    with pytest.raises(ValueError, match="holds no files"):
        weights_digest(tmp_path / "nothing")


def test_of_a_llava_checkpoint_the_language_part_is_used(folders: tuple[Path, Path], tmp_path: Path) -> None:
    plain = TextEncoder.from_folders(*folders)
    vision = CLIPVisionConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    text = LlamaConfig.from_pretrained(folders[0])
    llava = LlavaModel(LlavaConfig(vision_config=vision, text_config=text))
    llava.language_model.load_state_dict(plain.llm.state_dict())
    llava.save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folders[0] / name).read_bytes())
    whole = TextEncoder.from_folders(tmp_path, folders[1])
    assert type(whole.llm).__name__ == "LlamaModel"
    for a, b in zip(plain.encode(PROMPTS, "video"), whole.encode(PROMPTS, "video"), strict=True):
        assert torch.equal(a.states, b.states)


def test_it_is_frozen_and_stays_in_evaluation_mode(encoder: TextEncoder) -> None:
    parent = torch.nn.ModuleList([encoder]).train()
    assert parent.training and not encoder.training and not encoder.llm.training
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert (encoder.width, encoder.pooled_width) == (128, 64)


def test_a_template_without_a_tail_leaves_nothing_of_an_empty_prompt(folders: tuple[Path, Path]) -> None:
    settings = TextSettings(image_template="Describe:\n{prompt}")
    bare = TextEncoder.from_folders(*folders, settings=settings)
    assert len(bare.encode(["snow"], "image")) == 1
    with pytest.raises(ValueError, match="nothing is left of prompt ''; let the image template go on"):
        bare.encode([""], "image")


@pytest.mark.parametrize("template", ["no place", "{prompt} and {prompt}"])
def test_a_template_holds_the_prompt_once(template: str) -> None:
    with pytest.raises(ValueError, match=r"holds \{prompt\} exactly once, this one [02] times"):
        TextSettings(video_template=template)


def test_what_is_no_encoder_is_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no config.json; expected a model folder"):
        TextEncoder.from_folders(tmp_path, folders[1])
    T5Config().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"encoder-decoder model \(t5\); expected a decoder-only one"):
        TextEncoder.from_folders(tmp_path, folders[1])
    with pytest.raises(ValueError, match="layers_from_end is 9, but the language model has 4 layers"):
        TextEncoder.from_folders(*folders, settings=TextSettings(layers_from_end=9))


def test_an_unknown_kind_is_refused(encoder: TextEncoder) -> None:
    kind: Any = "film"
    with pytest.raises(ValueError, match="kind must be 'image' or 'video', got 'film'"):
        encoder.encode(["a"], kind)
