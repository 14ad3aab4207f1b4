"""What a study compares: for every system, the one video it made of each prompt.

    folder of files       --+
    manifest of addresses --+--match by id, or by the prompt's words--> candidates --one, or a reason--> Found
    samples of `generate` --+

A file is named by the prompt's id (`0007.mp4`), by the prompt as VBench does (`a cat on a mat.mp4`), or by either and
the number of the sample (`a cat on a mat-0.mp4`). Words are compared without case, punctuation and what file systems
forbid; names that were cut short fit by their beginning if only one prompt begins so. Row numbers are never taken for
names, since some count from 0 and some from 1.

Of several videos of one prompt none is picked: that is a failure, unless `seed` names the sample that counts for all.
"""

import bisect
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, TypeVar

from pyarrow import fs as pafs

from annotation.study.settings import SystemSettings
from curation.filesystem import located
from curation.records import UserError
from curation.study_records import StudyPrompt
from curation.tables import Workspace
from jobs.footage import FootageSettings
from jobs.study_tables import TABLES, table_rows

SAMPLES = "samples"
CUT_SHORT_FROM = 40  # characters: a shorter name is not taken for the beginning of a longer prompt
Key = TypeVar("Key")
NUMBERED = re.compile(r"(.+)[-_](\d+)")


@dataclass(frozen=True)
class Found:
    """A system's video of a prompt: where it lies, or why there is none that counts."""

    uri: str = ""
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True)
class SystemVideos:
    """What was found of one system: one `Found` for every prompt, and the videos that fit no prompt."""

    system: str
    found: Mapping[str, Found]
    strangers: tuple[str, ...]


@dataclass(frozen=True)
class _Candidate:
    uri: str
    number: int | None  # which sample of the prompt it says it is


def find_videos(system: SystemSettings, prompts: Sequence[StudyPrompt], workspace: Workspace) -> SystemVideos:
    """The one video of every prompt that a system made, or the reason why there is none.

    Raises:
        UserError: the folder, manifest or run is not there, or nothing in it fits a prompt.
    """
    names = _Names(prompts)
    candidates: dict[str, list[_Candidate]] = defaultdict(list)
    strangers = []
    for place, prompt_id, number in _places(system, names, workspace):
        if prompt_id is None:
            strangers.append(place)
        else:
            candidates[prompt_id].append(_Candidate(place, number))
    if not candidates:
        raise UserError(
            f"study.systems {system.name}: none of the {len(strangers)} videos of {system.videos} fits a prompt"
            f"{f', such as {strangers[0]}' if strangers else ''}; name files by prompt_id (a column of the prompts) or "
            "by the prompt, or give a manifest with prompt_id or prompt, and video"
        )
    found = {prompt.prompt_id: _only(candidates.get(prompt.prompt_id, []), system.seed) for prompt in prompts}
    return SystemVideos(system.name, found, tuple(sorted(strangers)))


def _only(candidates: Sequence[_Candidate], seed: int | None) -> Found:
    """The single candidate, or with a seed the single one of that number; never one of several."""
    if not candidates:
        return Found(reason="missing", detail="no video of this prompt")
    counted = [each for each in candidates if seed is None or each.number in (None, seed)]
    names = ", ".join(sorted(PurePosixPath(each.uri).name for each in candidates)[:4])
    if not counted:
        return Found(reason="missing", detail=f"{len(candidates)} videos, none of them is number {seed}: {names}")
    if len({each.uri for each in counted}) > 1:
        return Found(
            reason="several videos",
            detail=f"{len(candidates)} videos, and one is judged: {names}; name the sample that counts for every "
            "prompt with `seed`",
        )
    return Found(uri=counted[0].uri)


