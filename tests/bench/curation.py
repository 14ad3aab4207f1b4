"""What do split and score cost, beside one plain decode of the same footage, in the same run?

    python -m tests.bench.curation [FOLDER]          default: ../shared/videos beside the project

Each file is decoded bare (PyAV, one thread, every frame, nothing kept), split, and scored with the technical scorers,
one after the other in one process, so that a slow moment of the machine hits all three. Scorers with a neural network
are measured beside them. Wall time; the ratio is of sums over all files. The last line is JSON for programs.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.records import UserError
from curation.score import ScoreSettings, load_scorers, score_clips
from curation.source import UnreadableVideo, open_source
from curation.split import SplitSettings, split_video
from jobs.footage import FootageSettings, list_footage

TECHNICAL = ("sharpness", "exposure", "motion")
NEURAL = ("text_overlay",)
DEFAULT_FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "videos"


@dataclass(frozen=True)
class Row:
    """Seconds that one file took."""

    name: str
    num_clips: int
    decode_s: float
    split_s: float
    score_s: float
    neural_s: float


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started_s = time.perf_counter()
    result = work()
    return time.perf_counter() - started_s, result


def decode(uri: str) -> int:
    """Every frame, as a plain reader would."""
    with open_source(uri) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        num_frames = 0
        for packet in container.demux(stream):
            try:
                num_frames += len(packet.decode())
            except Exception:  # damaged packets cost what they cost
                continue
    return num_frames


def measure(folder: str) -> list[Row]:
    technical = load_scorers(ScoreSettings(scorers=TECHNICAL))
    neural = load_scorers(ScoreSettings(scorers=NEURAL))
    rows = []
    for file in list_footage(FootageSettings(path=folder)):
        name = file.uri.rsplit("/", 1)[-1]
        try:
            decode_s, _ = timed(lambda uri=file.uri: decode(uri))
            split_s, (_, clips) = timed(lambda uri=file.uri: split_video(uri, SplitSettings()))
        except UnreadableVideo as error:
            print(f"{name}: left out, {error}")
            continue
        score_s, _ = timed(lambda uri=file.uri, clips=clips: list(score_clips(uri, clips, technical)))
        neural_s, _ = timed(lambda uri=file.uri, clips=clips: list(score_clips(uri, clips, neural)))
        rows.append(Row(name, len(clips), decode_s, split_s, score_s, neural_s))
        print(f"{name:44} {len(clips):3} {decode_s:8.2f} {split_s:8.2f} {score_s:8.2f} {neural_s:8.2f}", flush=True)
    return rows


def main(arguments: list[str]) -> int:
    folder = arguments[0] if arguments else str(DEFAULT_FOLDER)
    print(f"{'file':44} {'clips':>3} {'decode':>8} {'split':>8} {'score':>8} {'neural':>8}   seconds")
    try:
        rows = measure(folder)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    decode_s, split_s, score_s, neural_s = (
        sum(getattr(row, f"{part}_s") for row in rows) for part in ("decode", "split", "score", "neural")
    )
    num_clips = sum(row.num_clips for row in rows)
    print(f"{'all':44} {num_clips:3} {decode_s:8.2f} {split_s:8.2f} {score_s:8.2f} {neural_s:8.2f}")
    ratios = {
        "ratio_to_decode": (split_s + score_s) / decode_s,
        "split_to_decode": split_s / decode_s,
        "score_to_decode": score_s / decode_s,
        "neural_to_decode": neural_s / decode_s,
    }
    print(json.dumps({name: round(ratio, 3) for name, ratio in ratios.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
