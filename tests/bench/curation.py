"""What do split and score cost, beside one plain decode of the same footage and beside the peers' chain?

    python -m tests.bench.curation [FOLDER] [--neural] [--peers BIN]      default: ../shared/videos beside the project

Each file is decoded bare (PyAV, one thread, every frame, nothing kept) and then curated: split and scored by every
technical scorer and hashed in one decode; one after the other in one process, so that a slow moment of the machine hits
both. `--neural` measures what networks cost on top, each by itself. `--peers` is the bin folder of an environment with
py-data-juicer 1.6.1: its scene splitter and motion filter run over the same files with two processes, and so do we,
whole processes with all imports. Media bytes are counted in the workspace that `dailies curate` leaves. Wall time; the
last line is JSON for programs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.curate import curate_video
from curation.records import UserError
from curation.score import Judges, ScoreSettings, load_judges
from curation.source import UnreadableVideo, open_source
from curation.split import SplitSettings, split_video
from jobs.footage import FootageSettings, list_footage

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_FOLDER = ROOT.parent / "shared" / "videos"
TECHNICAL = (
    "sharpness",
    "exposure",
    "blur",
    "black",
    "flatness",
    "saturation",
    "letterbox",
    "technical_quality",
    "bits_per_pixel",
    "motion",
    "subject_motion",
    "static",
    "slideshow",
    "jitter",
    "camera_movement",
)
OCR = ("text_overlay", "watermark", "subtitles")
PEERS_HANG_ON = {"decord_corrupted.mp4"}  # its motion filter never comes back from a truncated file
JUICER = """
dataset_path: {folder}/in.jsonl
export_path: {folder}/{name}/out.jsonl
np: 2
open_tracer: false
use_cache: false
process:
{process}
"""
JUICER_SPLIT = """  - video_split_by_scene_mapper:
      detector: ContentDetector
      threshold: 27
      min_scene_len: 15
      save_dir: {folder}/clips"""
JUICER_MOTION = """  - video_motion_score_filter:
      min_score: 0.0
      sampling_fps: 2
      size: 256"""


@dataclass(frozen=True)
class Row:
    """Seconds that one file took."""

    name: str
    num_clips: int
    decode_s: float
    curate_s: float
    neural_s: dict[str, float]


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


def technical() -> Judges:
    return load_judges(ScoreSettings(scorers=TECHNICAL))


def measure(folder: str, with_neural: bool) -> list[Row]:
    judges, rows = technical(), []
    ocr = load_judges(ScoreSettings(scorers=(*TECHNICAL, *OCR))) if with_neural else None
    for file in list_footage(FootageSettings(path=folder)):
        name, uri = file.uri.rsplit("/", 1)[-1], file.uri
        try:
            decode_s, _ = timed(lambda uri=uri: decode(uri))
            curate_s, curated = timed(lambda uri=uri: curate_video(uri, SplitSettings(), judges))
        except UnreadableVideo as error:
            print(f"{name}: left out, {error}")
            continue
        neural_s = {}
        if ocr is not None:
            with_ocr_s, _ = timed(lambda uri=uri: curate_video(uri, SplitSettings(), ocr))
            neural_s["ocr"] = with_ocr_s - curate_s
            transnet_s, _ = timed(lambda uri=uri: split_video(uri, SplitSettings(detector="transnetv2")))
            neural_s["transnetv2"] = transnet_s - decode_s
        rows.append(Row(name, len(curated.clips), decode_s, curate_s, neural_s))
        more = "".join(f" {key} {value:.2f}" for key, value in neural_s.items())
        print(f"{name:44} {len(curated.clips):3} {decode_s:8.2f} {curate_s:8.2f} {more}", flush=True)
    return rows


def media_bytes(folder: str) -> int:
    """Bytes in the workspace after `dailies curate` that are neither rows nor the saved recipe."""
    with tempfile.TemporaryDirectory() as scratch:
        recipe = Path(scratch) / "recipe.toml"
        recipe.write_text(f"[score]\nscorers = {json.dumps(TECHNICAL)}\n")
        command = [sys.executable, "-m", "jobs.cli", "curate", "--recipe", str(recipe)]
        command += ["--workspace", f"{scratch}/ws", "--set", f"footage.path={folder}"]
        subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        files = [path for path in Path(scratch, "ws").rglob("*") if path.is_file()]
        assert any("clips" in path.parts for path in files), "curate gave no clips"
        return sum(
            path.stat().st_size
            for path in files
            if path.suffix not in (".parquet", ".json") and path.name != "WORKSPACE"
        )


def curate_all(files: list[str]) -> None:
    """Two processes over the files, as the peers' chain has."""
    with ProcessPoolExecutor(2, initializer=_start) as pool:
        list(pool.map(_curate, files))