class _Names:
    """Finds the prompt that a file name or a text stands for."""

    def __init__(self, prompts: Sequence[StudyPrompt]) -> None:
        self.by_id = {prompt.prompt_id: prompt.prompt_id for prompt in prompts}
        decimal = [prompt.prompt_id for prompt in prompts if prompt.prompt_id.isdecimal()]
        self.by_number = _unique((int(prompt_id), prompt_id) for prompt_id in decimal)
        self.by_words = _unique((_words(prompt.prompt), prompt.prompt_id) for prompt in prompts)
        self.sorted_words = sorted(self.by_words)

    def of_text(self, text: str) -> str | None:
        return self.by_words.get(_words(text))

    def of_id(self, text: str) -> str | None:
        return self.by_id.get(text) or (self.by_number.get(int(text)) if text.isdecimal() else None)

    def of_file(self, stem: str) -> tuple[str | None, int | None]:
        """The prompt's id and the number of the sample, as far as the name says."""
        numbered = NUMBERED.fullmatch(stem)
        ways: list[tuple[str, int | None]] = [(stem, None)]
        if numbered:
            ways.append((numbered[1], int(numbered[2])))
        for name, number in ways:
            if prompt_id := self.of_id(name) or self.of_text(name):
                return prompt_id, number
        for name, number in reversed(ways):
            if prompt_id := self._beginning(_words(name)):
                return prompt_id, number
        return None, None

    def _beginning(self, words: str) -> str | None:
        if len(words) < CUT_SHORT_FROM:
            return None
        place = bisect.bisect_left(self.sorted_words, words)
        fitting = [known for known in self.sorted_words[place : place + 2] if known.startswith(words)]
        return self.by_words[fitting[0]] if len(fitting) == 1 else None


def _unique(pairs: Iterable[tuple[Key, str]]) -> dict[Key, str]:
    """Without the keys that stand for two things."""
    listed: dict[Key, list[str]] = defaultdict(list)
    for key, value in pairs:
        listed[key].append(value)
    return {key: values[0] for key, values in listed.items() if len(values) == 1}


def _words(text: str) -> str:
    return re.sub(r"[\W_]+", " ", text.casefold()).strip()


def _places(
    system: SystemSettings, names: _Names, workspace: Workspace
) -> Iterator[tuple[str, str | None, int | None]]:
    """(address, prompt id or None, number of the sample or None) of every video of a system."""
    if system.videos == SAMPLES:
        yield from _samples(system, names, workspace)
    elif system.videos.lower().endswith(TABLES):
        for where, row in table_rows(system.videos):
            yield _listed(system.videos, where, row, names)
    else:
        for uri in _files(system):
            yield uri, *names.of_file(PurePosixPath(uri).stem)


def _samples(
    system: SystemSettings, names: _Names, workspace: Workspace
) -> Iterator[tuple[str, str | None, int | None]]:
    rows = workspace.table("samples").records()
    chosen = [row for row in rows if not system.run or f"{row.checkpoint}/".startswith(f"{system.run}/")]
    if not chosen:
        known = ", ".join(sorted({row.checkpoint for row in rows})) or "none; run `dailies generate` first"
        raise UserError(f"study.systems {system.name}: no sample of run {system.run!r}; there are samples of: {known}")
    for row in chosen:
        yield workspace.uri_of(row.uri), names.of_text(row.prompt), row.seed


def _listed(manifest: str, where: str, row: Mapping[str, Any], names: _Names) -> tuple[str, str | None, int | None]:
    video, prompt_id, prompt, seed = (str(row.get(name) or "") for name in ("video", "prompt_id", "prompt", "seed"))
    if not video or not (prompt_id or prompt):
        raise UserError(f"{where}: a manifest's row needs `video`, and `prompt_id` or `prompt`; got {dict(row)}")
    uri = video if "://" in video or video.startswith("/") else f"{manifest.rpartition('/')[0] or '.'}/{video}"
    number = int(seed) if seed.isdecimal() else None
    return uri, names.of_id(prompt_id) if prompt_id else names.of_text(prompt), number


def _files(system: SystemSettings) -> list[str]:
    """Every video below a folder, sorted by address."""
    filesystem, root = located(system.videos)
    if filesystem.get_file_info(root).type != pafs.FileType.Directory:
        raise UserError(
            f"study.systems {system.name}: {system.videos} is neither a folder nor a manifest ({', '.join(TABLES)}) "
            f"nor {SAMPLES!r}"
        )
    prefix = f"{system.videos.partition('://')[0]}://" if "://" in system.videos else ""
    endings = tuple(f".{ending}" for ending in (*FootageSettings().extensions, "gif"))
    infos = filesystem.get_file_info(pafs.FileSelector(root, recursive=True))
    paths = sorted(info.path for info in infos if info.type == pafs.FileType.File)
    return [f"{prefix}{path}" for path in paths if path.lower().endswith(endings)]
