"""Tables that people write for a study: its prompts, and questions whose answers are known.

prompts.csv, .jsonl, .parquet, .txt --read_study_prompts--> StudyPrompt, other columns kept as categories
gold.csv, .jsonl, .parquet ----------read_gold------------> GoldQuestion
"""

import io
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow.parquet as pq
from pyarrow import fs as pafs

from annotation.study.axes import ALL_AXES, FAIL, PASS, TIE, A, B, Design
from annotation.study.dealing import GoldQuestion, Question
from annotation.study.settings import StudySettings
from curation.filesystem import located
from curation.records import UserError, content_id
from curation.study_records import StudyPrompt
from jobs.prompts import text_rows

TABLES = (".csv", ".jsonl", ".parquet")
KINDS = (*TABLES, ".txt")


def read_study_prompts(settings: StudySettings) -> list[StudyPrompt]:
    """The prompts, in their order, each with an id: that of the column `prompt_id`, else one made from its words.

    Raises:
        UserError: no such table, no prompt in it, an empty or repeated prompt or id, a category that is no column.
    """
    if not settings.prompts:
        raise UserError("study.prompts is not set; name a table with a column `prompt`, or a .txt with one a line")
    rows = list(table_rows(settings.prompts))
    if not rows:
        raise UserError(f"study.prompts {settings.prompts} holds no prompt")
    columns = list(dict.fromkeys(name for _, row in rows for name in row))
    others = [name for name in columns if name not in ("prompt_id", "prompt")]
    if unknown := [name for name in settings.categories if name not in others]:
        raise UserError(
            f"study.categories: {settings.prompts} has no column {unknown[0]!r}; it has {', '.join(others) or 'none'}"
        )
    wanted = settings.categories or tuple(others)
    prompts = [_prompt(settings.name, where, row, wanted) for where, row in rows]
    for what in ("prompt", "prompt_id"):
        times = Counter(getattr(prompt, what) for prompt in prompts)
        if twice := [value for value, count in times.items() if count > 1]:
            raise UserError(
                f"study.prompts {settings.prompts}: {len(twice)} values of {what} stand there more than once, such as "
                f"{twice[0]!r}; every prompt is asked once, take the others out"
            )
    return prompts


def read_gold(settings: StudySettings) -> list[GoldQuestion]:
    """The questions of `study.checks.gold` whose answers are known; its rows of one question are put together.

    Columns: prompt_id, system_a and system_b (or system, where one video is judged alone), axis, answer; A of an answer
    stands for system_a.

    Raises:
        UserError: no such table, or a row that is no question of this study.
    """
    if not settings.checks.gold:
        return []
    names = {system.name for system in settings.systems}
    pairwise = settings.design is Design.PAIRWISE
    columns, answers = (("system_a", "system_b"), (A, TIE, B)) if pairwise else (("system",), (PASS, FAIL))
    expected: dict[Question, dict[str, str]] = defaultdict(dict)
    for where, row in table_rows(settings.checks.gold):
        prompt_id, axis, answer, *systems = (
            str(row.get(name) or "") for name in ("prompt_id", "axis", "answer", *columns)
        )
        if axis not in ALL_AXES or answer not in answers or not set(systems) <= names or not prompt_id:
            raise UserError(
                f"{where}: a row of study.checks.gold needs prompt_id, {', '.join(columns)} (of "
                f"{', '.join(sorted(names))}), axis (of {', '.join(ALL_AXES)}) and answer (of {', '.join(answers)}); "
                f"got {dict(row)}"
            )
        expected[Question(prompt_id, *systems)][axis] = answer
    return [GoldQuestion(question, known) for question, known in expected.items()]


def _prompt(study: str, where: str, row: Mapping[str, Any], categories: Sequence[str]) -> StudyPrompt:
    prompt = str(row.get("prompt") or "").strip()
    if not prompt:
        raise UserError(f"{where}: the prompt is empty; every row needs a column `prompt`")
    given = row.get("prompt_id")
    prompt_id = str(given).strip() if given not in (None, "") else content_id(prompt)
    kept = {name: row[name] for name in categories if row.get(name) not in (None, "")}
    return StudyPrompt(study, prompt_id, prompt, json.dumps(kept, sort_keys=True, ensure_ascii=False, default=str))


def table_rows(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where each row stands and its fields.

    Raises:
        UserError: no such table, or a row that cannot be read.
    """
    name = PurePosixPath(path).name
    suffix = PurePosixPath(path).suffix.lower()
    filesystem, place = located(path)
    if suffix not in KINDS or filesystem.get_file_info(place).type != pafs.FileType.File:
        what = "is not there" if suffix in KINDS else f"is none of {', '.join(KINDS)}"
        raise UserError(f"the table {path} {what}")
    with filesystem.open_input_stream(place) as stream:
        data = stream.read()
    if suffix == ".parquet":
        for number, row in enumerate(pq.read_table(io.BytesIO(data)).to_pylist(), start=1):
            yield f"{name}, row {number}", row
        return
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error}") from error
    for line, row in text_rows(Path(name), text):
        if "" in row:
            raise UserError(f"{name}:{line} has more fields than columns; put quotes around text that holds commas")
        yield f"{name}:{line}", row
