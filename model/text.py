"""The two frozen text encoders: a language model's states say what happens, CLIP's vector says what it is about.

    prompt --template--> tokens --LLM--> hidden_states[-3] --crop the template, trim the padding--> states [L, width]
    prompt -------------> tokens --CLIP text tower--> state at the end token ---------------------> pooled [width]
    first frame --------> text_picture.py, where the language model sees (HunyuanVideo-I2V)

Any decoder-only model of transformers will do; of a LLaVA checkpoint (the released choice) the language part is used.
The states are taken two layers before the last and carry no final norm. The template asks the model to describe an
image or a video; its tokens come first, are the same for every prompt and are cut off again. At most 256 tokens stay,
for images and videos alike (the official pipeline lets an image keep 315, an oversight). Padding tokens never leave
this file. Method: arXiv 2412.03603 s4.2.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from model.text_cache import PromptCache, key_of
from model.text_files import load_clip, load_llm, load_tokenizer, model_folder, weights_digest
from model.text_picture import PictureReader, PictureRows
from model.text_settings import TextSettings

Kind = Literal["image", "video"]
_PROBES = ("a", "B", "7")  # share no first or last token in any vocabulary: what they have in common is the template


@dataclass(frozen=True)
class TextState:
    """One encoded prompt: `states` [L, width] of its L valid tokens, `pooled` [pooled_width]."""

    states: Tensor
    pooled: Tensor


@dataclass(frozen=True)
class TextModels:
    """The parts of a text encoder, and the folders that their digest is taken of."""

    llm: Any
    tokenizer: Any
    clip: Any
    clip_tokenizer: Any
    folders: tuple[Path, ...]
    pictures: PictureReader | None = None


class TextEncoder(nn.Module):
    """Frozen language model and CLIP text tower; never in training mode, never asks for gradients.

    Args:
        cache: where encoded prompts are kept; none by default. What stood beside a prompt in its batch moves its
            states by rounding errors, so with a cache the last bits depend on what was encoded before.
        batch: prompts encoded at a time, at most.
    """

    def __init__(
        self, models: TextModels, settings: TextSettings, cache: PromptCache | None = None, batch: int = 32
    ) -> None:
        super().__init__()
        num_layers = models.llm.config.num_hidden_layers
        if settings.layers_from_end > num_layers:
            raise ValueError(
                f"layers_from_end is {settings.layers_from_end}, but the language model has {num_layers} layers; "
                f"lower it or choose another model"
            )
        self.settings, self.cache, self.batch = settings, cache, batch
        self.llm, self.clip = models.llm, models.clip
        self.tokenizer, self.clip_tokenizer = models.tokenizer, models.clip_tokenizer
        self.folders, self.pictures = models.folders, models.pictures
        if self.pictures is not None:
            self.whole = self.pictures.model  # registered, so that it moves with the rest
        self.tokenizer.padding_side = self.tokenizer.truncation_side = "right"
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.requires_grad_(False).eval()

    @classmethod
    def from_folders(
        cls,
        llm: Path | str,
        clip: Path | str,
        settings: TextSettings | None = None,
        dtype: torch.dtype = torch.float32,
        tokenizers: tuple[Path | str, Path | str] | None = None,
        pictures: bool = False,
        cache: PromptCache | None = None,
    ) -> "TextEncoder":
        """Load both from folders in the transformers format, or by hub name from the local cache; nothing is fetched.

        Args:
            tokenizers: folders of the two tokenizers where they lie by themselves, as diffusers saves them.
            pictures: keep the eyes of a LLaVA checkpoint, for `encode` with pictures.

        Raises:
            ValueError: a folder that is no model's, an encoder-decoder model, or pictures for a model without eyes.
        """
        llm_dir, clip_dir = model_folder(llm), model_folder(clip)
        tokenizer_dirs = tuple(map(Path, tokenizers)) if tokenizers else (llm_dir, clip_dir)
        language, whole = load_llm(llm_dir, dtype, pictures)
        models = TextModels(
            llm=language,
            tokenizer=load_tokenizer(tokenizer_dirs[0]),
            clip=load_clip(clip_dir, dtype),
            clip_tokenizer=load_tokenizer(tokenizer_dirs[1]),
            folders=tuple(dict.fromkeys((llm_dir, clip_dir, *tokenizer_dirs))),
            pictures=PictureReader(whole, llm_dir) if pictures else None,
        )
        return cls(models, settings or TextSettings(), cache)

    @property
    def width(self) -> int:
        """Channels of the language model's states."""
        return self.llm.config.hidden_size

    @property
    def pooled_width(self) -> int:
        """Channels of CLIP's vector."""
        return self.clip.config.hidden_size

    @cached_property
    def digest(self) -> str:
        """sha256 of everything but the prompt that decides a state: files, precision, settings. Reads all files."""
        files = [weights_digest(folder) for folder in self.folders]
        return key_of(*files, str(self.llm.dtype), str(self.clip.dtype), self.settings.model_dump())

    def train(self, mode: bool = True) -> "TextEncoder":
        """Stays in evaluation mode whatever is asked, since a parent module may ask."""
        return super().train(False)

    def crop_start(self, kind: Kind, with_picture: bool = False) -> int:
        """Number of tokens before the prompt: those that any prompts have in common under the template of this kind."""
        return _common(self._probe_rows(self._template(kind, with_picture)))

    def encode(
        self,
        prompts: Sequence[str],
        kind: Kind,
        pooled_prompts: Sequence[str] | None = None,
        pictures: Sequence[Tensor] | None = None,
    ) -> list[TextState]:
        """Encode prompts, in order; states and vectors in the encoders' dtype and on their device.

        A longer prompt than `max_tokens` loses its end. What is encoded twice is computed once and shared: do not
        write into it.

        Args:
            pooled_prompts: what CLIP reads, where it is not the same (independent text dropout).
            pictures: the first frame of each prompt's video, uint8 RGB [3, H, W], for an encoder made with `pictures`.

        Raises:
            ValueError: pictures for an encoder that sees none; or nothing is left of a prompt, which only a template
                that ends with {prompt} can bring about.
        """
        if pictures is not None and (self.pictures is None or kind != "video"):
            raise ValueError(f"pictures go with video prompts and an encoder made with pictures=True, not with {kind}")
        shown = [None] * len(prompts) if pictures is None else list(pictures)
        template = self._template(kind, pictures is not None)
        seen = ["" if one is None else _digest(one) for one in shown]
        read = list(prompts if pooled_prompts is None else pooled_prompts)
        states = self._remembered(
            [("states", template, *parts) for parts in zip(prompts, seen, strict=True)],
            lambda places: self._states([prompts[i] for i in places], kind, [shown[i] for i in places]),
        )
        pooled = self._remembered(
            [("pooled", prompt) for prompt in read], lambda places: self._pooled([read[i] for i in places])
        )
        return [TextState(*pair) for pair in zip(states, pooled, strict=True)]

    def _remembered(
        self, parts: Sequence[tuple[str, ...]], encode: Callable[[Sequence[int]], list[Tensor]]
    ) -> list[Tensor]:
        """A tensor for each of `parts`: from the cache, or encoded in batches, what is there twice only once."""
        cache = self.cache
        keys = [key_of(*part, "" if cache is None else self.digest) for part in parts]
        known = {} if cache is None else {key: cache.get(key) for key in keys}
        found = {key: tensor.to(self.llm.device) for key, tensor in known.items() if tensor is not None}
        missing = list({key: place for place, key in enumerate(keys) if key not in found}.values())
        for start in range(0, len(missing), self.batch):
            places = missing[start : start + self.batch]
            for place, tensor in zip(places, encode(places), strict=True):
                found[keys[place]] = tensor
                if cache is not None:
                    cache.put(keys[place], tensor)
        return [found[key] for key in keys]

    @torch.no_grad()
    def _states(self, prompts: Sequence[str], kind: Kind, pictures: Sequence[Tensor | None]) -> list[Tensor]:
        settings, shown = self.settings, [one for one in pictures if one is not None]
        template = self._template(kind, bool(shown))
        probes = self._probe_rows(template)
        crop = _common(probes)
        texts = [template.replace("{prompt}", prompt) for prompt in prompts]
        tokens = self._tokenize(self.tokenizer, texts, crop + settings.max_tokens)
        lengths = tokens["attention_mask"].sum(dim=1).tolist()
        for prompt, length in zip(prompts, lengths, strict=True):
            if length <= crop:
                raise ValueError(
                    f"nothing is left of prompt {prompt!r}; let the {kind} template go on after {{prompt}}"
                )
        if self.pictures is not None and shown:
            num_tail = _common([row[::-1] for row in probes])
            tail = torch.tensor(probes[0][len(probes[0]) - num_tail :], dtype=torch.long)
            rows = PictureRows(tokens["input_ids"], tokens["attention_mask"], crop, tail)
            tail_tokens = min(settings.picture_tail_tokens, num_tail)
            return self.pictures.states(rows, shown, settings.layers_from_end, settings.picture_stride, tail_tokens)
        hidden = self.llm(**tokens.to(self.llm.device), use_cache=False, output_hidden_states=True).hidden_states
        # Copies: a slice would keep the whole padded batch alive in whatever caches it.
        rows = zip(hidden[-settings.layers_from_end], lengths, strict=True)
        return [one[crop:length].clone() for one, length in rows]

    @torch.no_grad()
    def _pooled(self, prompts: Sequence[str]) -> list[Tensor]:
        tokens = self._tokenize(self.clip_tokenizer, list(prompts), self.settings.max_pooled_tokens)
        return [vector.clone() for vector in self.clip(**tokens.to(self.clip.device)).pooler_output]

    def _template(self, kind: Kind, with_picture: bool = False) -> str:
        if kind not in ("image", "video"):
            raise ValueError(f"kind must be 'image' or 'video', got {kind!r}")
        if with_picture:
            assert self.pictures is not None
            name = self.tokenizer.convert_ids_to_tokens(self.pictures.token_id)
            return self.settings.picture_template.replace("{image}", name)
        return self.settings.image_template if kind == "image" else self.settings.video_template

    def _probe_rows(self, template: str) -> list[list[int]]:
        return self.tokenizer([template.replace("{prompt}", probe) for probe in _PROBES])["input_ids"]

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


def _digest(picture: Tensor) -> str:
    return hashlib.sha256(f"{tuple(picture.shape)}".encode() + picture.numpy(force=True).tobytes()).hexdigest()


def _common(rows: Sequence[Sequence[int]]) -> int:
    """How many numbers the rows have in common at their beginning."""
    count = 0
    while all(count < len(row) and row[count] == rows[0][count] for row in rows):
        count += 1
    return count
