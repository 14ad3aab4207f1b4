"""What does a catalogue cost to judge, to group and to route?

    python -m tests.bench.catalogue --clips 1000000 [--scorers 12] [--dimensions 256] [--folder DIR]

Writes a synthetic workspace as the jobs write theirs (500 clips a part, a row per clip and scorer, 1 % failed, 0.5 %
missing, hexadecimal ids, a crop and a vector per clip; not timed), then runs in a fresh process what the verbs `gates`,
`group` and `route` run between reading the tables and pushing tasks: catalogue, four stages of gates with percentiles,
verdicts written, the funnel, the groups (which read the catalogue again), the route plan; beside the sum, a second
judging that finds nothing new. Wall time; CPU time (imports and all) and peak memory are that process's own. The last
line is JSON for programs.

Vectors are clustered as those of footage are: all share a direction, then come 500 concepts, films and shots of three
clips, and what is a clip's own, so that cosines are about 0.3 between any two clips, 0.5 within a concept, 0.65 within
a film and 0.8 within a shot; the variance falls with the number of the dimension. One clip in twenty is a copy of a
clip of another film at the cosine 0.97. `recall` is the share of these copies of which the original or the copy is
dropped; the shot and film that a clip is near to must not hide them.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from annotation.routing import Pool, RoutingSettings, plan
from curation.catalogue import FACTS, read_catalogue
from curation.crop import crop_version
from curation.gates import GateRule, GateSettings, StageGates, resolve
from curation.records import Decision
from curation.score import ScoreSettings, scorer_versions, versions as score_versions
from curation.split import splitter_version
from curation.tables import Workspace
from jobs.config import Context, Recipe
from jobs.gates import judge_catalogue, write_verdicts
from jobs.group import group

CLIPS_PER_PART = 500  # 8 videos of about 60 clips: EngineSettings.items_per_part
CLIPS_PER_VIDEO = 62
RECIPE = Recipe(score=ScoreSettings(scorers=("bits_per_pixel",)))
SPLITTER = splitter_version(RECIPE.split)
EMBEDDER = RECIPE.group.embedder
EMBEDDER_VERSION = score_versions(RECIPE.score)[EMBEDDER]
CROP = crop_version(RECIPE.score.crop)
CONCEPTS, CLIPS_PER_SHOT, COPY_COSINE, COPY_EVERY = 500, 3, 0.97, 20
SHARES = {"all": 0.3, "concept": 0.2, "film": 0.15, "shot": 0.15, "clip": 0.2}  # of a vector's squared length
SPECTRUM = 0.35  # a dimension's deviation falls with its number to this power
PLANTED = "planted.npy"
FAILED, MISSING = 0.01, 0.005
MOVEMENTS = (
    "zoom in", "zoom out", "pan up", "pan down", "pan left", "pan right", "tilt up", "tilt down", "tilt left",
    "tilt right", "around left", "around right", "static shot", "handheld shot",
)  # fmt: skip
# Name -> (distribution, its two parameters), in the units of the scorers of that name, roughly as on real footage.
SCORERS = {
    "sharpness": ("lognormal", 4.0, 1.0),
    "exposure": ("beta", 5.0, 2.0),
    "motion": ("lognormal", -2.0, 1.2),
    "text_overlay": ("beta", 0.4, 40.0),
    "aesthetic": ("normal", 4.7, 0.7),
    "camera_movement": ("beta", 4.0, 2.0),
    "blur": ("beta", 1.0, 6.0),
    "saturation": ("beta", 2.0, 4.0),
    "bits_per_pixel": ("lognormal", -2.5, 0.7),
    "letterbox": ("beta", 0.3, 8.0),
    "jitter": ("lognormal", -4.0, 0.8),
    "quality": ("normal", 0.6, 0.15),
}
CLASSIFYING = "camera_movement"


def gates(names: Sequence[str]) -> GateSettings:
    """Four stages that tighten: fixed bounds, bands, percentiles of the pool, classes; on what is there."""
    image = (
        GateRule(scorer="sharpness", min=15, review_min=12),
        GateRule(scorer="exposure", min=0.4, review_min=0.35),
        GateRule(scorer="blur", max=0.5),
        GateRule(scorer="aesthetic", min_percentile=15, review_min_percentile=12),
        GateRule(scorer="short_side_px", min=480),
    )
    video = (
        *image,
        GateRule(scorer="motion", min=0.02, review_min=0.015, max_percentile=97),
        GateRule(scorer="text_overlay", max=0.05, review_max=0.06),
        GateRule(scorer="quality", min_percentile=15),
        GateRule(scorer="jitter", max_percentile=90, review_max_percentile=93),
        GateRule(scorer=CLASSIFYING, not_labels=("handheld shot",), min=0.7, review_min=0.5),
        GateRule(scorer="duration_s", min=1.5),
    )
    sft = (
        *video[1:],
        GateRule(scorer="sharpness", min_percentile=60, review_min_percentile=55),
        GateRule(scorer="bits_per_pixel", min_percentile=20),
    )
    stages = {"image": image, "image_large": video[:8], "video": video, "sft": sft}
    known = {*names, *FACTS}
    there = {stage: tuple(rule for rule in rules if rule.scorer in known) for stage, rules in stages.items()}
    return GateSettings(
        stages={stage: StageGates(rules=rules, people=stage == "sft") for stage, rules in there.items()}
    )


def write_workspace(workspace: Workspace, num_clips: int, num_scorers: int, dimensions: int) -> None:
    """Parts of 500 clips with their scores and vectors; the same arguments give the same rows."""
    names, planted = [*SCORERS][:num_scorers], []
    for start in range(0, num_clips, CLIPS_PER_PART):
        rng, count = np.random.default_rng(start), min(CLIPS_PER_PART, num_clips - start)
        text = rng.bytes(10 * (count + 1)).hex()
        clip_ids = np.array([text[20 * index : 20 * index + 20] for index in range(count)])
        stem = text[-20:]
        clips = _clips(rng, clip_ids, start)
        workspace.table("clips").append_rows(stem, clips)
        workspace.table("crops").append_rows(stem, _crops(rng, clips))
        workspace.table("scores").append_rows(stem, _scores(rng, clip_ids, names))
        if dimensions:
            vectors, copies, originals = _vectors(rng, start, count, dimensions)
            workspace.table("embeddings").append_rows(stem, _embeddings(clip_ids, vectors))
            planted.append(np.stack([clip_ids[copies], clip_ids[originals]], axis=1))
    if dimensions:
        np.save(workspace.local_path(PLANTED), np.concatenate(planted))


def versions_of(names: Sequence[str]) -> dict[str, str]:
    return {**dict.fromkeys(names, "1"), **scorer_versions(RECIPE.score)}


def _vectors(
    rng: np.random.Generator, start: int, count: int, dimensions: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors, and which of them are copies of which others."""
    film = (start + np.arange(count)) // CLIPS_PER_VIDEO
    films, of_film = np.unique(film, return_inverse=True)
    concepts = _directions(np.random.default_rng(0), CONCEPTS + 1, dimensions)
    of_concept = np.array([np.random.default_rng([1, each]).integers(CONCEPTS) for each in films])
    own = np.concatenate([_directions(np.random.default_rng([2, each]), 1, dimensions) for each in films])
    shots = _directions(rng, count // CLIPS_PER_SHOT + 1, dimensions)[np.arange(count) // CLIPS_PER_SHOT]
    rows = {
        "all": concepts[CONCEPTS:],
        "concept": concepts[of_concept[of_film]],
        "film": own[of_film],
        "shot": shots,
        "clip": _directions(rng, count, dimensions),
    }
    parts = [np.float32(SHARES[name] ** 0.5) * np.broadcast_to(row, shots.shape) for name, row in rows.items()]
    vectors = _unit(np.stack(parts).sum(axis=0))
    copies = np.arange(COPY_EVERY - 1, count, COPY_EVERY)
    originals = (copies + count // 2) % count // COPY_EVERY * COPY_EVERY
    aside = _directions(rng, len(copies), dimensions)
    aside = _unit(aside - np.einsum("nd,nd->n", aside, vectors[originals])[:, None] * vectors[originals])
    vectors[copies] = COPY_COSINE * vectors[originals] + np.sqrt(1 - COPY_COSINE**2) * aside
    return vectors.astype(np.float32), copies, originals


def _directions(rng: np.random.Generator, count: int, dimensions: int) -> np.ndarray:
    """Random unit vectors whose variance falls from dimension to dimension, float32 [count, D]."""
    spectrum = np.arange(1, dimensions + 1, dtype=np.float32) ** -SPECTRUM
    return _unit(rng.standard_normal((count, dimensions), np.float32) * spectrum)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _clips(rng: np.random.Generator, clip_ids: np.ndarray, start: int) -> pa.Table:
    count = len(clip_ids)
    videos = [f"{(start + index) // CLIPS_PER_VIDEO:020x}" for index in range(count)]
    begin = rng.integers(0, 100_000, count) * 512
    ticks = rng.integers(15, 150, count) * 512
    height = rng.choice([360, 480, 720, 1080], count, p=[0.1, 0.2, 0.5, 0.2])
    columns = {
        "clip_id": clip_ids,
        "video_id": videos,
        "uri": [f"/footage/{video}.mp4" for video in videos],
        "start_pts": begin,
        "end_pts": begin + ticks,
        "time_base_num": np.ones(count, int),
        "time_base_den": np.full(count, 15360),
        "start_s": begin / 15360,
        "end_s": (begin + ticks) / 15360,
        "num_frames": ticks // 512,
        "width": height * 16 // 9,
        "height": height,
        "frame_rate": np.full(count, 30.0),
        "splitter": [SPLITTER] * count,
    }
    return pa.table(columns)


def _crops(rng: np.random.Generator, clips: pa.Table) -> pa.Table:
    """One clip in ten has bars above and below."""
    height, count = clips.column("height").to_numpy(), clips.num_rows
    bars = np.where(rng.random(count) < 0.1, height // 8, 0)
    columns = {
        "clip_id": clips.column("clip_id"),
        "version": [CROP] * count,
        "left": np.zeros(count, int),
        "top": bars,
        "width": clips.column("width"),
        "height": height - 2 * bars,
        "reason": np.where(bars > 0, "letterbox", ""),
    }
    return pa.table(columns)


def _scores(rng: np.random.Generator, clip_ids: np.ndarray, names: list[str]) -> pa.Table:
    """As `score` writes them: clip after clip, its scorers in their order."""
    count, num_names, versions = len(clip_ids), len(names), versions_of(names)
    values, labels = np.empty((count, num_names)), np.full((count, num_names), "", object)
    for index, name in enumerate(names):
        kind, *parameters = SCORERS.get(name, ("normal", 0.0, 1.0))
        values[:, index] = getattr(rng, kind)(*parameters, count)
        if name == CLASSIFYING:
            labels[:, index] = rng.choice(MOVEMENTS, count)
    failed, there = rng.random(values.shape) < FAILED, (rng.random(values.shape) >= MISSING).ravel()
    rows = pa.table(
        {
            "clip_id": np.repeat(clip_ids, num_names),
            "scorer": np.tile(names, count),
            "version": np.tile([versions[name] for name in names], count),
            "value": pa.array(values.ravel(), mask=failed.ravel()),
            "error": pa.array(np.full(values.size, "ValueError: too few frames"), mask=~failed.ravel()),
            "label": np.where(failed, "", labels).ravel().astype(str),
        }
    )
    return rows.filter(pa.array(there))


def _embeddings(clip_ids: np.ndarray, vectors: np.ndarray) -> pa.Table:
    count, dimensions = vectors.shape
    offsets = pa.array(np.arange(count + 1) * dimensions, pa.int32())
    return pa.table(
        {
            "clip_id": clip_ids,
            "embedder": [EMBEDDER] * count,
            "version": [EMBEDDER_VERSION] * count,
            "vector": pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel())),
        }
    )


def measure(folder: str, num_scorers: int) -> dict[str, float]:
    """Seconds of each step, and the peak memory of this process, GiB."""
    workspace, names, seconds = Workspace(folder), [*SCORERS][:num_scorers], {}
    settings, versions = gates(names), versions_of(names)

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        started_s, started_cpu_s = time.perf_counter(), time.process_time()
        yield
        seconds[name] = time.perf_counter() - started_s
        cpu_s = time.process_time() - started_cpu_s
        print(f"{name:16} {seconds[name]:9.2f} s {cpu_s:9.2f} s of CPU", file=sys.stderr, flush=True)

    with timed("start"):  # pyarrow imports pandas with its first array
        pa.array(["a"])
    with timed("catalogue"):
        catalogue = read_catalogue(workspace, SPLITTER, versions, CROP)
    with timed("judge"):
        judged = judge_catalogue(catalogue, resolve(settings, versions, catalogue))
    with timed("write verdicts"):
        write_verdicts(workspace, judged)
    with timed("funnel"):
        judged.losses()
    with timed("nothing new"):
        write_verdicts(workspace, judged)
    if workspace.table("embeddings").stems():
        with timed("groups"), redirect_stdout(sys.stderr):
            group(Context(RECIPE, workspace, argparse.Namespace()))
    with timed("route plan"):
        routed = plan(Pool(catalogue.clip_ids, judged.verdicts()), RoutingSettings(), 0).rows
    for stage in judged.stages:
        counts = stage.counts()
        assert sum(counts.values()) == len(catalogue)
        print(f"{stage.stage:12}" + "".join(f" {counts[each]:>9} {each.value}" for each in Decision), file=sys.stderr)
    print(f"{routed.num_rows} clips go to people", file=sys.stderr, flush=True)
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = used.ru_utime + used.ru_stime
    found = {
        "seconds": sum(seconds.values()) - seconds["nothing new"],
        "cpu_s": cpu_s,
        "peak_gib": used.ru_maxrss / 2**20,
    }
    return {**seconds, **found, **_recall(workspace)}


def _recall(workspace: Workspace) -> dict[str, float]:
    """Share of the planted copies of which one of the two is dropped; nothing without vectors."""
    if not workspace.table("groups").stems():
        return {}
    rows = workspace.table("groups").read(["clip_id", "duplicate_of"])
    dropped = rows.filter(pc.field("duplicate_of") != "").column("clip_id")
    planted = np.load(workspace.local_path(PLANTED))
    is_dropped = pc.call_function("is_in", [pa.array(planted.ravel())], pc.SetLookupOptions(dropped))
    return {"recall": float(is_dropped.to_numpy(zero_copy_only=False).reshape(planted.shape).any(axis=1).mean())}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.catalogue", description=__doc__)
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--scorers", type=int, default=len(SCORERS), choices=range(1, len(SCORERS) + 1))
    parser.add_argument("--dimensions", type=int, default=256, help="of the vectors; 0: no vectors, no groups")
    parser.add_argument("--folder", help="where to make the workspace; default: a temporary folder")
    parser.add_argument("--measure", metavar="DIR", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.measure:
        print(json.dumps(measure(args.measure, args.scorers)))
        return 0
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        started_s = time.perf_counter()
        write_workspace(Workspace(folder), args.clips, args.scorers, args.dimensions)
        size_gib = sum(file.stat().st_size for file in Path(folder).rglob("*.parquet")) / 2**30
        print(f"{args.clips} clips written in {time.perf_counter() - started_s:.0f} s, {size_gib:.2f} GiB", flush=True)
        command = [sys.executable, "-m", "tests.bench.catalogue", "--measure", folder, "--scorers", str(args.scorers)]
        child = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(child.stdout.splitlines()[-1])
    kept = ("seconds", "cpu_s", "peak_gib", "recall")
    print(json.dumps({name: round(found[name], 4) for name in kept if name in found}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
