"""Frozen text models from folders in the format of transformers, or by hub name from the local cache, never fetched.

folder or hub name --model_folder--> folder --load_llm--> language model (and all of it, where it sees pictures)
                                            --load_clip--> CLIP's text tower
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer, CLIPTextModel
from transformers.utils import logging as transformers_logging
from transformers.utils.hub import cached_file


def model_folder(name: Path | str) -> Path:
    """Where the files of a model lie: the folder itself, or that of a hub name (`owner/model`) in the local cache.

    Raises:
        ValueError: there is no such folder and no such model in the cache, or the folder holds no model.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        folder = _cached(str(name))
    if not (folder / "config.json").is_file():
        raise ValueError(f"{name} holds no config.json; expected a model folder in the transformers format")
    return folder


def _cached(name: str) -> Path:
    try:
        config = cached_file(name, "config.json", local_files_only=True)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{name}: there is no such folder, and no such model in the local Hugging Face cache. Nothing is fetched "
            f"here; where there is a network, `hf download {name}` puts it into the cache"
        ) from error
    assert config is not None
    return Path(config).parent


def load_llm(folder: Path, dtype: torch.dtype, pictures: bool) -> tuple[Any, Any]:
    """The language model of a decoder-only checkpoint, and the whole model where it is to see pictures, else None.

    Of a checkpoint that also sees (LLaVA), the language part alone is kept unless `pictures`.

    Raises:
        ValueError: an encoder-decoder model, or pictures for a model that sees none.
    """
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    if getattr(config, "is_encoder_decoder", False):
        raise ValueError(f"{folder} is an encoder-decoder model ({config.model_type}); expected a decoder-only one")
    if pictures and not sees_pictures(folder):
        raise ValueError(
            f"{folder} is a {config.model_type} model, and pictures are understood of a llava checkpoint only; give "
            "one, or encode the words alone"
        )
    with without_bars():
        whole = AutoModel.from_pretrained(folder, local_files_only=True, dtype=dtype)
    return getattr(whole, "language_model", whole), whole if pictures else None


def sees_pictures(folder: Path | str) -> bool:
    """Whether the language model in a folder can be shown a picture, as HunyuanVideo-I2V does with LLaVA."""
    return AutoConfig.from_pretrained(model_folder(folder), local_files_only=True).model_type == "llava"


def load_clip(folder: Path, dtype: torch.dtype) -> Any:
    """CLIP's text tower; of a checkpoint of both towers, that one alone."""
    with without_bars():
        return CLIPTextModel.from_pretrained(folder, local_files_only=True, dtype=dtype)


def load_tokenizer(folder: Path) -> Any:
    """A folder's tokenizer.

    Raises:
        ValueError: it has none.
    """
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} holds no tokenizer that transformers can read: {error}") from error


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


@contextmanager
def without_bars() -> Iterator[None]:
    """Keep transformers from drawing its progress bars, which last a moment and tear up the caller's own."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
