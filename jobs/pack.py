"""`dailies pack`: clips + verdicts + captions -> WebDataset shards per training stage. The one join of the project.

    gates keep, or (gates review and people keep) --> has a caption? --> plan of shards --> one engine item per shard

The plan is made from the catalogue before anything is written: members sorted by id, cut into shards of equal count,
so the same choices give the same bytes on any number of workers. An input is (stage, clip); a clip that is too short
for the stage's bucket or does not decode is a failure of that stage, with the reason; its neighbours are packed.
"""

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from annotation.captions import BY_FACTS
from curation.records import Caption, Clip, Crop, Decision, UserError, content_id, to_row
from curation.shards import ShardItem, point_to, write_shard
from curation.tables import HumanVerdict, Workspace
from curation.transcode import write_member
from jobs.cluster import joined
from jobs.engine import Item, Job, Outcome, Tally, report, run as run_job

if TYPE_CHECKING:
    from jobs.config import Context

PACKER = "2"  # part of every shard id: raise it when the bytes of a member change


class StageBucket(BaseModel, frozen=True, extra="forbid"):
    """The shape that every member of a stage gets: centre-cropped, resized, re-timed from its first frame."""

    width: int = Field(default=64, ge=64, multiple_of=16, description="px")
    height: int = Field(default=64, ge=64, multiple_of=16, description="px")
    num_frames: int = Field(default=1, ge=1, description="1 is an image, otherwise 4n+1 as the VAE wants")
    frame_rate: float = Field(default=8.0, gt=0, description="frames per second after re-timing")

    @property
    def name(self) -> str:
        return f"{self.width}x{self.height}x{self.num_frames}@{self.frame_rate:g}"


class PackSettings(BaseModel, frozen=True, extra="forbid"):
    """Which stages are packed and how."""

    stages: dict[str, StageBucket] = Field(default_factory=dict, description="stage name -> its bucket")
    clips_per_shard: int = Field(
        default=64, ge=1, description="members of a shard; at least ranks x workers shards is best"
    )


@dataclass(frozen=True)
class Member:
    """One clip of one stage, with everything its facts file will say."""

    clip: Clip
    crop: Crop | None
    stage: str
    caption: Caption
    kept_by: str
    scores: Mapping[str, float]

    def facts(self, bucket: StageBucket) -> dict[str, Any]:
        caption = to_row(self.caption)
        by = caption.pop("by")
        caption = {name: text for name, text in caption.items() if name not in ("clip_id", "version")}
        clip = self.clip
        return {
            "clip_id": clip.clip_id,
            "stage": self.stage,
            "video_id": clip.video_id,
            "uri": clip.uri,
            "start_s": clip.start_s,
            "end_s": clip.end_s,
            "crop": [crop.left, crop.top, crop.width, crop.height] if (crop := self.crop) else None,
            "width": bucket.width,
            "height": bucket.height,
            "num_frames": bucket.num_frames,
            "frame_rate": bucket.frame_rate,
            "caption": caption,
            "caption_by": by,
            "kept_by": self.kept_by,
            "scores": dict(self.scores),
        }


@dataclass(frozen=True)
class PackWorker:
    """Encodes the members of one planned shard and writes its tar."""

    workspace_uri: str
    settings: PackSettings

    def __call__(self, item: Item) -> Outcome:
        stage, shard_id = item.shared
        bucket = self.settings.stages[stage]
        members: list[ShardItem] = []
        failures = []
        for key, member in sorted(item.inputs.items()):
            try:
                shape = (bucket.width, bucket.height, bucket.num_frames, bucket.frame_rate)
                video = write_member(member.clip, *shape, crop=member.crop)
            except Exception as error:  # the member's own failure row; its neighbours are packed
                failures.append((key, getattr(error, "reason", "cannot be packed"), str(error)))
                continue
            members.append(ShardItem(member.clip.clip_id, video, member.facts(bucket)))
        if not members:
            return Outcome(failures=failures)
        shard, rows = write_shard(Workspace(self.workspace_uri), stage, shard_id, bucket.name, members)
        return Outcome({"shard_members": rows, "shards": [shard]}, failures)


@dataclass(frozen=True)
class _Packed:
    workspace: Workspace
    shard_ids: frozenset[str]

    def __call__(self) -> set[str]:
        rows = self.workspace.table("shard_members").distinct("stage", "clip_id", "shard_id")
        return {f"{stage}/{clip_id}@{shard_id}" for stage, clip_id, shard_id in rows if shard_id in self.shard_ids}


