"""A workspace in which everything has happened once: two films, failures, verdicts, answers, shards, training, samples.

The clips are real and rendered on the spot; verdicts, resolved answers and shards are made by the functions that make
them in earnest. One file name and one title try to be HTML. About 3 s.
"""

import argparse
import json
import math
from pathlib import Path

from annotation.project import CAMERA_MOVEMENTS, SCREEN
from annotation.resolve import resolve
from annotation.screen import RatingQuestion
from curation.gates import GateRule, GateSettings, StageGates
from curation.records import Annotation, Caption, Clip, Decision, Failure, Score, Source, content_id
from curation.score import ScoreSettings, scorer_versions
from curation.shards import ShardItem, point_to, write_shard
from curation.split import SplitSettings, split_video, splitter_version
from curation.tables import PushedTask, Sample, TrainRead, Workspace
from curation.transcode import write_member
from jobs.config import Context, Recipe, save_recipe
from jobs.gates import judge
from jobs.pack import PackSettings, StageBuckets
from jobs.split import split_job
from tests.footage import Encoding, shots
from training.stages import StageSettings, TrainSettings

NASTY_NAME = "<script>alert('x')<!-- & \"quoted\".mp4"
NASTY_TITLE = "</script><script>alert('title')</script>"
BROKEN_NAME = "<img src=x onerror=alert(1)>.mp4"
RUN = content_id("run")
SCORERS = ScoreSettings(scorers=("sharpness", "motion"))
SHARPNESS = (120.0, 60.0, 24.0, 17.0, 12.0, 4.0, None, 300.0)  # of the eight clips, in order
MOTION = (0.2, 0.3, 0.01, 0.15, 0.08, 0.004, 0.11, 0.02)
ANNOTATORS = ("simulated-clarity@localhost", "simulated-motion@localhost")

GATES = GateSettings(
    stages={
        "image": StageGates(rules=(GateRule(scorer="sharpness", min=10),)),
        "video": StageGates(
            rules=(GateRule(scorer="sharpness", min=20, review_min=15), GateRule(scorer="motion", min=0.05, max=0.6))
        ),
        "sft": StageGates(
            people=True, rules=(GateRule(scorer="sharpness", min=20), GateRule(scorer="motion", min=0.1))
        ),
    }
)
BUCKETS = {
    "image": StageBuckets(num_frames=1),
    "video": StageBuckets(num_frames=9),
    "sft": StageBuckets(num_frames=9),
}


def empty_context(folder: Path) -> Context:
    """The same recipe with nothing done."""
    stages = (
        StageSettings(name="vae", objective="vae", shards={"image": 1, "video": 1}, steps=40),
        StageSettings(name="sft", shards={"sft": 1}, steps=50),
    )
    train = TrainSettings(stages=stages)
    recipe = Recipe(score=SCORERS, gates=GATES, pack=PackSettings(stages=BUCKETS), train=train)
    return Context(recipe, Workspace(str(folder / "workspace")), argparse.Namespace())


def finished_context(folder: Path) -> Context:
    """Everything has happened; `clips_in` of `catalogue` gives the clips."""
    context = empty_context(folder)
    save_recipe(context.recipe, context.workspace)
    clips = _split(context, folder)
    _score(context.workspace, clips)
    judge(context)
    _answer(context.workspace, clips)
    _pack(context.workspace, clips)
    _train(context.workspace, clips)
    video = write_member(clips[0], 64, 64, 9, 8.0)
    context.workspace.write_bytes(video, "samples", "first.mp4")
    sample = Sample("first", "samples/first.mp4", "a <b>bold</b> ball rolls", 7, '{"steps": 30}', f"{RUN}/sft/step-40")
    context.workspace.table("samples").append("first", [sample])
    return context


def ordered_clips(workspace: Workspace) -> list[Clip]:
    """The clips in the order of SHARPNESS and MOTION."""
    return sorted(workspace.table("clips").records(), key=lambda clip: (clip.uri.endswith(NASTY_NAME), clip.start_pts))


def _split(context: Context, folder: Path) -> list[Clip]:
    workspace, settings = context.workspace, SplitSettings()
    films = [
        shots(folder / "film.mp4", num_shots=5, seed=1).path,
        shots(folder / NASTY_NAME, num_shots=3, seed=9, encoding=Encoding(title=NASTY_TITLE)).path,
    ]
    for film in films:
        video, clips = split_video(str(film), settings)
        workspace.table("clips").append(video.video_id, clips)
        workspace.table("videos").append(video.video_id, [video])
        source = Source(
            content_id(film.name),
            str(film),
            video.size_bytes,
            1,
            video.video_id,
            splitter_version(settings),
            len(clips),
        )
        workspace.table("sources").append(video.video_id, [source])
    digest = split_job([], workspace, settings).digest
    failure = Failure("split", digest, "input", BROKEN_NAME, "not a video", "no <stream> in it", "2026-01-01T00:00:00")
    workspace.table("failures").append("split", [failure])
    return ordered_clips(workspace)


