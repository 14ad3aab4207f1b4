"""What the tests of the text encoders share: words, templates, and a checkpoint that sees, made on the spot."""

from pathlib import Path

import torch
from diffusers import HunyuanVideoPipeline
from tokenizers import AddedToken
from transformers import (
    AutoTokenizer,
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlamaModel,
    LlavaConfig,
    LlavaForConditionalGeneration,
)

from model.text import Kind, TextEncoder, TextState
from model.text_settings import TextSettings

CORPUS = [
    "a red ball rolls over a wooden table",
    "a woman in a yellow coat walks through the rain at night",
    "the camera pans slowly over snowy mountains",
]
PICTURE_PX, PATCH_PX = 28, 7  # 16 tokens a picture


def released_template(before: str, after: str) -> str:
    """A template in the shape of the released ones: a system text, then the prompt, then `after`."""
    system = f"<|start_header_id|>system<|end_header_id|>\n\n{before}Describe it:<|eot_id|>"
    return f"{system}<|start_header_id|>user<|end_header_id|>\n\n{{prompt}}{after}"


def against_the_pipeline(
    folders: tuple[Path, Path], kind: Kind, prompts: list[str]
) -> list[tuple[TextState, TextState]]:
    """Ours and what diffusers' pipeline makes of each prompt, valid tokens only, in float64 and 24 tokens at most.

    The template is given, so that the crop is found from it, as that of released weights would be.
    """
    template = released_template("the image" if kind == "image" else "", "<|eot_id|>")
    settings = TextSettings(image_template=template, video_template=template, max_tokens=24)
    encoder = TextEncoder.from_folders(*folders, settings=settings, dtype=torch.float64)
    pipeline = HunyuanVideoPipeline(
        text_encoder=encoder.llm,
        tokenizer=AutoTokenizer.from_pretrained(folders[0]),
        transformer=None,
        vae=None,
        scheduler=None,
        text_encoder_2=encoder.clip,
        tokenizer_2=AutoTokenizer.from_pretrained(folders[1]),
    )
    crop = len(encoder.tokenizer(template.split("{prompt}")[0])["input_ids"])
    assert encoder.crop_start(kind) == crop
    states, pooled, mask = pipeline.encode_prompt(
        prompts,
        prompt_template={"template": template.replace("{prompt}", "{}"), "crop_start": crop},
        max_sequence_length=24,
    )
    theirs = [TextState(states[i][mask[i].bool()], pooled[i]) for i in range(len(prompts))]
    return list(zip(encoder.encode(prompts, kind), theirs, strict=True))


def make_llava(folder: Path, llm: Path) -> Path:
    """A LLaVA checkpoint as it is published, around the Llama that lies in `llm`: weights, tokenizer, processor."""
    tokenizer = AutoTokenizer.from_pretrained(llm)
    tokenizer.add_special_tokens({"additional_special_tokens": [AddedToken("<image>", special=True)]})
    language = LlamaModel.from_pretrained(llm)
    text = LlamaConfig.from_pretrained(llm, vocab_size=len(tokenizer))
    language.resize_token_embeddings(len(tokenizer))
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=PICTURE_PX,
        patch_size=PATCH_PX,
    )
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=tokenizer.convert_tokens_to_ids("<image>")
    )
    config.pad_token_id = tokenizer.pad_token_id
    torch.manual_seed(0)
    llava = LlavaForConditionalGeneration(config)
    llava.model.language_model.load_state_dict(language.state_dict())
    llava.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = {"height": PICTURE_PX, "width": PICTURE_PX}
    CLIPImageProcessor(size={"shortest_edge": PICTURE_PX}, crop_size=size).save_pretrained(folder)
    return folder
