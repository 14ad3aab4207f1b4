"""Gold items: clips whose right answers are known, to measure people by.

    gold.csv | gold.jsonl | gold.parquet --checked against the screen--> GoldItem
                            Votes + GoldItem --> right of asked, per person and question, with Wilson's interval

One row is one answer (`clip_id, question, answer`), so a clip may have several. An answer to a question with many
options is a list, or in a CSV file text with "; " between options. A right answer is the very same answer: for a rating
the very grade, for many options all of them and no other. Free text is never gold.

A gold clip is an ordinary clip otherwise: people cannot tell it from the others, and its caption and ratings come from
them. Only its verdict does not: where the file gives one, that is the clip's (see resolve.py).

Interval: E. B. Wilson, "Probable inference, the law of succession, and statistical inference" (1927), 95 %.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv, parquet

from annotation.ballots import Votes, answer_columns, answer_types
from annotation.project import SCREEN
from annotation.screen import MAX_RATING, ChoiceQuestion, Question, RatingQuestion
from curation.records import UserError

COLUMNS = ("clip_id", "question", "answer")
KINDS = (".csv", ".jsonl", ".parquet")
Z_95 = 1.959964
MAX_NAMED = 5

GoldAnswer = str | int | tuple[str, ...]


@dataclass(frozen=True)
class GoldItem:
    """What is known about one clip."""

    clip_id: str
    question: str
    answer: GoldAnswer


@dataclass(frozen=True)
class Accuracy:
    """Right answers of one person to one question, or to all (`question` empty), and Wilson's 95 % interval."""

    annotator: str
    question: str
    right: int
    asked: int
    low: float
    high: float

    @property
    def share(self) -> float:
        return self.right / self.asked


def load_gold(path: str | Path, questions: Mapping[str, Question] = SCREEN.questions) -> tuple[GoldItem, ...]:
    """The items of a file, ordered by clip and question.

    Raises:
        UserError: no such file, another kind of file, a column is missing, or a row does not fit the screen.
    """
    rows = _read(Path(path))
    items: dict[tuple[str, str], GoldItem] = {}
    for number, row in enumerate(rows, 1):
        where = f"{path}, row {number}"
        item = _item(where, row, questions)
        key = item.clip_id, item.question
        if items.setdefault(key, item) != item:
            raise UserError(
                f"{where}: {item.question} of clip {item.clip_id} is given twice, as {items[key].answer!r} and as "
                f"{item.answer!r}; keep the right one"
            )
    return tuple(item for _, item in sorted(items.items()))


def known_verdicts(items: Iterable[GoldItem]) -> dict[str, str]:
    """Clip id -> its known verdict, for `resolve`."""
    return {item.clip_id: str(item.answer) for item in items if item.question == "verdict"}


def accuracies(counted: Votes, items: Sequence[GoldItem]) -> list[Accuracy]:
    """Per annotator, all questions together first and then each that was asked, by name."""
    by_question: dict[str, dict[str, GoldAnswer]] = {}
    for item in items:
        by_question.setdefault(item.question, {})[item.clip_id] = item.answer
    types = answer_types({name: SCREEN.questions[name] for name in SCREEN.questions if name in by_question})
    counts: dict[str, dict[str, tuple[int, int]]] = {}
    for question, column in answer_columns(counted, types).items() if by_question else ():
        right, asked = _tally(counted, column, by_question[question])
        for person in np.flatnonzero(asked).tolist():
            own = counts.setdefault(counted.people[person].as_py(), {})
            own[question] = int(right[person]), int(asked[person])
    found = []
    for annotator, own in sorted(counts.items()):
        total = sum(right for right, _ in own.values()), sum(asked for _, asked in own.values())
        for question, (right, asked) in {"": total, **own}.items():
            found.append(Accuracy(annotator, question, right, asked, *wilson(right, asked)))
    return found


def wilson(right: int, asked: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share; `asked` is at least 1."""
    share, z2 = right / asked, Z_95**2
    middle = share + z2 / (2 * asked)
    reach = Z_95 * math.sqrt(share * (1 - share) / asked + z2 / (4 * asked**2))
    scale = 1 + z2 / asked
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)


def _tally(counted: Votes, column: pa.ChunkedArray, answers: Mapping[str, GoldAnswer]) -> tuple[np.ndarray, np.ndarray]:
    """Right and all answers of each person on the gold clips, int64 [people]."""
    row = counted.newest(column.is_valid().to_numpy())
    gold = pc.call_function(
        "is_in", [counted.clip_ids], pc.SetLookupOptions(pa.array(sorted(answers), pa.string()))
    ).to_numpy(zero_copy_only=False)
    votes = np.flatnonzero((row >= 0) & gold[counted.clip])
    given = column.take(pa.array(row[votes])).to_pylist()
    clip_ids = counted.clip_ids.take(pa.array(counted.clip[votes])).to_pylist()
    same = [_plain(answer) == answers[clip_id] for answer, clip_id in zip(given, clip_ids, strict=True)]
    person, size = counted.person[votes], len(counted.people)
    return np.bincount(person[np.array(same, bool)], minlength=size), np.bincount(person, minlength=size)


def _plain(answer: Any) -> GoldAnswer:
    return tuple(sorted(answer)) if isinstance(answer, list) else answer


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise UserError(f"no gold file at {path}; annotation.gold names a file with columns {', '.join(COLUMNS)}")
    if path.suffix not in KINDS:
        raise UserError(f"{path} is no gold file: its name ends in {path.suffix!r}, expected {', '.join(KINDS)}")
    try:
        if path.suffix == ".jsonl":
            rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        elif path.suffix == ".csv":
            text = arrow_csv.ConvertOptions(column_types=dict.fromkeys(COLUMNS, pa.string()))
            rows = arrow_csv.read_csv(path, convert_options=text).to_pylist()
        else:
            rows = parquet.read_table(path).to_pylist()
    except (pa.ArrowInvalid, ValueError) as error:
        raise UserError(f"{path} cannot be read as {path.suffix[1:]}: {error}") from error
    for number, row in enumerate(rows, 1):
        missing = [name for name in COLUMNS if not isinstance(row, dict) or row.get(name) in (None, "")]
        if missing:
            raise UserError(f"{path}, row {number}: {', '.join(missing)} missing; every row gives {', '.join(COLUMNS)}")
    return rows


def _item(where: str, row: Mapping[str, Any], questions: Mapping[str, Question]) -> GoldItem:
    name, answer = str(row["question"]), row["answer"]
    judged = {key: each for key, each in questions.items() if isinstance(each, ChoiceQuestion | RatingQuestion)}
    if name not in judged:
        raise UserError(f"{where}: no question {name!r} has a known answer; those that can: {', '.join(judged)}")
    question = judged[name]
    if isinstance(question, RatingQuestion):
        text = str(answer).strip()
        if text not in map(str, range(1, MAX_RATING + 1)):
            raise UserError(f"{where}: {name} is rated 1 to {MAX_RATING} in whole steps, got {answer!r}")
        return GoldItem(str(row["clip_id"]), name, int(text))
    options = [option.value for option in question.options]
    given = answer if isinstance(answer, list) else str(answer).split("; ") if question.many else [answer]
    unknown = [each for each in given if each not in options]
    if unknown or not given:
        raise UserError(
            f"{where}: {name} offers {', '.join(options)}; got {', '.join(map(repr, unknown)) or 'nothing'}"
        )
    if not question.many and len(given) > 1:
        raise UserError(f"{where}: {name} takes one option, got {', '.join(given)}")
    return GoldItem(str(row["clip_id"]), name, tuple(sorted(given)) if question.many else given[0])
