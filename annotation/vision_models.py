"""Vision-language models that put frames into words: one that transformers runs here, or one behind an address.

    Request(frames, prompt) [B] --+--> LocalModel:  chat template --> generate, a batch at a time --+--> Reply [B]
                                  +--> ServedModel: POST {url}/v1/chat/completions, B in flight ----+    or NoReply

Both give text as the model wrote it; `drafting.py` judges it. The local model is any `image-text-to-text` folder of
transformers, greedy in batches, or sampled one clip at a time, so that a draft depends on its clip and seed alone (in
16-bit numbers a batch's other members may still turn a near tie). The served one speaks the OpenAI protocol, as vLLM
does; frames go as JPEG, and where the server knows JSON schemas it is held to ours. Overload (429), server errors and
lost connections are tried again with growing waits. Its key comes from DAILIES_DRAFTER_API_KEY and is never shown.
Nothing is ever fetched.
"""

import base64
import json
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol
from urllib.parse import urlsplit

import numpy as np
from pydantic import BaseModel, Field, model_validator

from curation.records import UserError

KEY_VARIABLE = "DAILIES_DRAFTER_API_KEY"
WEIGHTS = (".safetensors", ".bin")
MAX_WAIT_S = 60.0
JPEG_QUALITY = 90
QUOTED_CHARS = 500
# What says where and how fast, not which words.
NOT_IN_VERSION = {"model", "url", "batch", "device", "timeout_s", "attempts", "backoff_s", "retry"}


class DrafterSettings(BaseModel, frozen=True, extra="forbid"):
    """The vision-language model that drafts captions, and what it is shown."""

    section: ClassVar[str] = "annotation.drafter"  # of the recipe, for messages

    model: str = Field(
        default="",
        description="a folder as transformers saves it, the name of a model that lies in the local Hugging Face cache, "
        "or with `url` the name by which the server knows it; empty: no model drafts",
    )
    revision: str = Field(
        default="", description="of a model in the cache; with `url`, your own note of what is served"
    )
    url: str = Field(
        default="",
        description="address of an OpenAI-compatible server, without /v1 (its key, if it wants one, comes from the "
        f"environment variable {KEY_VARIABLE}); empty: transformers runs the model here",
    )
    max_frames: int = Field(default=8, ge=1, description="most frames shown of a clip")
    fps: float = Field(
        default=0.0, ge=0, description="frames per second; 0, or more than fit: max_frames evenly spread"
    )
    short_side_px: int = Field(default=384, ge=16, description="frames are shrunk to this, never enlarged")
    use_facts: bool = Field(default=True, description="tell the model the source's title and a sure camera movement")
    temperature: float = Field(default=0.0, ge=0, description="0: always the likeliest word")
    top_p: float = Field(default=1.0, gt=0, le=1, description="share of the probability that words are drawn from")
    seed: int = Field(default=0, ge=0, description="of the draw, together with the clip's id")
    max_new_tokens: int = Field(default=768, ge=1, description="longest answer; what is cut off is malformed")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto", description="of a local model; auto: bf16 on CUDA, fp32 elsewhere"
    )
    device: str = Field(default="", description="torch device of a local model; empty: CUDA if there is any, else cpu")
    batch: int = Field(default=4, ge=1, description="clips at a time per worker: in one batch, or in flight")
    timeout_s: float = Field(default=120.0, gt=0, description="longest wait for the server to send anything")
    attempts: int = Field(default=5, ge=1, description="requests per clip before it is a failure")
    backoff_s: float = Field(default=1.0, ge=0, description="wait before the second attempt; it doubles with each")
    retry: int = Field(default=0, ge=0, description="raise it to have clips that failed tried again")

    @model_validator(mode="after")
    def _can_be_meant(self) -> "DrafterSettings":
        parts = urlsplit(self.url)
        if self.url and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError(f"url = {self.url!r} is no http(s) address")
        if parts.path.rstrip("/").endswith("/v1"):
            raise ValueError(f"url = {self.url!r}: leave out /v1, which is added")
        if parts.username or parts.password or parts.query:
            raise ValueError(f"url must hold no key, password or query; a key belongs in {KEY_VARIABLE}")
        if self.name == "facts":
            raise ValueError("a model named 'facts' could not be told from the drafts made of facts; rename the folder")
        return self

    @property
    def name(self) -> str:
        """The model's name without its folders."""
        return self.model.rstrip("/").rsplit("/", 1)[-1]

    def shaping(self) -> str:
        """The settings that shape the words, as JSON."""
        return self.model_dump_json(exclude=NOT_IN_VERSION)


@dataclass(frozen=True)
class Request:
    """What a model is shown and asked: `frames` uint8 RGB [N, H, W, 3] in order of time."""

    frames: np.ndarray
    prompt: str
    seed: int = 0


@dataclass(frozen=True)
class Reply:
    """A model's words; `is_cut` where it was not done when its room ended."""

    text: str
    is_cut: bool = False


@dataclass(frozen=True)
class NoReply:
    """That there are no words, and why."""

    reason: str
    detail: str