def choose(context: "Context") -> tuple[list[Member], Counter[tuple[str, str]]]:
    """The members of every packed stage, and why the others are not (stage, reason) -> count."""
    from jobs.gates import current_values, judge
    from jobs.score import current_clips, current_crops

    crops = current_crops(context)
    clips = {clip.clip_id: clip for clip in current_clips(context)}
    people = {verdict.clip_id: verdict for verdict in context.workspace.table("human_verdicts").records()}
    captions = best_captions(context.workspace)
    values = current_values(context)
    members, left_out = [], Counter[tuple[str, str]]()
    for verdict in judge(context).records():
        if verdict.stage not in context.recipe.pack.stages:
            continue
        kept_by, why_not = _kept_by(verdict.decision, people.get(verdict.clip_id))
        caption = captions.get(verdict.clip_id)
        if kept_by and caption is None:
            kept_by, why_not = None, "no caption"
        if kept_by is None or caption is None:
            left_out[verdict.stage, why_not] += 1
            continue
        clip_values = values.get(verdict.clip_id, {})
        clip, crop = best_part(clips[verdict.clip_id], people.get(verdict.clip_id)), crops.get(verdict.clip_id)
        members.append(Member(clip, crop, verdict.stage, caption, kept_by, clip_values))
    return members, left_out


def _kept_by(decision: Decision, person: HumanVerdict | None) -> tuple[str | None, str]:
    if decision is Decision.KEEP:
        return "gates", ""
    if decision is Decision.REJECT:
        return None, "rejected by gates"
    if person is None:
        return None, "waiting for people"
    return (person.by, "") if person.decision == Decision.KEEP else (None, "rejected by people")


def best_captions(workspace: Workspace) -> dict[str, Caption]:
    """One caption per clip: a person's before a model's draft before one of bare facts; of equals the last by key."""

    def rank(caption: Caption) -> int:
        return 2 if caption.by.startswith("people") else int(caption.by != BY_FACTS)

    best: dict[str, Caption] = {}
    for caption in workspace.table("captions").records():
        if caption.clip_id not in best or rank(caption) >= rank(best[caption.clip_id]):
            best[caption.clip_id] = caption
    return best


def best_part(clip: Clip, person: HumanVerdict | None) -> Clip:
    """The clip, trimmed to what people marked as its best part; whole where they marked none, or nothing of it."""
    if person is None or person.best_start_s is None or person.best_start_s >= clip.duration_s:
        return clip
    return clip.part(person.best_start_s, person.best_end_s)


def plan(members: Sequence[Member], settings: PackSettings) -> list[Item]:
    """Cut the members of each stage into shards; a shard's id is the content id of all that goes into it."""
    items = []
    for stage, bucket in settings.stages.items():
        chosen = sorted((member for member in members if member.stage == stage), key=lambda each: each.clip.clip_id)
        for start in range(0, len(chosen), settings.clips_per_shard):
            group = chosen[start : start + settings.clips_per_shard]
            facts = [str(sorted(member.facts(bucket).items(), key=lambda pair: pair[0])) for member in group]
            shard_id = f"{stage}-{content_id(PACKER, bucket.name, *facts)}"
            inputs = {f"{stage}/{member.clip.clip_id}@{shard_id}": member for member in group}
            items.append(Item(f"{stage} shard {start // settings.clips_per_shard}", inputs, (stage, shard_id)))
    return items


def pack(context: "Context") -> Tally:
    """Plan, write and point; see `run`."""
    settings, workspace = context.recipe.pack, context.workspace
    unknown = sorted(settings.stages.keys() - context.recipe.gates.stages.keys())
    if unknown:
        raise UserError(
            f"pack.stages names {', '.join(unknown)}, which have no gates; stages with gates: "
            f"{', '.join(context.recipe.gates.stages) or 'none'}"
        )
    members, left_out = choose(context)
    items = plan(members, settings)
    shard_ids = frozenset(item.shared[1] for item in items)
    job = Job(
        name="pack",
        unit="stage clips",
        digest=content_id(PACKER, *sorted(shard_ids)),
        tables=("shard_members", "shards"),
        items=items,
        make_worker=partial(PackWorker, workspace.uri, settings),
        finished=_Packed(workspace, shard_ids),
    )
    with joined():
        tally = run_job(job, workspace, context.recipe.engine)
    written = workspace.table("shards").distinct("shard_id")
    for stage in settings.stages:
        ids = [item.shared[1] for item in items if item.shared[0] == stage]
        point_to(workspace, stage, [shard_id for shard_id in ids if (shard_id,) in written])
        out = ", ".join(f"{count} {why}" for (of, why), count in sorted(left_out.items()) if of == stage)
        packed = sum(1 for member in members if member.stage == stage)
        print(f"pack {stage}: {packed} clips chosen{f', left out: {out}' if out else ''}", flush=True)
    return tally


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # pack has no flags of its own


def run(context: "Context") -> int:
    return report(pack(context))
