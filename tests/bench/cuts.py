"""How well does each shot detector find cuts, and what does it cost?

    python -m tests.bench.cuts [FOLDER] [--without transnetv2,combined] [--lines 144]      default: ../shared/videos
    python -m tests.bench.cuts [FOLDER] --cli [--cores 1]   our scan and `content` beside PySceneDetect's command line

FOLDER/cuts.json lists, for some files, the indices of the first frames of new shots ([] for one shot); only those files
are read. Each is decoded once and its frames are pushed to every detector, with default settings. A cut within 2 frames
of a listed one is right, each listed one at most once. "clips" are false cuts in files listed without cuts. Rendered
films come apart: hard cuts at +-2 frames, fades and dissolves anywhere inside the transition, flashes as false cuts.
Milliseconds are one thread's wall time per frame. "content@15 + stitching" cuts too often on purpose.
`--cli` starts a fresh process for every file and side, in turns, and compares wall and CPU seconds, imports and all.
The last line is JSON for programs.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from curation import detectors
from curation.detector import Detector, detector_settings, make_detector, missing_requirement
from curation.embedder import make_embedder
from curation.named_modules import names_in
from curation.split import SplitSettings
from curation.stitch import Stitcher
from curation.video import FrameSpec, StreamFacts, scan
from tests.bench.curation import decode
from tests.cut_footage import CutFilm, cut_film

DEFAULT_FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "videos"
TOLERANCE_FRAMES = 2
STITCHED = {  # threshold of `content`, similarity
    "content + stitching": ({}, 0.5),
    "content@15": ({"threshold": 15}, 0),
    "content@15 + stitch 0.4": ({"threshold": 15}, 0.4),
    "content@15 + stitch 0.5": ({"threshold": 15}, 0.5),
    "content@15 + stitch 0.6": ({"threshold": 15}, 0.6),
}
Interval = tuple[int, int]  # first and last frame that may be called the new shot's first


@dataclass
class Tally:
    """Cuts found right, found wrong and missed; `clips` counts the wrong ones in films without any cut."""

    right: int = 0
    wrong: int = 0
    missed: int = 0
    clips: int = 0
    seconds: float = 0.0

    @property
    def precision(self) -> float:
        return self.right / max(1, self.right + self.wrong)

    @property
    def recall(self) -> float:
        return self.right / max(1, self.right + self.missed)

    @property
    def f1(self) -> float:
        return 2 * self.right / max(1, 2 * self.right + self.wrong + self.missed)

    def add(self, found: Sequence[int], true: Sequence[Interval]) -> None:
        right = matched(found, true)
        self.right += right
        self.wrong += len(found) - right
        self.missed += len(true) - right
        self.clips += 0 if true else len(found)


def matched(found: Sequence[int], true: Sequence[Interval]) -> int:
    """How many found cuts fall on a transition of their own, both in rising order."""
    left = sorted(found)
    right = 0
    for first, last in sorted(true):
        hits = [cut for cut in left if first - TOLERANCE_FRAMES <= cut <= last + TOLERANCE_FRAMES]
        if hits:
            right += 1
            left = [cut for cut in left if cut > hits[0]]
    return right


def made_detector(name: str, facts: StreamFacts) -> Detector | Stitcher:
    """A detector of the folder with its default settings, or a line of STITCHED."""
    kind, given, similarity = ("content", *STITCHED[name]) if name in STITCHED else (name, {}, 0)
    detector = make_detector(kind, detector_settings(kind, given), facts.time_base, facts.frame_rate or 25)
    if not similarity:
        return detector
    return Stitcher(detector, similarity, make_embedder("perceptual_hash", {}), facts.time_base)


def cuts_found(
    path: Path, names: Sequence[str], tallies: dict[str, Tally], lines: int
) -> tuple[dict[str, list[int]], int]:
    """Frame indices of every detector's cuts, from one decode, and the number of frames; seconds go to `tallies`."""
    frames = scan(str(path), [FrameSpec(fps=None, short_side_px=lines, planes="bgr")])
    made: dict[str, Detector | Stitcher] = {}
    found: dict[str, list[int]] = {name: [] for name in names}
    index_of: dict[int, int] = {}
    for seen in frames:
        index_of[seen.frame.pts] = len(index_of)
        assert frames.facts is not None
        for name in names:
            if name not in made:
                made[name] = made_detector(name, frames.facts)
            started_s = time.perf_counter()
            found[name] += made[name].push(seen.frame)
            tallies[name].seconds += time.perf_counter() - started_s
    for name in names:
        started_s = time.perf_counter()
        found[name] += made[name].finish()
        tallies[name].seconds += time.perf_counter() - started_s
    return {name: [index_of[cut] for cut in cuts] for name, cuts in found.items()}, len(index_of)