def _start() -> None:
    global _JUDGES
    _JUDGES = technical()


def _curate(uri: str) -> int:
    return len(curate_video(uri, SplitSettings(), _JUDGES).clips)


def against_peers(folder: str, peers_bin: str) -> tuple[float, float]:
    """Seconds of ours and of Data-Juicer's split and motion filter over the files that it survives."""
    listed = [file.uri for file in list_footage(FootageSettings(path=folder))]
    files = [uri for uri in listed if uri.rsplit("/", 1)[-1] not in PEERS_HANG_ON]
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch, "in.jsonl").write_text("".join(json.dumps({"text": "", "videos": [uri]}) + "\n" for uri in files))
        ours = [sys.executable, "-m", "tests.bench.curation", "--work", f"{scratch}/in.jsonl"]
        ours_s, _ = timed(lambda: subprocess.run(ours, cwd=ROOT, check=True))
        peers_s = 0.0
        for name, process in (("split", JUICER_SPLIT), ("motion", JUICER_MOTION)):
            config = Path(scratch, f"{name}.yaml")
            config.write_text(JUICER.format(folder=scratch, name=name, process=process.format(folder=scratch)))
            command = [f"{peers_bin}/dj-process", "--config", str(config)]
            with Path(scratch, f"{name}.log").open("w") as log:
                environment = os.environ | {"PATH": f"{peers_bin}:{os.environ['PATH']}", "HF_HUB_OFFLINE": "1"}
                seconds, outcome = timed(
                    lambda command=command, log=log, environment=environment: subprocess.run(
                        command, stdout=log, stderr=log, check=False, env=environment, cwd=scratch
                    )
                )
            if outcome.returncode:
                raise UserError(f"data-juicer's {name} failed: {Path(scratch, f'{name}.log').read_text()[-1500:]}")
            print(f"data-juicer {name}: {seconds:.1f} s", flush=True)
            peers_s += seconds
    print(f"ours, split and {len(TECHNICAL)} scorers: {ours_s:.1f} s", flush=True)
    return ours_s, peers_s


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.curation", description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default=str(DEFAULT_FOLDER))
    parser.add_argument("--neural", action="store_true", help="also what OCR and TransNetV2 cost on top (slow)")
    parser.add_argument("--peers", metavar="BIN", help="bin folder of an environment with py-data-juicer 1.6.1")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.work:
        curate_all([json.loads(line)["videos"][0] for line in Path(args.work).read_text().splitlines()])
        return 0
    print(f"{'file':44} {'clips':>3} {'decode':>8} {'curate':>8}   seconds")
    try:
        rows = measure(args.folder, args.neural)
        ours_s, peers_s = against_peers(args.folder, args.peers) if args.peers else (None, None)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    decode_s, curate_s = sum(row.decode_s for row in rows), sum(row.curate_s for row in rows)
    print(f"{'all':44} {sum(row.num_clips for row in rows):3} {decode_s:8.2f} {curate_s:8.2f}")
    figures: dict[str, float | None] = {"ratio_to_decode": round(curate_s / decode_s, 3)}
    for name in rows[0].neural_s if rows else ():
        figures[f"{name}_to_decode"] = round(sum(row.neural_s[name] for row in rows) / decode_s, 3)
    figures["ratio_to_peers"] = round(peers_s / ours_s, 2) if peers_s and ours_s else None
    figures["media_bytes_before_verdict"] = media_bytes(args.folder)
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