class VisionModel(Protocol):
    """Weights or an address."""

    def __call__(self, requests: Sequence[Request]) -> list[Reply | NoReply]:
        """An answer to each, in order."""
        ...


def load_model(settings: DrafterSettings, schema: Mapping[str, Any]) -> VisionModel:
    """The model of the settings, ready. Ask `missing` first.

    Args:
        schema: JSON schema of the wanted answer, for servers that can hold a model to it.
    """
    return ServedModel(settings, schema) if settings.url else LocalModel(settings)


def missing(settings: DrafterSettings) -> list[str]:
    """What keeps the model from working, in words; found out without loading its weights."""
    if not settings.model:
        return [
            f"a model: set {settings.section}.model to a folder in transformers' format or to the name of a model in "
            f"the local cache; or {settings.section}.url and the name that the server there gives it"
        ]
    if settings.url:
        return [why] if (why := _not_served(settings)) else []
    try:
        folder = model_folder(settings)
        _processor(folder, settings.section)
    except UserError as error:
        return [str(error)]
    return []


def model_folder(settings: DrafterSettings) -> Path:
    """Where a local model's files lie.

    Raises:
        UserError: nowhere, or something of them is not there.
    """
    folder = Path(settings.model).expanduser()
    if not folder.is_dir():
        folder = _cached(settings)
    files = {path.name for path in folder.iterdir()}
    if "config.json" not in files or not any(name.endswith(WEIGHTS) for name in files):
        raise UserError(
            f"{settings.section}.model: {folder} must hold config.json and weights ({' or '.join(WEIGHTS)}), it holds "
            f"{', '.join(sorted(files)[:8]) or 'nothing'}"
        )
    return folder


def model_files(settings: DrafterSettings) -> list[Path]:
    """The files whose content makes the model what it is, by name; none for a served model."""
    kinds = (*WEIGHTS, ".json", ".jinja", ".txt", ".model")
    if settings.url:
        return []
    return sorted(path for path in model_folder(settings).iterdir() if path.is_file() and path.name.endswith(kinds))


def _cached(settings: DrafterSettings) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(settings.model, revision=settings.revision or None, local_files_only=True))
    except (OSError, ValueError) as error:
        revision = f" --revision {settings.revision}" if settings.revision else ""
        raise UserError(
            f"{settings.section}.model is {settings.model!r}: there is no such folder, and no such model in the local "
            f"Hugging Face cache. Nothing is fetched here; `hf download {settings.model}{revision}` does that"
        ) from error


def _processor(folder: Path, section: str) -> Any:
    """The folder's processor.

    Raises:
        UserError: it has none, or one that reads no pictures or knows no chat.
    """
    from transformers import AutoProcessor

    try:
        processor: Any = AutoProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise UserError(f"{section}.model: {folder} holds no processor: {error}") from error
    for part, what in (("image_processor", "reads no pictures"), ("chat_template", "has no chat template")):
        if getattr(processor, part, None) is None:
            raise UserError(f"{section}.model: the processor of {folder}, {type(processor).__name__}, {what}")
    return processor


class LocalModel:
    """A model that transformers runs in this process."""

    def __init__(self, settings: DrafterSettings) -> None:
        import torch
        from transformers import AutoModelForImageTextToText

        folder = model_folder(settings)
        self._settings, self._processor = settings, _processor(folder, settings.section)
        self._device = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
        wanted = settings.precision
        if wanted == "auto":
            wanted = "bf16" if self._device.startswith("cuda") else "fp32"
        self._dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[wanted]
        loaded: Any = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True, dtype=self._dtype)
        self._model = loaded.to(self._device).eval()
        ends = self._model.generation_config.eos_token_id
        self._ends = set(ends if isinstance(ends, list) else [ends])

    def __call__(self, requests: Sequence[Request]) -> list[Reply | NoReply]:
        size = 1 if self._settings.temperature else self._settings.batch
        starts = range(0, len(requests), size)
        return [reply for start in starts for reply in self._fitting(requests[start : start + size])]

    def _fitting(self, requests: Sequence[Request]) -> list[Reply | NoReply]:
        """Answers to a batch, in halves where the device's memory does not take it whole."""
        import torch

        try:
            return [*self._generate(requests)]
        except torch.OutOfMemoryError as error:
            if len(requests) == 1:
                return [NoReply("out of memory", f"one clip does not fit {self._device}: {error}"[:QUOTED_CHARS])]
        half = len(requests) // 2
        return self._fitting(requests[:half]) + self._fitting(requests[half:])

    def _generate(self, requests: Sequence[Request]) -> list[Reply]:
        import torch

        settings = self._settings
        inputs = self._processor.apply_chat_template(
            [_conversation(request) for request in requests],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            processor_kwargs={"padding": True, "padding_side": "left", "return_tensors": "pt"},
        ).to(self._device, dtype=self._dtype)
        chosen: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if settings.temperature:
            chosen = {"do_sample": True, "temperature": settings.temperature, "top_p": settings.top_p, "top_k": 0}
            torch.manual_seed(requests[0].seed)
        with torch.inference_mode():
            tokens = self._model.generate(**inputs, **chosen, max_new_tokens=settings.max_new_tokens)
        new = tokens[:, inputs["input_ids"].shape[1] :]
        texts = self._processor.batch_decode(new, skip_special_tokens=True)
        return [Reply(text, not self._ends & set(row)) for text, row in zip(texts, new.tolist(), strict=True)]


