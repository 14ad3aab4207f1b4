"""The two frozen text encoders: a language model's states say what happens, CLIP's vector says what it is about.

    prompt --template--> tokens --LLM--> hidden_states[-3] --crop the template, trim the padding--> states [L, width]
    prompt -------------> tokens --CLIP text tower--> state at the end token ---------------------> pooled [width]

Any decoder-only model of transformers will do; of a LLaVA checkpoint (the released choice) the language part is used.
The states are taken two layers before the last and carry no final norm. The template asks the model to describe an
image or a video; its tokens come first, are the same for every prompt and are cut off again. At most 256 tokens stay,
for images and videos alike (the official pipeline lets an image keep 315, an oversight). Padding tokens never leave
this file. Method: arXiv 2412.03603 s4.2.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, Field, field_validator
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    LlamaConfig,
    LlamaModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging

Kind = Literal["image", "video"]

_SYSTEM = "<|start_header_id|>system<|end_header_id|>\n\n{task}<|eot_id|>"
_USER = "<|start_header_id|>user<|end_header_id|>\n\n{{prompt}}<|eot_id|>"
_CHAT = _SYSTEM + _USER
_IMAGE_TASK = "Say what this picture shows: its objects with their colours, shapes and places, and the setting."
_VIDEO_TASK = (
    "Say what this video shows: its subject and what happens to it over time, the objects with their colours, shapes "
    "and places, the setting, the light, and how the camera moves."
)
_PROBES = ("a", "B", "7")  # share no first token in any vocabulary, so what they have in common is the template


class TextSettings(BaseModel, frozen=True, extra="forbid"):
    """How prompts become states. Released weights were trained with a template text of their own: set it here."""

    image_template: str = Field(
        default=_CHAT.format(task=_IMAGE_TASK),
        description="Text around an image prompt, with {prompt} once. To match released weights, give their template "
        "(36 tokens before the prompt with the Llama-3 tokenizer); the default is our own wording.",
    )
    video_template: str = Field(
        default=_CHAT.format(task=_VIDEO_TASK),
        description="Text around a video prompt, with {prompt} once. To match released weights, give their template "
        "(95 tokens before the prompt with the Llama-3 tokenizer); the default is our own wording.",
    )
    max_tokens: int = Field(default=256, ge=1, description="Tokens kept of a prompt after the template is cut off.")
    layers_from_end: int = Field(
        default=3,
        ge=1,
        description="Which hidden states are used, counted from the end; 3 is two layers before the last.",
    )
    max_pooled_tokens: int = Field(
        default=77, ge=3, description="Tokens CLIP reads of a prompt, its start and end included."
    )

    @field_validator("image_template", "video_template")
    @classmethod
    def _has_one_place_for_the_prompt(cls, template: str) -> str:
        if template.count("{prompt}") != 1:
            raise ValueError(
                f"a template holds {{prompt}} exactly once, this one {template.count('{prompt}')} times: {template!r}"
            )
        return template


@dataclass(frozen=True)
class TextState:
    """One encoded prompt: `states` [L, width] of its L valid tokens, `pooled` [pooled_width]."""

    states: Tensor
    pooled: Tensor


class TextEncoder(nn.Module):
    """Frozen language model and CLIP text tower; never in training mode, never asks for gradients."""

    def __init__(self, llm: Any, tokenizer: Any, clip: Any, clip_tokenizer: Any, settings: TextSettings) -> None:
        super().__init__()
        num_layers = llm.config.num_hidden_layers
        if settings.layers_from_end > num_layers:
            raise ValueError(
                f"layers_from_end is {settings.layers_from_end}, but the language model has {num_layers} layers; "
                f"lower it or choose another model"
            )
        self.settings = settings
        self.llm = llm
        self.clip = clip
        self.tokenizer = tokenizer
        self.clip_tokenizer = clip_tokenizer
        self.tokenizer.padding_side = self.tokenizer.truncation_side = "right"
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.requires_grad_(False).eval()

    @classmethod
    def from_folders(
        cls,
        llm_dir: Path | str,
        clip_dir: Path | str,
        settings: TextSettings | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> "TextEncoder":
        """Load both from folders in the transformers format; nothing is downloaded.

        Raises ValueError for a folder that is not one, and for an encoder-decoder model.
        """
        for folder in (llm_dir, clip_dir):
            if not (Path(folder) / "config.json").is_file():
                raise ValueError(f"{folder} holds no config.json; expected a model folder in the transformers format")
        config = AutoConfig.from_pretrained(llm_dir, local_files_only=True)
        if getattr(config, "is_encoder_decoder", False):
            raise ValueError(
                f"{llm_dir} is an encoder-decoder model ({config.model_type}); expected a decoder-only one"
            )
        with _no_bars():
            llm = AutoModel.from_pretrained(llm_dir, local_files_only=True, dtype=dtype)
            clip = CLIPTextModel.from_pretrained(clip_dir, local_files_only=True, dtype=dtype)
        return cls(
            llm=getattr(llm, "language_model", llm),
            tokenizer=AutoTokenizer.from_pretrained(llm_dir, local_files_only=True),
            clip=clip,
            clip_tokenizer=AutoTokenizer.from_pretrained(clip_dir, local_files_only=True),
            settings=settings or TextSettings(),
        )

    @property
    def width(self) -> int:
        """Channels of the language model's states."""
        return self.llm.config.hidden_size

    @property
    def pooled_width(self) -> int:
        """Channels of CLIP's vector."""
        return self.clip.config.hidden_size

    def train(self, mode: bool = True) -> "TextEncoder":
        """Stays in evaluation mode whatever is asked, since a parent module may ask."""
        return super().train(False)

    def crop_start(self, kind: Kind) -> int:
        """Number of tokens before the prompt: those that any prompts have in common under the template of this kind."""
        rows = self.tokenizer([self._template(kind).replace("{prompt}", probe) for probe in _PROBES])["input_ids"]
        count = 0
        while all(count < len(row) and row[count] == rows[0][count] for row in rows):
            count += 1
        return count

    @torch.no_grad()
    def encode(self, prompts: Sequence[str], kind: Kind) -> list[TextState]:
        """Encode prompts, in order; states and vectors in the encoders' dtype and on their device.

        A longer prompt than `max_tokens` loses its end. Raises ValueError if nothing is left of a prompt, which only
        a template that ends with {prompt} can bring about.
        """
        if not prompts:
            return []
        crop = self.crop_start(kind)
        texts = [self._template(kind).replace("{prompt}", prompt) for prompt in prompts]
        tokens = self._tokenize(self.tokenizer, texts, crop + self.settings.max_tokens).to(self.llm.device)
        hidden = self.llm(**tokens, use_cache=False, output_hidden_states=True).hidden_states
        lengths = tokens["attention_mask"].sum(dim=1).tolist()
        for prompt, length in zip(prompts, lengths, strict=True):
            if length <= crop:
                raise ValueError(
                    f"nothing is left of prompt {prompt!r}; let the {kind} template go on after {{prompt}}"
                )

        clip_tokens = self._tokenize(self.clip_tokenizer, list(prompts), self.settings.max_pooled_tokens)
        pooled = self.clip(**clip_tokens.to(self.clip.device)).pooler_output
        states = hidden[-self.settings.layers_from_end]
        # Copies: a slice would keep the whole padded batch alive in whatever caches it.
        return [
            TextState(one[crop:length].clone(), vector.clone())
            for one, length, vector in zip(states, lengths, pooled, strict=True)
        ]

    def _template(self, kind: Kind) -> str:
        if kind not in ("image", "video"):
            raise ValueError(f"kind must be 'image' or 'video', got {kind!r}")
        return self.settings.image_template if kind == "image" else self.settings.video_template

    @staticmethod
    def _tokenize(tokenizer: Any, texts: list[str], max_length: int) -> Any:
        # Padding goes after the last token and both models are causal, so padding to the longest of the batch gives
        # the same states as padding to the maximum, in less time.
        return tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=max_length,
            return_attention_mask=True,
            return_token_type_ids=False,
            return_tensors="pt",
        )


