"""How prompts become states, and how often they are left out: settings alone, so that a recipe needs no network.

A template is the chat text around a prompt that asks a language model to describe a picture or a video; the tokens of
the template are cut off again after encoding. Released weights were trained with template texts of their own: give
them here. Method: arXiv 2412.03603 s4.2; the picture template is that of HunyuanVideo-I2V's kind, in our own words.
"""

import random

from pydantic import BaseModel, Field, field_validator

_SYSTEM = "<|start_header_id|>system<|end_header_id|>\n\n{task}<|eot_id|>"
_USER = "<|start_header_id|>user<|end_header_id|>\n\n{{prompt}}<|eot_id|>"
_ASSISTANT = "<|start_header_id|>assistant<|end_header_id|>\n\n"
IMAGE_TASK = "Say what this picture shows: its objects with their colours, shapes and places, and the setting."
VIDEO_TASK = (
    "Say what this video shows: its subject and what happens to it over time, the objects with their colours, shapes "
    "and places, the setting, the light, and how the camera moves."
)
_PICTURE_TASK = "{{image}}\n" + VIDEO_TASK + " The picture is its first frame."


class TextSettings(BaseModel, frozen=True, extra="forbid"):
    """How prompts become states. Released weights were trained with a template text of their own: set it here."""

    image_template: str = Field(
        default=(_SYSTEM + _USER).format(task=IMAGE_TASK),
        description="Text around an image prompt, with {prompt} once. To match released weights, give their template "
        "(36 tokens before the prompt with the Llama-3 tokenizer); the default is our own wording.",
    )
    video_template: str = Field(
        default=(_SYSTEM + _USER).format(task=VIDEO_TASK),
        description="Text around a video prompt, with {prompt} once. To match released weights, give their template "
        "(95 tokens before the prompt with the Llama-3 tokenizer); the default is our own wording.",
    )
    picture_template: str = Field(
        default=(_SYSTEM.replace("{task}", _PICTURE_TASK) + _USER + _ASSISTANT).format(),
        description="Text around the prompt of a video whose first frame the language model sees, with {prompt} and "
        "{image} once each. Released image-to-video weights: 103 tokens before the prompt, the picture counted as one.",
    )
    picture_stride: int = Field(
        default=2, ge=1, description="Every so many-th state of the picture is kept (released: 288 of 576)."
    )
    picture_tail_tokens: int = Field(
        default=1,
        ge=0,
        description="Tokens kept of what the picture template says after the prompt, from its end (released: the one "
        "line break that follows the assistant's header).",
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

    @field_validator("image_template", "video_template", "picture_template")
    @classmethod
    def _has_one_place_for_the_prompt(cls, template: str) -> str:
        return _exactly_once(template, "{prompt}")

    @field_validator("picture_template")
    @classmethod
    def _has_one_place_for_the_picture(cls, template: str) -> str:
        return _exactly_once(template, "{image}")


def _exactly_once(template: str, place: str) -> str:
    if template.count(place) != 1:
        raise ValueError(f"a template holds {place} exactly once, this one {template.count(place)} times: {template!r}")
    return template


class TextDropout(BaseModel, frozen=True, extra="forbid"):
    """How often a network is trained without its prompt, so that it can be guided away from having none.

    What is left out is replaced by the encoding of the empty string. HunyuanVideo-I2V leaves out both at once in 0.1
    of the samples; Open-Sora 2 leaves out each by itself in 0.316, so both in 0.1.
    """

    rate: float = Field(default=0.1, ge=0, le=1, description="share of samples without the language model's states")
    pooled_rate: float | None = Field(
        default=None, ge=0, le=1, description="share without CLIP's vector, drawn by itself; none: both go together"
    )

    def drawn(self, seed: int) -> tuple[bool, bool]:
        """Whether the states and whether the vector are left out; the same seed, the same answer."""
        draw = random.Random(seed)
        without = draw.random() < self.rate
        return without, without if self.pooled_rate is None else draw.random() < self.pooled_rate

    def apply(self, prompt: str, seed: int) -> tuple[str, str]:
        """What the language model and what CLIP is given of a prompt."""
        without, without_pooled = self.drawn(seed)
        return "" if without else prompt, "" if without_pooled else prompt