def real(folder: Path, names: Sequence[str], lines: int) -> dict[str, Tally]:
    truth: dict[str, list[int]] = json.loads((folder / "cuts.json").read_text())
    tallies = {name: Tally() for name in names}
    num_frames, decode_s = 0, 0.0
    for file, cuts in sorted(truth.items()):
        started_s = time.perf_counter()
        decode(str(folder / file))
        decode_s += time.perf_counter() - started_s
        found, num_here = cuts_found(folder / file, names, tallies, lines)
        num_frames += num_here
        for name in names:
            tallies[name].add(found[name], [(cut, cut) for cut in cuts])
            if sorted(found[name]) != cuts and "@" not in name:
                print(f"{file}: {name} found {found[name]}, listed {cuts}", flush=True)
    print(
        f"\n{len(truth)} files, {num_frames} frames; a bare decode takes {1000 * decode_s / num_frames:.2f} ms a frame"
    )
    print(
        f"{'detector':23} {'TP':>4} {'FP':>4} {'FN':>4} {'prec.':>6} {'recall':>6} "
        f"{'F1':>6} {'clips':>6} {'ms':>7} x decode"
    )
    for name, tally in tallies.items():
        print(
            f"{name:23} {tally.right:4} {tally.wrong:4} {tally.missed:4} {tally.precision:6.3f} {tally.recall:6.3f} "
            f"{tally.f1:6.3f} {tally.clips:6} {1000 * tally.seconds / num_frames:7.3f} {tally.seconds / decode_s:6.2f}"
        )
    return tallies


def rendered_films(folder: Path) -> dict[str, list[CutFilm]]:
    """Films of each kind, 4 transitions each; names of kinds as printed."""
    seeds = (1, 2, 3)
    return {
        "hard": [cut_film(folder / f"hard{seed}.mp4", ["hard"] * 4, seed=seed) for seed in seeds],
        "fade 1 s": [cut_film(folder / f"fade{seed}.mp4", ["fade"] * 4, seed=seed) for seed in seeds],
        "dissolve 0.5 s": [
            cut_film(folder / f"short{seed}.mp4", ["dissolve"] * 4, transition_s=0.5, seed=seed) for seed in seeds
        ],
        "dissolve 2.5 s": [
            cut_film(folder / f"long{seed}.mp4", ["dissolve"] * 4, 3.0, transition_s=2.5, seed=seed) for seed in seeds
        ],
        "flash": [cut_film(folder / f"flash{seed}.mp4", [], seed=seed, flashes=True) for seed in seeds],
    }


