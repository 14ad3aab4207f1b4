"""A vision-language model of a few layers in the format of transformers, made on the spot: random, or taught answers.

Two families, since they feed pictures in differently: LLaVA (CLIP pictures of one size as tokens in place of `<image>`)
and Qwen2-VL (pictures of any size in patches, positions in three axes). Taught, the model says `answers[0]` of a red
clip and `answers[1]` of a blue one, which it can only know from the frames; a few seconds on one core.
"""

import json
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)
from transformers.utils import logging as transformers_logging

from annotation.drafting import Facts, prompt_of

Family = Literal["llava", "qwen2-vl"]
NUM_FRAMES, SIDE_PX, DURATION_S = 2, 28, 1.5
PAD, BOS, EOS = "<pad>", "<s>", "</s>"
PICTURES = {
    "llava": "<image>",
    "qwen2-vl": "<|vision_start|><|image_pad|><|vision_end|>",
}
CHAT = (
    "{% for message in messages %}{% for part in message['content'] %}{% if part['type'] == 'image' %}PICTURE"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}{% if add_generation_prompt %}\nAnswer:{% endif %}"
)
MAX_STEPS, SURE = 400, 0.9  # taught until every token of the answers is at least so likely


def answer(short: str) -> str:
    """A structured caption as a model should write it."""
    words = {"short": short, "dense": f"{short} It fills the picture.", "background": "", "style": "plain"}
    words |= {"shot_type": "close-up", "lighting": "even", "atmosphere": "calm", "camera_movement": "static shot"}
    return json.dumps(words)


ANSWERS = (answer("A red wall."), answer("A blue wall."))


def coloured(channel: int, num_frames: int = NUM_FRAMES, side_px: int = SIDE_PX) -> np.ndarray:
    """Frames uint8 RGB [N, H, W, 3] of one colour: 0 red, 1 green, 2 blue."""
    frames = np.zeros((num_frames, side_px, side_px, 3), np.uint8)
    frames[..., channel] = 230
    return frames


def prompt() -> str:
    return prompt_of(NUM_FRAMES, DURATION_S, Facts())


def make_model(folder: Path, family: Family = "llava", answers: Sequence[str] = ()) -> Path:
    """Save a model to `folder`; random without answers."""
    torch.manual_seed(0)
    tokenizer = _tokenizer()
    make = {"llava": _llava, "qwen2-vl": _qwen2_vl}[family]
    model, processor = make(tokenizer)
    model.generation_config.pad_token_id, model.generation_config.eos_token_id = 0, 2
    with _one_quiet_thread():
        if answers:
            _teach(model, processor, answers)
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
    return folder


def _tokenizer() -> PreTrainedTokenizerFast:
    special = [PAD, BOS, EOS, "<image>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1200, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([*ANSWERS, prompt()] * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, bos_token=BOS, eos_token=EOS)


def _text(vocabulary: int) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 2048,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


def _llava(tokenizer: PreTrainedTokenizerFast) -> tuple[Any, Any]:
    size = {"height": SIDE_PX, "width": SIDE_PX}
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=LlamaConfig(**_text(len(tokenizer))),
        image_token_index=tokenizer.get_vocab()["<image>"],
        vision_feature_layer=-1,
    )
    processor = LlavaProcessor(
        CLIPImageProcessor(size=size, crop_size=size),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT.replace("PICTURE", PICTURES["llava"]),
    )
    return LlavaForConditionalGeneration(config), processor


def _qwen2_vl(tokenizer: PreTrainedTokenizerFast) -> tuple[Any, Any]:
    ids = {name: tokenizer.get_vocab()[f"<|{name}|>"] for name in ("image_pad", "video_pad", "vision_start")}
    config = Qwen2VLConfig(
        text_config=_text(len(tokenizer)) | {"rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3]}},
        vision_config={"depth": 2, "embed_dim": 32, "num_heads": 2, "hidden_size": 64, "patch_size": 14},
        image_token_id=ids["image_pad"],
        video_token_id=ids["video_pad"],
        vision_start_token_id=ids["vision_start"],
        vision_end_token_id=tokenizer.get_vocab()["<|vision_end|>"],
    )
    processor = Qwen2VLProcessor(
        Qwen2VLImageProcessor(min_pixels=28 * 28, max_pixels=56 * 56),
        tokenizer,
        Qwen2VLVideoProcessor(),
        chat_template=CHAT.replace("PICTURE", PICTURES["qwen2-vl"]),
    )
    return Qwen2VLForConditionalGeneration(config), processor


def _teach(model: Any, processor: Any, answers: Sequence[str]) -> None:
    lessons = [_lesson(processor, coloured(channel), text) for channel, text in zip((0, 2), answers, strict=True)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    for _ in range(MAX_STEPS):
        outcomes = [model(**lesson) for lesson in lessons]
        if all(
            _least_likely(each.logits, lesson["labels"]) > SURE for each, lesson in zip(outcomes, lessons, strict=True)
        ):
            model.eval()
            return
        optimizer.zero_grad()
        torch.stack([each.loss for each in outcomes]).max().backward()
        optimizer.step()
    raise AssertionError(f"the model did not learn its answers in {MAX_STEPS} steps")


def _least_likely(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """The least probability of any token that is to be learned."""
    wanted = labels[0, 1:]
    probabilities = logits[0, :-1].detach().softmax(dim=-1)[wanted >= 0]
    return float(probabilities.gather(1, wanted[wanted >= 0, None]).min())


def _lesson(processor: Any, frames: np.ndarray, text: str) -> dict[str, torch.Tensor]:
    pictures = [{"type": "image", "image": Image.fromarray(frame)} for frame in frames]
    chat = [{"role": "user", "content": [*pictures, {"type": "text", "text": prompt()}]}]
    asked = dict(
        processor.apply_chat_template(
            [chat],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            processor_kwargs={"return_tensors": "pt"},
        )
    )
    wanted = torch.tensor([[*processor.tokenizer(text, add_special_tokens=False)["input_ids"], 2]])
    ids = torch.cat([asked["input_ids"], wanted], dim=1)
    labels = ids.clone()
    labels[:, : asked["input_ids"].shape[1]] = -100
    longer = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
    if "mm_token_type_ids" in asked:
        none = torch.zeros_like(wanted)
        longer["mm_token_type_ids"] = torch.cat([asked["mm_token_type_ids"], none], dim=1)
    return asked | longer


@contextmanager
def _one_quiet_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        transformers_logging.enable_progress_bar()
