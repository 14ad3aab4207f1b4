"""What `generate` is asked for: prompts with a seed, a size and a first frame each, from flags, the recipe or a file.

    --prompt, recipe --+
    prompts.txt       -+--> Ask(prompt, seed, width x height x frames, image) --check--> a legal size, or a refusal
    .csv, .jsonl      -+                                                                 that names the nearest one

A text file holds one prompt a line. In .csv and .jsonl, `prompt` is needed; `seed`, `image` (relative to the file) and
`size` (512x320, or 512x320x65 with the frames) may be left out or empty, and then come from the recipe.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from curation.records import UserError

SIZE_STEP_PX = 16  # the VAE shrinks sides by 8 and the DiT's patch by 2
FRAMES_STEP = 4  # the VAE shrinks time by 4 after the first frame
COLUMNS = ("prompt", "seed", "image", "size")
KINDS = (".txt", ".csv", ".jsonl")


@dataclass(frozen=True)
class Ask:
    """One sample that is asked for; `where` says by what, for messages, and `image` is a path or empty."""

    prompt: str
    seed: int
    width: int
    height: int
    num_frames: int
    image: str = ""
    where: str = "generate"


def check_size(ask: Ask) -> None:
    """Refuse sizes that the networks cannot make.

    Raises:
        UserError: names the nearest legal value.
    """
    for name in ("width", "height"):
        given = getattr(ask, name)
        if given < SIZE_STEP_PX or given % SIZE_STEP_PX:
            nearest = max(1, round(given / SIZE_STEP_PX)) * SIZE_STEP_PX
            raise UserError(
                f"{ask.where}.{name} must be a multiple of {SIZE_STEP_PX} px, got {given}; nearest: {nearest}"
            )
    if ask.num_frames < 1 or ask.num_frames % FRAMES_STEP != 1:
        nearest = max(0, round((ask.num_frames - 1) / FRAMES_STEP)) * FRAMES_STEP + 1
        raise UserError(f"{ask.where}.num_frames must be 4n+1, got {ask.num_frames}; nearest: {nearest}")
    if ask.image and ask.num_frames == 1:
        raise UserError(f"{ask.where}: with an image, its first frame is given, so num_frames must be 5 or more, got 1")


def read_prompts(path: str | Path, default: Ask) -> list[Ask]:
    """The asks of a file; what a row leaves out is taken from `default`. Sizes are checked.

    Raises:
        UserError: no such file, an unknown kind or column, a row that cannot be read, an illegal size, the same twice.
    """
    file = Path(path)
    if not file.is_file() or file.suffix not in KINDS:
        what = "is not there" if not file.is_file() else f"is none of {', '.join(KINDS)}"
        raise UserError(f"--prompts {path} {what}; give a file with a prompt a line, or with {', '.join(COLUMNS)}")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"--prompts {path} is not UTF-8 text: {error}") from error
    asks = [
        _ask(row, replace(default, where=f"{file.name}:{line}"), file.parent) for line, row in text_rows(file, text)
    ]
    if not asks:
        raise UserError(f"--prompts {path} holds no prompt")
    for ask in asks:
        check_size(ask)
    _refuse_repeats(asks)
    return asks


def text_rows(file: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and fields of each row of a .csv, .txt (whose lines are `prompt`) or .jsonl; no empty lines.

    Raises:
        UserError: a line that is no JSON object.
    """
    lines = text.splitlines()
    if file.suffix == ".csv":
        reader = csv.DictReader(io.StringIO(text), restkey="", restval="")
        for row in reader:
            yield reader.line_num, row
    elif file.suffix == ".txt":
        yield from ((line, {"prompt": prompt}) for line, prompt in enumerate(lines, start=1) if prompt.strip())
    else:
        for line, content in enumerate(lines, start=1):
            if content.strip():
                yield line, _object(content, f"{file.name}:{line}")


def _object(content: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(content)
    except json.JSONDecodeError as error:
        raise UserError(f"{where} is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise UserError(f"{where} must be a JSON object, one a line, got {content[:80]}")
    return row


def _ask(row: dict[str, Any], default: Ask, folder: Path) -> Ask:
    if unknown := [name for name in row if name not in COLUMNS]:
        raise UserError(f"{default.where}: unknown column {unknown[0]!r}; known are {', '.join(COLUMNS)}")
    given = {name: str(value).strip() for name, value in row.items() if value not in (None, "")}
    if not given.get("prompt"):
        raise UserError(f"{default.where}: the prompt is empty")
    ask = replace(default, prompt=given["prompt"])
    if "seed" in given:
        if not given["seed"].isdecimal():
            raise UserError(f"{ask.where}.seed must be a whole number of at least 0, got {given['seed']!r}")
        ask = replace(ask, seed=int(given["seed"]))
    if "image" in given:
        ask = replace(ask, image=str(folder / given["image"]))
    return _with_size(ask, given["size"]) if "size" in given else ask


def _with_size(ask: Ask, size: str) -> Ask:
    found = re.fullmatch(r"(\d+)x(\d+)(?:x(\d+))?", size)
    if found is None:
        raise UserError(
            f"{ask.where}.size must be WIDTHxHEIGHT or WIDTHxHEIGHTxFRAMES such as 512x320x65, got {size!r}"
        )
    width, height, num_frames = found.groups()
    return replace(ask, width=int(width), height=int(height), num_frames=int(num_frames or ask.num_frames))


def _refuse_repeats(asks: Sequence[Ask]) -> None:
    seen: dict[Ask, str] = {}
    for ask in asks:
        plain = replace(ask, where="")
        if plain in seen:
            raise UserError(
                f"{ask.where} asks for the same as {seen[plain]}; give it another seed, or leave one of them out"
            )
        seen[plain] = ask.where
