"""How long does it take to resolve a million answers, beside reading the same table and parsing its JSON once?

    python -m tests.bench.resolve [--answers 1000000]

A workspace is written with so many answers (two per clip, sixty people, ratings, a short and a dense caption) in parts
of 10,000, as collecting leaves it. The floor reads the table and parses every text of `answers` and `origins` with
`json.loads`, keeping nothing. Then the table is read and resolved, captions and all, and last everybody's agreement and
figures are told. Each runs in a process of its own, whose peak memory is its own; wall and CPU time, imports apart. The
last line is JSON for programs.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from annotation.agreement import agreements
from annotation.annotators import annotators
from annotation.ballots import answer_rows
from annotation.resolve import resolve_rows
from curation.tables import Workspace

START = datetime(2026, 1, 1, tzinfo=UTC)
PER_PART, PER_CLIP, NUM_PEOPLE = 10_000, 2, 60
CRITERIA = (
    "color_harmony",
    "lighting_quality",
    "object_emphasis",
    "spatial_layout",
    "motion_speed",
    "action_integrity",
    "motion_blur",
)
REASONS = ("dull", "unsafe", "cut inside", "hardly moves", "badly lit")
WORDS = ("a", "dog", "runs", "over", "the", "wet", "grass", "towards", "children", "who", "watch", "from", "a", "porch")


def write_answers(uri: str, num_answers: int) -> None:
    """The table `annotations`, seeded."""
    table, generator = Workspace(uri).table("annotations"), np.random.default_rng(0)
    for start in range(0, num_answers, PER_PART):
        rows = [_row(number, generator) for number in range(start, min(start + PER_PART, num_answers))]
        table.append_rows(f"answers-{start:09}", pa.Table.from_pylist(rows, schema=table.schema))


def _row(number: int, generator: np.random.Generator) -> dict[str, Any]:
    clip, turn = divmod(number, PER_CLIP)
    person = (clip * 7 + turn * 13) % NUM_PEOPLE
    draws = generator.integers(0, 1 << 16, 12).tolist()
    keeps = draws[0] % 3 > 0
    answers: dict[str, Any] = {"verdict": "keep" if keeps else "reject"}
    if keeps:
        answers |= {name: 1 + draw % 5 for name, draw in zip(CRITERIA, draws[1:], strict=False)}
        if draws[8] % 8 == 0:
            answers |= {"segment_start_s": draws[9] % 20 / 10, "segment_end_s": 2 + draws[10] % 30 / 10}
    else:
        answers["reject_reasons"] = [REASONS[draws[1] % len(REASONS)]]
    answers["short"] = " ".join(WORDS[draw % len(WORDS)] for draw in draws)
    answers["dense"] = " ".join(WORDS[draw * 7 % len(WORDS)] for draw in draws * 3)
    answers["camera_movement"] = "pan left"
    origins = dict.fromkeys(answers, "manual") | {"short": ("prediction", "prediction-changed")[draws[11] % 2]}
    return {
        "annotation_key": f"{number * 2654435761 % 2**64:016x}{number:04x}",
        "clip_id": f"{clip * 11400714819323198485 % 2**64:016x}{clip % 65536:04x}",
        "annotator": f"person{person}@example.org",
        "simulated": False,
        "skipped": False,
        "answers": json.dumps(answers, ensure_ascii=False),
        "origins": json.dumps(origins),
        "lead_time_s": 4.0 + draws[2] % 10,
        "updated_at": (START + timedelta(seconds=number)).isoformat(),
        "project": "Dailies",
        "task_id": clip,
    }


def floor(uri: str) -> int:
    rows, parsed = answer_rows(Workspace(uri).table("annotations")), 0
    for name in ("answers", "origins"):
        for batch in rows.column(name).chunks:
            for text in batch.to_pylist():
                parsed += len(json.loads(text)) > 0
    return parsed


def resolved(uri: str) -> int:
    found = resolve_rows(answer_rows(Workspace(uri).table("annotations")), PER_CLIP)
    return found.verdicts.num_rows + found.captions.num_rows


def measured(uri: str) -> int:
    rows = answer_rows(Workspace(uri).table("annotations"))
    return len(agreements(rows)) + len(annotators(rows))


@dataclass(frozen=True)
class Cost:
    seconds: float
    cpu_seconds: float
    peak_gib: float
    count: int


def _timed(work: Callable[[str], int], uri: str) -> Cost:
    started_s, cpu_s = time.perf_counter(), time.process_time()
    count = work(uri)
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return Cost(time.perf_counter() - started_s, time.process_time() - cpu_s, peak_gib, count)


def _alone(work: Callable[[str], int], uri: str) -> Cost:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(_timed, work, uri).result()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--answers", type=int, default=1_000_000)
    num_answers = parser.parse_args().answers
    with tempfile.TemporaryDirectory() as uri:
        write_answers(uri, num_answers)
        figures = {work.__name__: _alone(work, uri) for work in (floor, resolved, measured)}
    for name, cost in figures.items():
        times = f"{cost.seconds:6.1f} s, {cost.cpu_seconds:6.1f} s of CPU"
        print(f"{name:10} {times}, {cost.peak_gib:.2f} GiB at the peak, {cost.count} rows")
    ours, least = figures["resolved"], figures["floor"]
    told = {
        "seconds": round(ours.seconds, 2),
        "cpu_seconds": round(ours.cpu_seconds, 2),
        "peak_gib": round(ours.peak_gib, 2),
        "answers": num_answers,
        "ratio_to_floor": round(ours.seconds / least.seconds, 2),
        "cpu_ratio_to_floor": round(ours.cpu_seconds / least.cpu_seconds, 2),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
