"""How long do ranks wait for each other on real footage, planned by compute and by its rivals?

    python -m tests.bench.planner [FOLDER]        default: ../shared/videos beside the project

The clips are those of FOLDER: every 5 s of every file, in the largest bucket of 256 to 480 px (five aspects) and of 17
to 129 frames that the file's size and length allow, and one image of each; images are a share of 20 % of the samples.
Rivals take the same samples in the same run, under the same limit of tokens in a micro-batch:

    random bucket   every rank fills each micro-batch from one bucket that it draws (HunyuanVideo, section 4.5)
    equal counts    as many clips for every rank, in the order of the stream

Cost is operations of the full transformer; the waste is the share of all ranks' time that goes into waiting for the
slowest rank of each micro-batch. Last line: JSON, the waste of ours and of each rival, and the ratios.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import av

from model.presets import DIT_PRESETS
from training.balance import Groups
from training.data import PackedClip, Sample, SampleStream
from training.planner import StepPlanner, transformer_cost, video_tokens
from training.stages import StageSettings

DEFAULT_FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "videos"
SIDES = [(256, 256), (320, 192), (192, 320), (480, 480), (640, 368), (368, 640), (848, 480), (480, 848)]
FRAMES = (129, 65, 33, 17)
CLIP_S = 5.0
LIMIT_TOKENS = 56_000
COST = transformer_cost(DIT_PRESETS["full"], text_tokens=128)


def footage(folder: Path) -> dict[str, list[PackedClip]]:
    """Clips and images of every readable file, by the sizes that its header states."""
    found: dict[str, list[PackedClip]] = {"video": [], "image": []}
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".mp4", ".mkv", ".webm"):
            continue
        try:
            with av.open(str(path)) as file:
                stream = file.streams.video[0]
                width, height, rate = stream.width, stream.height, float(stream.average_rate or 24)
                seconds = (file.duration or 0) / 1e6
        except (OSError, ValueError, IndexError) as error:
            print(f"left out {path.name}: {error}")
            continue
        side = _bucket(width, height)
        starts = range(max(1, int(seconds // CLIP_S)))
        for start in starts:
            frames = min(seconds - start * CLIP_S, CLIP_S) * rate
            length = next((each for each in FRAMES if each <= frames), None)
            name = f"{path.stem}-{start}"
            if length:
                found["video"].append(PackedClip(name, "video", "v", *side, length, {}, rate, {}))
            found["image"].append(PackedClip(name, "image", "i", *side, 1, {}, rate, {}))
    return found


def _bucket(width: int, height: int) -> tuple[int, int]:
    """The largest size that the picture fills, of the nearest aspect."""
    fitting = [side for side in SIDES if side[0] <= width and side[1] <= height] or [SIDES[0]]
    return min(fitting, key=lambda side: (round(abs(side[0] / side[1] - width / height), 1), -side[0] * side[1]))


def waste(groups: Groups, costs: Sequence[float], num_ranks: int) -> float:
    """Share of time waited: 1 - all costs / (ranks x sum over micro-batches of the costliest rank)."""
    duration = sum(max(sum(costs[index] for index in part) for part in group) for group in groups)
    return 1 - sum(costs) / (num_ranks * duration)


def _chunks(indices: Sequence[int], tokens: Sequence[int]) -> list[list[int]]:
    """Micro-batches in order, none above the limit unless it is one clip."""
    parts: list[list[int]] = []
    room = 0
    for index in indices:
        if not parts or tokens[index] > room:
            parts.append([])
            room = LIMIT_TOKENS
        parts[-1].append(index)
        room -= tokens[index]
    return parts


def _side_by_side(ranks: Sequence[list[list[int]]]) -> Groups:
    most = max(map(len, ranks))
    return [[rank[number] if number < len(rank) else [] for rank in ranks] for number in range(most)]


def equal_counts(samples: Sequence[Sample], num_ranks: int) -> Groups:
    tokens = [video_tokens(sample.clip) for sample in samples]
    return _side_by_side([_chunks(range(rank, len(samples), num_ranks), tokens) for rank in range(num_ranks)])


def random_buckets(samples: Sequence[Sample], num_ranks: int, seed: int) -> Groups:
    """Full micro-batches of one bucket each, dealt to the ranks at random."""
    tokens = [video_tokens(sample.clip) for sample in samples]
    buckets: dict[tuple[int, int, int], list[int]] = {}
    for index, sample in enumerate(samples):
        buckets.setdefault((sample.clip.width, sample.clip.height, sample.clip.num_frames), []).append(index)
    parts = [part for indices in buckets.values() for part in _chunks(indices, tokens)]
    random.Random(seed).shuffle(parts)
    return _side_by_side([parts[rank::num_ranks] for rank in range(num_ranks)])


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.planner", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=DEFAULT_FOLDER)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--clips-per-rank", type=int, default=32)
    options = parser.parse_args(arguments)
    if not options.folder.is_dir():
        print(json.dumps({"left_out": f"there is no folder {options.folder}; give one with videos"}))
        return 0
    clips = footage(options.folder)
    sizes = sorted({(clip.width, clip.height, clip.num_frames) for clip in clips["video"]})
    print(f"{len(clips['video'])} clips, {len(clips['image'])} images, {len(sizes)} buckets of video: {sizes}")
    result: dict[str, float] = {}
    for num_ranks in (8, 16, 64):
        batch = num_ranks * options.clips_per_rank
        stage = StageSettings(name="mix", shards={"video": 4, "image": 1}, batch=batch, micro_batch_tokens=LIMIT_TOKENS)
        planner = StepPlanner(SampleStream(clips, stage, seed=0), stage, COST, num_ranks)
        sums = {"ours": 0.0, "random_bucket": 0.0, "equal_counts": 0.0}
        started_s = time.process_time()
        plans = [planner.next_step() for _ in range(options.steps)]
        plan_s = (time.process_time() - started_s) / options.steps
        for plan in plans:
            costs = [COST(sample.clip) for sample in plan.samples]
            sums["ours"] += plan.imbalance
            sums["random_bucket"] += waste(random_buckets(plan.samples, num_ranks, plan.step), costs, num_ranks)
            sums["equal_counts"] += waste(equal_counts(plan.samples, num_ranks), costs, num_ranks)
        means = {name: round(total / options.steps, 4) for name, total in sums.items()}
        print(
            f"{num_ranks:3} ranks, {batch} clips: {means}, worst {max(p.imbalance for p in plans):.4f}, {plan_s:.2f} s"
        )
        result |= {f"{name}_{num_ranks}": value for name, value in means.items()}
        result[f"ratio_to_random_bucket_{num_ranks}"] = round(means["ours"] / means["random_bucket"], 3)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