def weights_digest(folder: Path | str) -> str:
    """sha256 over names and bytes of all files under a folder, in order of name: what a cache knows an encoder by."""
    root = Path(folder)
    digest = hashlib.sha256()
    files = sorted(path for path in root.rglob("*") if path.is_file())
    if not files:
        raise ValueError(f"{folder} holds no files to identify; expected a model folder")
    for path in files:
        with path.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        digest.update(f"{path.relative_to(root).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()


def build_tiny_text_encoder(
    folder: Path | str, corpus: Sequence[str], seed: int, width: int = 128, pooled_width: int = 64
) -> tuple[Path, Path]:
    """Make a small Llama and a small CLIP text tower with random weights; returns their folders (`llm`, `clip`).

    Their tokenizers are trained on the corpus, here and now; nothing is downloaded. The files are those transformers
    writes, so what reads them reads real encoders too. The weights are **random and stay so**: such an encoder knows
    no language. It gives every prompt features of its own, similar ones to prompts that share tokens, which is all
    that a tiny network needs to learn its prompts apart, and no more than that. Same corpus and seed, same bytes.
    """
    texts = [*sorted(set(corpus)), _IMAGE_TASK, _VIDEO_TASK]
    llm_dir, clip_dir = Path(folder) / "llm", Path(folder) / "clip"
    with torch.random.fork_rng(devices=[]), _no_bars():
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


@contextmanager
def _no_bars() -> Iterator[None]:
    """Keep transformers from drawing its progress bars, which last a moment and tear up the caller's own."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


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
