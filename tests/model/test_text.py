"""The text encoders against plain calls of transformers, on tiny models made on the spot."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoTokenizer, CLIPTextModel, Qwen2Config, Qwen2Model

from model.text import Kind, TextEncoder, TextState
from model.text_cache import PromptCache
from model.text_settings import TextSettings
from tests.model.text_encoders import CORPUS, against_the_pipeline

PROMPTS = [CORPUS[0], "", "zwölf Boxkämpfer 🥊 {prompt} jagen", CORPUS[1] + " " + CORPUS[2]]


@pytest.fixture(scope="module")
def encoder(folders: tuple[Path, Path]) -> TextEncoder:
    return TextEncoder.from_folders(*folders)


def test_states_equal_plain_transformers_padded_to_the_maximum(folders: tuple[Path, Path]) -> None:
    # float64, because in float32 the length of the padding alone moves states by 3e-6
    encoder = TextEncoder.from_folders(*folders, dtype=torch.float64)
    tokenizer, llm = AutoTokenizer.from_pretrained(folders[0]), AutoModel.from_pretrained(folders[0]).double()
    template, crop = encoder.settings.video_template, encoder.crop_start("video")
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
    for i, state in enumerate(encoder.encode(PROMPTS, "video")):
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


def test_an_unknown_kind_is_refused(encoder: TextEncoder) -> None:
    kind: Any = "film"
    with pytest.raises(ValueError, match="kind must be 'image' or 'video', got 'film'"):
        encoder.encode(["a"], kind)


@pytest.mark.parametrize("kind", ["image", "video"])
def test_ids_masks_states_and_vectors_equal_the_pipeline_of_diffusers(folders: tuple[Path, Path], kind: Kind) -> None:
    prompts = [*(prompt.replace("{prompt}", "") for prompt in PROMPTS), "rain " * 100]
    for ours, theirs in against_the_pipeline(folders, kind, prompts):
        assert len(ours.states) == len(theirs.states), "the ids are those of the reference, neither more nor fewer"
        torch.testing.assert_close(ours.states, theirs.states, rtol=0, atol=1e-6)
        torch.testing.assert_close(ours.pooled, theirs.pooled, rtol=0, atol=1e-6)


def test_any_decoder_only_model_will_do(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """Qwen2 writes its chat another way and starts without a token of its own."""
    tokenizer = AutoTokenizer.from_pretrained(folders[0])
    sizes = {"hidden_size": 48, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    torch.manual_seed(0)
    qwen = Qwen2Model(Qwen2Config(vocab_size=len(tokenizer), num_hidden_layers=3, **sizes)).eval()
    qwen.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    chat = "<|im_start|>user\n{prompt}<|im_end|>\n"
    encoder = TextEncoder.from_folders(tmp_path, folders[1], TextSettings(video_template=chat, layers_from_end=1))
    ids = tokenizer([chat.replace("{prompt}", "rain")], return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        whole = qwen(**ids).last_hidden_state[0]
    (state,) = encoder.encode(["rain"], "video")
    torch.testing.assert_close(state.states, whole[encoder.crop_start("video") :], rtol=0, atol=1e-5)
    assert encoder.width == 48


def test_clip_can_be_given_other_words_than_the_language_model(encoder: TextEncoder) -> None:
    rain, null = encoder.encode(["rain", ""], "video")
    (mixed,) = encoder.encode([""], "video", pooled_prompts=["rain"])
    assert_same(mixed, TextState(null.states, rain.pooled), atol=1e-5)


def test_prompts_are_encoded_once_and_in_batches_of_bounded_size(folders: tuple[Path, Path]) -> None:
    encoder = TextEncoder.from_folders(*folders)
    sizes: list[int] = []
    encoder.llm.register_forward_pre_hook(lambda _, __, given: sizes.append(len(given["input_ids"])), with_kwargs=True)
    encoder.batch = 2
    states = encoder.encode(["a", "b", "a", "c", "b", "a"], "image")
    assert sizes == [2, 1]
    assert states[0].states is states[2].states is states[5].states


def test_a_cache_answers_for_the_same_words_and_weights_alone(folders: tuple[Path, Path]) -> None:
    cache = PromptCache(1 << 20)
    encoder = TextEncoder.from_folders(*folders, cache=cache)
    (first,) = encoder.encode(["rain"], "video")
    encoder.llm.register_forward_pre_hook(lambda *_: pytest.fail("it was encoded before"))
    (again,) = encoder.encode(["rain"], "video")
    assert_same(again, first, atol=0)
    other = TextEncoder.from_folders(*folders, settings=TextSettings(layers_from_end=2), cache=cache)
    assert other.digest != encoder.digest
    (changed,) = other.encode(["rain"], "video")
    assert not torch.equal(changed.states, first.states)
    assert not torch.equal(other.encode(["rain"], "image")[0].states[:2], changed.states[:2])


def test_the_digest_sees_precision_and_settings(folders: tuple[Path, Path], encoder: TextEncoder) -> None:
    half = TextEncoder.from_folders(*folders, dtype=torch.bfloat16)
    assert len({encoder.digest, half.digest, TextEncoder.from_folders(*folders).digest}) == 2


def assert_same(given: TextState, wanted: TextState, atol: float) -> None:
    torch.testing.assert_close(given.states, wanted.states, rtol=0, atol=atol)
    torch.testing.assert_close(given.pooled, wanted.pooled, rtol=0, atol=atol)


def test_layers_that_are_not_there_are_refused(folders: tuple[Path, Path]) -> None:
    with pytest.raises(ValueError, match="layers_from_end is 9, but the language model has 4 layers"):
        TextEncoder.from_folders(*folders, settings=TextSettings(layers_from_end=9))
