"""Tiny text encoders with random weights, made on the spot, in the files that transformers writes and reads.

    captions --train--> byte-level BPE of at most 1,024 tokens --> Llama of 4 layers, CLIP text tower of 2

For tests, demos and CPU runs, where no released encoder is at hand.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import CLIPTextConfig, CLIPTextModel, LlamaConfig, LlamaModel, PreTrainedTokenizerFast

from model.text_files import without_bars
from model.text_settings import IMAGE_TASK, VIDEO_TASK


def build_tiny_text_encoder(
    folder: Path | str, corpus: Sequence[str], seed: int, width: int = 128, pooled_width: int = 64
) -> tuple[Path, Path]:
    """Make a small Llama and a small CLIP text tower with random weights; returns their folders (`llm`, `clip`).

    Their tokenizers are trained on the corpus, here and now; nothing is downloaded. The files are those transformers
    writes, so what reads them reads real encoders too. The weights are **random and stay so**: such an encoder knows
    no language. It gives every prompt features of its own, similar ones to prompts that share tokens, which is all
    that a tiny network needs to learn its prompts apart, and no more than that. Same corpus and seed, same bytes.
    """
    texts = [*sorted(set(corpus)), IMAGE_TASK, VIDEO_TASK]
    llm_dir, clip_dir = Path(folder) / "llm", Path(folder) / "clip"
    with torch.random.fork_rng(devices=[]), without_bars():
        torch.manual_seed(seed)
        _build_tiny_llm(llm_dir, texts, width)
        _build_tiny_clip(clip_dir, texts, pooled_width)
    return llm_dir, clip_dir


def _build_tiny_llm(folder: Path, texts: Sequence[str], width: int) -> None:
    begin, end, pad = "<|begin_of_text|>", "<|eot_id|>", "<pad>"
    specials = [begin, "<|start_header_id|>", "<|end_header_id|>", end, pad]
    tokenizer = _train_tokenizer(texts, specials, f"{begin} $A")
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        initializer_range=width**-0.5,  # keeps the size of activations; the usual 0.02 is for wide models
        bos_token_id=tokenizer.token_to_id(begin),
        eos_token_id=tokenizer.token_to_id(end),
        pad_token_id=tokenizer.token_to_id(pad),
    )
    names = {"bos_token": begin, "eos_token": end, "pad_token": pad}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    LlamaModel(config).save_pretrained(folder)


def _build_tiny_clip(folder: Path, texts: Sequence[str], width: int) -> None:
    begin, end = "<|startoftext|>", "<|endoftext|>"  # the end comes last: CLIP pools at the largest id
    tokenizer = _train_tokenizer(texts, [begin, end], f"{begin} $A {end}")
    config = CLIPTextConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=77,
        bos_token_id=tokenizer.token_to_id(begin),
        eos_token_id=tokenizer.token_to_id(end),
        pad_token_id=tokenizer.token_to_id(end),
    )
    names = {"bos_token": begin, "eos_token": end, "pad_token": end}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    CLIPTextModel(config).save_pretrained(folder)


def _train_tokenizer(texts: Sequence[str], specials: Sequence[str], frame: str) -> Tokenizer:
    """Byte-level BPE of at most 1,024 tokens; specials get the last ids, `frame` says where they go around a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=1024 - len(specials), initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(list(specials))
    pairs = [(name, tokenizer.token_to_id(name)) for name in specials if name in frame]
    tokenizer.post_processor = processors.TemplateProcessing(single=frame, special_tokens=pairs)
    return tokenizer