def _score(workspace: Workspace, clips: list[Clip]) -> None:
    rows = []
    for name, values in (("sharpness", SHARPNESS), ("motion", MOTION)):
        version = scorer_versions(SCORERS)[name]
        rows += [
            Score(clip.clip_id, name, version, value, None if value is not None else "nothing <to> see")
            for clip, value in zip(clips, values, strict=True)
        ]
    workspace.table("scores").append("all", rows)


def _answer(workspace: Workspace, clips: list[Clip]) -> None:
    """Everything with a `review` verdict goes out; the annotators disagree about the second clip sent."""
    reviewed = {v.clip_id for v in workspace.table("gate_verdicts").records() if v.decision == Decision.REVIEW}
    sent = [clip for clip in clips if clip.clip_id in reviewed]
    tasks = [PushedTask(clip.clip_id, "Dailies", "1", "sft: passed every gate, people choose") for clip in sent]
    workspace.table("tasks").append("tasks", tasks)
    workspace.table("captions").append(
        "drafts", [Caption(clip.clip_id, "draft:facts", "1", f"Shot {index}.") for index, clip in enumerate(clips)]
    )
    rows = []
    for index, clip in enumerate(sent[:-1]):
        for who, annotator in enumerate(ANNOTATORS):
            rows.append(_annotation(clip, annotator, keep=index != 1 or who == 0, number=len(rows)))
    workspace.table("annotations").append("answers", rows)
    verdicts, captions = resolve(rows, 2)
    workspace.table("human_verdicts").append("resolved", verdicts)
    workspace.table("captions").append("resolved", captions)


def _annotation(clip: Clip, annotator: str, keep: bool, number: int) -> Annotation:
    answers: dict[str, object] = {"verdict": "keep" if keep else "reject"}
    if keep:
        ratings = [name for name, question in SCREEN.questions.items() if isinstance(question, RatingQuestion)]
        answers |= {name: 1 + (number + index) % 5 for index, name in enumerate(ratings)}
        answers |= {"short": f"A textured pattern drifts, answer {number}.", "camera_movement": CAMERA_MOVEMENTS[2]}
    else:
        answers["reject_reasons"] = ["hardly moves"]
    origins = dict.fromkeys(answers, "manual")
    return Annotation(
        content_id("answer", number), clip.clip_id, annotator, True, False, json.dumps(answers), json.dumps(origins),
        4.0 + number, f"2026-01-01T00:00:{number:02d}+00:00", "Dailies", number,
    )  # fmt: skip


def _pack(workspace: Workspace, clips: list[Clip]) -> None:
    people = {row.clip_id: row for row in workspace.table("human_verdicts").records()}
    kept: dict[str, list[tuple[Clip, str]]] = {stage: [] for stage in BUCKETS}
    by_id = {clip.clip_id: clip for clip in clips}
    for verdict in workspace.table("gate_verdicts").records():
        person = people.get(verdict.clip_id)
        if verdict.decision == Decision.KEEP:
            kept[verdict.stage].append((by_id[verdict.clip_id], "gates"))
        elif verdict.decision == Decision.REVIEW and person is not None and person.decision == "keep":
            kept[verdict.stage].append((by_id[verdict.clip_id], person.by))
    for stage, bucket in BUCKETS.items():
        items = [
            ShardItem(
                clip.clip_id,
                write_member(
                    clip, bucket.width, bucket.height, bucket.num_frames, bucket.frame_rate, preset="ultrafast"
                ),
                {"caption_by": "draft:facts", "kept_by": by},
            )
            for clip, by in kept[stage]
        ]
        shard, members = write_shard(workspace, stage, f"{stage}-1", bucket.name, items)
        workspace.table("shards").append(shard.shard_id, [shard])
        workspace.table("shard_members").append(shard.shard_id, members)
        point_to(workspace, stage, [shard.shard_id])


def _train(workspace: Workspace, clips: list[Clip]) -> None:
    """Two stages of 40 steps; the last packed clip is held out."""
    members = {row.clip_id for row in workspace.table("shard_members").records()}
    packed = [clip.clip_id for clip in clips if clip.clip_id in members]
    rows = []
    for stage, level in (("vae", 0.6), ("sft", 1.1)):
        reads = [TrainRead(RUN, stage, clip_id, 3, 1 + index, 40) for index, clip_id in enumerate(packed[:-1])]
        workspace.table("train_reads").append(f"{RUN}-{stage}", reads)
        for step in range(41):
            loss = level * (0.4 + 0.6 * math.exp(-step / 12))
            if step:
                rows.append({"kind": "step", "stage": stage, "step": step, "loss": loss, "learning_rate": 1e-3,
                             "gradient_norm": 0.5,
                             "speed": {"tokens_per_s": 1200.0, "stall": 0.004, "mfu": 0.31}})  # fmt: skip
            if step % 20 == 0:
                rows.append({"kind": "held_out", "stage": stage, "step": step, "loss": loss * 1.1,
                             "parts": {"psnr_db": 10 + step / 10}})  # fmt: skip
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    workspace.write_bytes(lines.encode(), "checkpoints", RUN, "metrics.jsonl")
    facts = {"run_id": RUN, "settings": {}, "shards": [], "held_out": packed[-1:], "text_encoder": "tiny"}
    workspace.write_bytes(json.dumps(facts).encode(), "checkpoints", RUN, "run.json")