def rendered(names: Sequence[str], lines: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        films = rendered_films(Path(folder))
        print(f"\nrendered, right / false of listed\n{'detector':23} " + " ".join(f"{kind:>16}" for kind in films))
        rows: dict[str, dict[str, Tally]] = {name: {kind: Tally() for kind in films} for name in names}
        for kind, several in films.items():
            for film in several:
                found, _ = cuts_found(film.path, names, {name: rows[name][kind] for name in names}, lines)
                for name in names:
                    rows[name][kind].add(found[name], [(each.first, each.last) for each in film.transitions])
        for name in names:
            cells = [f"{each.right} / {each.wrong} of {each.right + each.missed}" for each in rows[name].values()]
            print(f"{name:23} " + " ".join(f"{cell:>16}" for cell in cells))


@dataclass(frozen=True)
class Cost:
    """Seconds of one process, or of several one after the other."""

    wall_s: float = 0.0
    cpu_s: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s)


def spent(command: Sequence[str], folder: str) -> Cost:
    """What a process costs, run to its end in a folder.

    Raises:
        CalledProcessError: it failed.
    """
    before, started_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(time.perf_counter() - started_s, cpu_s)


def beside_the_cli(folder: Path, lines: int) -> int:
    """Print what either costs over all files; those that one of the two refuses are left out for both."""
    ours, theirs, num_files = Cost(), Cost(), 0
    with tempfile.TemporaryDirectory() as out:
        for path in sorted(each.resolve() for each in folder.iterdir() if each.suffix in (".mp4", ".mkv", ".webm")):
            cli = [
                sys.executable,
                "-m",
                "scenedetect",
                "-q",
                "-i",
                str(path),
                "-o",
                out,
                "detect-content",
                "list-scenes",
            ]
            own = [sys.executable, "-m", "tests.bench.cuts_of_file", str(path), str(lines)]
            try:
                their_cost = spent(cli, out)
                own_cost = spent(own, str(Path(__file__).resolve().parents[2]))
            except subprocess.CalledProcessError as error:
                print(f"{path.name}: left out, {error.stderr.decode().strip()[-200:]}")
                continue
            num_files += 1
            ours, theirs = ours + own_cost, theirs + their_cost
            print(
                f"{path.name:44} ours {own_cost.wall_s:6.2f} s wall {own_cost.cpu_s:6.2f} s CPU, "
                f"scenedetect {their_cost.wall_s:6.2f} {their_cost.cpu_s:6.2f}",
                flush=True,
            )
    print(
        f"{num_files} files: ours {ours.wall_s:.1f} s wall, {ours.cpu_s:.1f} s CPU; scenedetect {theirs.wall_s:.1f} s "
        f"wall, {theirs.cpu_s:.1f} s CPU; load {os.getloadavg()[0]:.1f}, {len(os.sched_getaffinity(0))} cores"
    )
    ratios = {"wall": theirs.wall_s / ours.wall_s, "cpu": theirs.cpu_s / ours.cpu_s}
    print(json.dumps({f"{kind}_ratio_to_scenedetect_cli": round(ratio, 2) for kind, ratio in ratios.items()}))
    return 0


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cuts")
    parser.add_argument("folder", nargs="?", type=Path, default=DEFAULT_FOLDER)
    parser.add_argument("--without", default="", help="detectors to leave out, with commas between them")
    parser.add_argument("--lines", type=int, default=SplitSettings().short_side_px, help="short side of the frames, px")
    parser.add_argument("--cli", action="store_true", help="compare with PySceneDetect's command line instead")
    parser.add_argument("--cores", type=int, default=os.cpu_count(), help="that either side of --cli may use")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    if options.cli:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])  # the children have it from us
        return beside_the_cli(options.folder, options.lines)
    if not (options.folder / "cuts.json").is_file():
        print(f"{options.folder} has no cuts.json; give a folder of footage with one", file=sys.stderr)
        return 2
    names = [name for name in names_in(detectors) if name not in options.without.split(",")]
    for name in names:
        if lacking := missing_requirement(name):
            print(f"{name} is left out: {lacking}")
    names = [*(name for name in names if not missing_requirement(name)), *STITCHED]
    tallies = real(options.folder, names, options.lines)
    rendered(names, options.lines)
    print(json.dumps({"f1": {name: round(tally.f1, 3) for name, tally in tallies.items()}}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
