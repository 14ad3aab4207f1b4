"""Prompts with a picture, against the image-to-video pipeline of diffusers, on a LLaVA checkpoint made on the spot."""

from pathlib import Path

import pytest
import torch
from diffusers import HunyuanVideoImageToVideoPipeline
from PIL import Image
from transformers import AutoTokenizer, CLIPImageProcessor, LlavaForConditionalGeneration

from model.text import TextEncoder
from model.text_picture import kept_places
from model.text_settings import TextSettings
from tests.model.text_encoders import CORPUS, make_llava, released_template

AFTER = "<|eot_id|><|start_header_id|>a<|end_header_id|>\n"  # a role of one token, as "assistant" is one to Llama-3
MAX_TOKENS = 24


@pytest.fixture(scope="module")
def llava(folders: tuple[Path, Path], tmp_path_factory) -> Path:
    return make_llava(tmp_path_factory.mktemp("llava"), folders[0])


@pytest.fixture(scope="module")
def encoder(llava: Path, folders: tuple[Path, Path]) -> TextEncoder:
    settings = TextSettings(picture_template=released_template("{image}\n", AFTER), max_tokens=MAX_TOKENS)
    return TextEncoder.from_folders(llava, folders[1], settings, torch.float64, pictures=True)


def picture(seed: int, height: int = 40, width: int = 56) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)


def reference(llava: Path, clip: Path) -> HunyuanVideoImageToVideoPipeline:
    return HunyuanVideoImageToVideoPipeline(
        text_encoder=LlavaForConditionalGeneration.from_pretrained(llava, dtype=torch.float64),
        tokenizer=AutoTokenizer.from_pretrained(llava),
        transformer=None,
        vae=None,
        scheduler=None,
        text_encoder_2=None,
        tokenizer_2=None,
        image_processor=CLIPImageProcessor.from_pretrained(llava),
    )


@pytest.mark.parametrize("prompt", [CORPUS[0], "", "rain " * 19, "rain " * 60])
def test_states_equal_the_image_to_video_pipeline(llava, folders, encoder, prompt):
    """Short, empty, with half of the assistant's header cut off, and far too long."""
    template = released_template("<image>\n", AFTER)
    crop = len(encoder.tokenizer(template.split("{prompt}")[0])["input_ids"])
    start = encoder.tokenizer(template)["input_ids"].index(encoder.pictures.token_id)
    shown = picture(0)
    with torch.no_grad():
        states, mask = reference(llava, folders[1])._get_llama_prompt_embeds(
            Image.fromarray(shown.permute(1, 2, 0).numpy()),
            prompt,
            {
                "template": template.replace("{prompt}", "{}"),
                "crop_start": crop,
                "image_emb_start": start,
                "image_emb_end": start + 16,
                "image_emb_len": 16,
            },
            max_sequence_length=MAX_TOKENS,
        )
    (state,) = encoder.encode([prompt], "video", pictures=[shown])
    assert encoder.crop_start("video", with_picture=True) == crop
    assert len(state.states) == mask[0].sum()
    torch.testing.assert_close(state.states, states[0][mask[0].bool()], rtol=0, atol=1e-6)


def test_each_prompt_of_a_batch_sees_its_own_picture(encoder):
    prompts, shown = [CORPUS[0], "", "rain " * 60], [picture(1), picture(2, 30, 30), picture(1)]
    together = encoder.encode(prompts, "video", pictures=shown)
    for prompt, one, state in zip(prompts, shown, together, strict=True):
        (alone,) = encoder.encode([prompt], "video", pictures=[one])
        torch.testing.assert_close(alone.states, state.states, rtol=0, atol=1e-6)
    (other,) = encoder.encode([prompts[0]], "video", pictures=[shown[1]])
    assert not torch.allclose(other.states[:8], together[0].states[:8])
    assert (encoder.encode(["", ""], "video", pictures=[picture(1), picture(2)])[0].states[:8] != 0).any()


def test_the_same_words_with_another_picture_are_encoded_again(encoder):
    one, two, three = encoder.encode(["rain"] * 3, "video", pictures=[picture(1), picture(2), picture(1)])
    assert one.states is three.states
    assert not torch.equal(one.states, two.states)


def test_pictures_are_refused_where_nothing_sees_them(encoder, folders):
    blind = TextEncoder.from_folders(*folders)
    with pytest.raises(ValueError, match="pictures go with video prompts and an encoder made with pictures=True"):
        blind.encode(["rain"], "video", pictures=[picture(0)])
    with pytest.raises(ValueError, match="not with image"):
        encoder.encode(["rain"], "image", pictures=[picture(0)])
    with pytest.raises(ValueError, match="which stands for the picture; leave it out"):
        encoder.encode(["an <image> of rain"], "video", pictures=[picture(0)])


def test_the_tail_goes_but_for_its_end_and_of_a_cut_row_as_many_tokens():
    tail = torch.tensor([91, 92, 93])
    whole = torch.tensor([1, 2, 50, 51, 52, 91, 92, 93])
    assert kept_places(whole, 2, tail, 1).tolist() == [2, 3, 4, 7]
    assert kept_places(whole[:6], 2, tail, 1).tolist() == [2, 3]
    assert kept_places(whole[:3], 2, tail, 1).tolist() == []