def _conversation(request: Request) -> list[dict[str, Any]]:
    from PIL import Image

    pictures = [{"type": "image", "image": Image.fromarray(frame)} for frame in request.frames]
    return [{"role": "user", "content": [*pictures, {"type": "text", "text": request.prompt}]}]


class ServedModel:
    """A model behind an OpenAI-compatible address."""

    def __init__(self, settings: DrafterSettings, schema: Mapping[str, Any]) -> None:
        self._settings = settings
        self._schema: Mapping[str, Any] | None = schema

    def __call__(self, requests: Sequence[Request]) -> list[Reply | NoReply]:
        with _client(self._settings) as client, ThreadPoolExecutor(self._settings.batch) as threads:
            return list(threads.map(lambda request: self._ask(client, request), requests))

    def _ask(self, client: Any, request: Request) -> Reply | NoReply:
        import httpx

        settings, problem, asked_wait_s = self._settings, "", 0.0
        for attempt in range(settings.attempts):
            if attempt:
                time.sleep(min(MAX_WAIT_S, max(asked_wait_s, settings.backoff_s * 2 ** (attempt - 1))))
            schema = self._schema
            try:
                answer = client.post("/v1/chat/completions", json=self._body(request, schema))
                if schema and answer.status_code in (400, 422) and "response_format" in answer.text:
                    self._schema = None  # this server holds no model to a schema; from now on nobody asks it to
                    answer = client.post("/v1/chat/completions", json=self._body(request, None))
            except httpx.TransportError as error:
                problem, asked_wait_s = f"{type(error).__name__}: {error}", 0.0
                continue
            if answer.status_code != 429 and answer.status_code < 500:
                return _reply(answer)
            problem, asked_wait_s = _quoted(answer), _seconds(answer.headers.get("retry-after", ""))
        return NoReply("endpoint unavailable", f"{settings.attempts} attempts at {settings.url}; the last: {problem}")

    def _body(self, request: Request, schema: Mapping[str, Any] | None) -> dict[str, Any]:
        settings = self._settings
        pictures = [{"type": "image_url", "image_url": {"url": _jpeg_address(frame)}} for frame in request.frames]
        body: dict[str, Any] = {
            "model": settings.model,
            "messages": [{"role": "user", "content": [*pictures, {"type": "text", "text": request.prompt}]}],
            "max_tokens": settings.max_new_tokens,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "seed": request.seed,
        }
        if schema is not None:
            named = {"name": "caption", "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        return body


def _client(settings: DrafterSettings) -> Any:
    import httpx

    key = os.environ.get(KEY_VARIABLE, "")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.Client(base_url=settings.url, headers=headers, timeout=settings.timeout_s)


def _not_served(settings: DrafterSettings) -> str:
    """Why the server would not answer for the model; empty if it would, or does not list its models."""
    import httpx

    with _client(settings) as client:
        try:
            answer = client.get("/v1/models")
        except httpx.TransportError as error:
            return f"the server at {settings.section}.url = {settings.url}: {type(error).__name__}: {error}"
    if answer.status_code in (401, 403):
        return f"a key that {settings.url} accepts, in the environment variable {KEY_VARIABLE}: {_quoted(answer)}"
    if answer.is_error:
        return "" if answer.status_code in (404, 405) else f"a working server at {settings.url}: {_quoted(answer)}"
    try:
        names = [str(model["id"]) for model in answer.json()["data"]]
    except (ValueError, KeyError, TypeError):
        return f"an OpenAI-compatible server at {settings.url}, whose /v1/models says {_quoted(answer)}"
    known = ", ".join(names[:8]) or "nothing"
    return "" if settings.model in names else f"the model {settings.model!r}, as {settings.url} serves {known}"


def _reply(answer: Any) -> Reply | NoReply:
    if answer.is_error:
        return NoReply("endpoint refused", _quoted(answer))
    try:
        choice = answer.json()["choices"][0]
        text = choice["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError):
        return NoReply("endpoint broke its protocol", f"no choices[0].message.content in {_quoted(answer)}")
    if not isinstance(text, str):
        return NoReply("endpoint gave no words", f"content is {json.dumps(text)[:80]} in {_quoted(answer)}")
    return Reply(text, choice.get("finish_reason") == "length")


def _quoted(answer: Any) -> str:
    """Status and beginning of an answer, without our key, which some servers repeat."""
    text, key = answer.text, os.environ.get(KEY_VARIABLE, "")
    return f"HTTP {answer.status_code}: {(text.replace(key, '***') if key else text)[:QUOTED_CHARS]}"


def _seconds(header: str) -> float:
    """A Retry-After header in seconds; 0 for a date or nonsense."""
    return float(header) if header.strip().isdigit() else 0.0


def _jpeg_address(frame: np.ndarray) -> str:
    import cv2

    done, data = cv2.imencode(".jpg", np.ascontiguousarray(frame[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
