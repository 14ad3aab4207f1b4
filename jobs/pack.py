"""`dailies pack`: clips + verdicts + captions -> WebDataset shards per training stage. The one join of the project.

    gates keep, or (gates review and people keep) --> has a caption? --> fits a bucket? --> one engine item per shard
              | no                                         | no              | no                    |
              +--------------------------------------------+-----------------+--> pack_fates <-------+

The plan is made from the catalogue before anything is written: which bucket, which part of the clip, which shard. Every
shard holds one bucket and one window: its members sorted by id, cut into shards of equal count, so the same choices
give the same bytes on any number of workers. An input is (stage, clip, shard); a clip that does not decode is a failure
of that input, with the reason, and its neighbours are packed. Where every clip went is printed, kept and checked.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from annotation.captions import BY_FACTS
from curation.buckets import Footage, Misfit, Placement, StageBuckets, place
from curation.frame_choice import sharpest_frame
from curation.records import Caption, Clip, Crop, Decision, UserError, Verdict, content_id, to_row
from curation.shards import ShardItem, point_to, write_shard
from curation.tables import HumanVerdict, PackFate, Workspace
from curation.transcode import write_member
from jobs.cluster import joined
from jobs.engine import Item, Job, Outcome, Tally, report, run as run_job
from jobs.pack_fates import Fate, check_sum, show_fates, unused, write_fates

if TYPE_CHECKING:
    from jobs.config import Context

PACKER = "3"  # part of every shard id: raise it when the bytes of a member change
PART = "-part-"  # after the planned id of a shard that lacks members since a worker died
HONEST_RATE = 0.1  # a header's frame rate is believed if counting frames differs by less than this share


class PackSettings(BaseModel, frozen=True, extra="forbid"):
    """Which stages are packed and how."""

    stages: dict[str, StageBuckets] = Field(default_factory=dict, description="stage name -> its buckets")
    clips_per_shard: int = Field(
        default=64, ge=1, description="members of a shard; at least ranks x workers shards is best"
    )


@dataclass(frozen=True)
class Candidate:
    """A clip that a stage may have, with everything its facts file will say; `clip` is what people left of `whole`."""

    clip: Clip
    whole: Clip
    crop: Crop | None
    stage: str
    caption: Caption
    kept_by: str
    scores: Mapping[str, float]

    @property
    def footage(self) -> Footage:
        size = (self.crop.width, self.crop.height) if self.crop else (self.clip.width, self.clip.height)
        return Footage(self.clip.clip_id, self.clip.span, *size, source_rate(self.whole))


@dataclass(frozen=True)
class Member:
    """A candidate in one bucket; of a long clip perhaps one of several."""

    of: Candidate
    placement: Placement

    @property
    def facts(self) -> dict[str, Any]:
        of, placement = self.of, self.placement
        clip, bucket = of.clip, placement.bucket
        caption = to_row(of.caption)
        by = caption.pop("by")
        caption = {name: text for name, text in caption.items() if name not in ("clip_id", "version")}
        return {
            "clip_id": clip.clip_id,
            "stage": of.stage,
            "video_id": clip.video_id,
            "uri": clip.uri,
            "start_s": clip.start_s,
            "end_s": clip.end_s,
            "crop": [crop.left, crop.top, crop.width, crop.height] if (crop := of.crop) else None,
            "bucket": bucket.name,
            "width": bucket.width,
            "height": bucket.height,
            "num_frames": bucket.num_frames,
            "frame_rate": placement.frame_rate,
            "frame_interval": placement.frame_interval,
            "window": placement.window,
            "member_start_s": placement.span.start_s,
            "member_end_s": placement.span.end_s,
            "cropped": round(placement.cropped, 6),
            "caption": caption,
            "caption_by": by,
            "kept_by": of.kept_by,
            "scores": dict(of.scores),
        }

    def item(self) -> ShardItem:
        """The member encoded. An image is the sharpest frame of its part of the clip, and its facts say which."""
        clip, crop, placement, facts = self.of.clip, self.of.crop, self.placement, self.facts
        bucket, span = placement.bucket, placement.span
        if bucket.num_frames == 1:
            chosen = sharpest_frame(clip, bucket.width, bucket.height, crop, span)
            span = replace(span, start_pts=chosen.pts, end_pts=max(span.end_pts, chosen.pts + 1))
            clip = replace(clip, start_pts=chosen.pts)  # nothing before it is needed
            facts |= {"member_start_s": chosen.time_s, "member_end_s": chosen.time_s}
            facts |= {"frame_sharpness": round(chosen.sharpness, 3)}
        shape = (bucket.width, bucket.height, bucket.num_frames, placement.frame_rate)
        return ShardItem(clip.clip_id, write_member(clip, *shape, crop=crop, span=span), facts)


@dataclass(frozen=True)
class PackWorker:
    """Encodes the members of one planned shard and writes its tar."""

    workspace_uri: str

    def __call__(self, item: Item) -> Outcome:
        stage, shard_id, num_planned = item.shared
        items: list[ShardItem] = []
        failures = []
        for key, member in sorted(item.inputs.items()):
            try:
                items.append(member.item())
            except Exception as error:  # the member's own failure row; its neighbours are packed
                failures.append((key, getattr(error, "reason", "cannot be packed"), str(error)))
        if not items:
            return Outcome(failures=failures)
        if len(item.inputs) < num_planned:  # after a worker died, the rest goes into shards of its own
            shard_id = f"{shard_id}{PART}{content_id(*sorted(item.inputs))}"
        bucket = str(items[0].meta["bucket"])
        shard, rows = write_shard(Workspace(self.workspace_uri), stage, shard_id, bucket, items)
        return Outcome({"shard_members": rows, "shards": [shard]}, failures)


def planned_id(shard_id: str) -> str:
    """The id under which a shard was planned."""
    return shard_id.partition(PART)[0]


@dataclass(frozen=True)
class _Packed:
    workspace: Workspace
    shard_ids: frozenset[str]

    def __call__(self) -> set[str]:
        rows = self.workspace.table("shard_members").distinct("stage", "clip_id", "shard_id")
        planned = ((stage, clip_id, planned_id(shard_id)) for stage, clip_id, shard_id in rows)
        return {_key(stage, clip_id, shard_id) for stage, clip_id, shard_id in planned if shard_id in self.shard_ids}


def _key(stage: str, clip_id: str, shard_id: str) -> str:
    return f"{stage}/{clip_id}@{shard_id}"


def choose(context: "Context") -> tuple[list[Candidate], list[PackFate]]:
    """The clips that each packed stage may have, and the fates of the others."""
    from jobs.gates import current_values, judge
    from jobs.score import current_clips, current_crops

    crops = current_crops(context)
    clips = {clip.clip_id: clip for clip in current_clips(context)}
    people = {verdict.clip_id: verdict for verdict in context.workspace.table("human_verdicts").records()}
    captions = best_captions(context.workspace)
    values = current_values(context)
    candidates, fates = [], []
    for verdict in judge(context).records():
        if verdict.stage not in context.recipe.pack.stages:
            continue
        clip_id, person = verdict.clip_id, people.get(verdict.clip_id)
        caption = captions.get(clip_id)
        fate = _fate_of(verdict, person)
        if fate is not None:
            fates.append(fate)
        elif caption is None:
            fates.append(unused(clip_id, verdict.stage, Fate.NO_CAPTION, ""))
        else:
            kept_by = "gates" if verdict.decision is Decision.KEEP or person is None else person.by
            of_clip = (clips[clip_id], crops.get(clip_id), verdict.stage, caption, kept_by, values.get(clip_id, {}))
            candidates.append(Candidate(best_part(clips[clip_id], person), *of_clip))
    return candidates, fates


def _fate_of(verdict: Verdict, person: HumanVerdict | None) -> PackFate | None:
    """Who dropped a clip; None if it is kept."""
    if verdict.decision is Decision.KEEP:
        return None
    told = (verdict.clip_id, verdict.stage)
    if verdict.decision is Decision.REJECT:
        return unused(*told, Fate.REJECTED_BY_GATES, verdict.reason, "gates")
    if person is None:
        return unused(*told, Fate.WAITING, verdict.reason)
    return (
        None if person.decision == Decision.KEEP else unused(*told, Fate.REJECTED_BY_PEOPLE, person.reason, person.by)
    )


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


def source_rate(clip: Clip) -> float:
    """Frames per second of a clip's source: the header's, unless counting says otherwise."""
    counted = clip.num_frames / clip.duration_s
    return clip.frame_rate if abs(clip.frame_rate / counted - 1) < HONEST_RATE else counted


def place_all(
    candidates: Iterable[Candidate], stages: Mapping[str, StageBuckets]
) -> tuple[list[Member], list[PackFate]]:
    """The members that the candidates become, and the fates of those that fit no bucket."""
    members, fates = [], []
    for candidate in candidates:
        found = place(candidate.footage, stages[candidate.stage])
        if isinstance(found, Misfit):
            fates.append(unused(candidate.clip.clip_id, candidate.stage, Fate(found.reason), found.detail))
        else:
            members += [Member(candidate, placement) for placement in found]
    return members, fates


def plan(members: Iterable[Member], settings: PackSettings) -> list[Item]:
    """Cut the members of each bucket into shards; a shard's id is the content id of all that goes into it."""
    together = defaultdict(list)
    for member in members:
        together[member.of.stage, member.placement.bucket, member.placement.window].append(member)
    items = []
    for (stage, bucket, window), chosen in sorted(together.items(), key=lambda item: item[0]):
        chosen.sort(key=lambda member: member.of.clip.clip_id)
        for start in range(0, len(chosen), settings.clips_per_shard):
            group = chosen[start : start + settings.clips_per_shard]
            facts = [str(sorted(member.facts.items(), key=lambda pair: pair[0])) for member in group]
            shard_id = f"{stage}-{content_id(PACKER, bucket.name, *facts)}"
            inputs = {_key(stage, member.of.clip.clip_id, shard_id): member for member in group}
            label = f"{stage} {bucket.name} shard {start // settings.clips_per_shard}"
            label += f" of window {window}" if window else ""
            items.append(Item(label, inputs, (stage, shard_id, len(group))))
    return items


def packed_fates(items: Iterable[Item], packed: set[str], failures: Mapping[str, tuple[str, str]]) -> list[PackFate]:
    """What became of the clips that were planned into shards.

    Args:
        packed: keys of the inputs that lie in a shard.
        failures: key of an input -> reason and detail.
    """
    by_clip: dict[tuple[str, str], list[tuple[str, Member]]] = defaultdict(list)
    for item in items:
        for key, member in item.inputs.items():
            by_clip[member.of.stage, member.of.clip.clip_id].append((key, member))
    fates = []
    for (stage, clip_id), planned in sorted(by_clip.items(), key=lambda item: item[0]):
        there = [member for key, member in planned if key in packed]
        failed = [failures[key] for key, _ in planned if key not in packed and key in failures]
        if there:
            fates.append(_used(there))
        elif failed:
            reason, detail = failed[0]
            said = detail if detail.startswith(reason) else f"{reason}: {detail}"
            fates.append(unused(clip_id, stage, Fate.NOT_DECODED, said))
        else:
            fates.append(unused(clip_id, stage, Fate.UNFINISHED, "run it again to go on"))
    return fates


def _used(members: Sequence[Member]) -> PackFate:
    of = members[0].of
    spans = {(member.placement.window, member.placement.span): member.placement.span for member in members}
    is_video = members[0].placement.bucket.num_frames > 1
    return PackFate(
        clip_id=of.clip.clip_id,
        stage=of.stage,
        plan="",
        fate=Fate.USED,
        reason="",
        by=of.kept_by,
        bucket=",".join(sorted({member.placement.bucket.name for member in members})),
        num_members=len(members),
        cropped=max(member.placement.cropped for member in members),
        trimmed_s=of.whole.duration_s - sum(span.duration_s for span in spans.values()) if is_video else None,
    )


def pack_job(context: "Context") -> tuple[Job, list[PackFate]]:
    """What is to be written, and the fates of the clips that are in no plan.

    Raises:
        UserError: a stage without gates.
    """
    settings, workspace = context.recipe.pack, context.workspace
    unknown = sorted(settings.stages.keys() - context.recipe.gates.stages.keys())
    if unknown:
        raise UserError(
            f"pack.stages names {', '.join(unknown)}, which have no gates; stages with gates: "
            f"{', '.join(context.recipe.gates.stages) or 'none'}"
        )
    candidates, left_out = choose(context)
    members, misfits = place_all(candidates, settings.stages)
    items = plan(members, settings)
    shard_ids = frozenset(item.shared[1] for item in items)
    job = Job(
        name="pack",
        unit="stage clips",
        digest=content_id(PACKER, *sorted(shard_ids)),
        tables=("shard_members", "shards"),
        items=items,
        make_worker=partial(PackWorker, workspace.uri),
        finished=_Packed(workspace, shard_ids),
    )
    return job, [*left_out, *misfits]


def pack(context: "Context") -> Tally:
    """Plan, write, account for every clip and point; see `run`."""
    job, fates = pack_job(context)
    with joined():
        tally = run_job(job, context.workspace, context.recipe.engine)
    account(context, job, fates)
    return tally


def account(context: "Context", job: Job, fates: list[PackFate]) -> None:
    """Add the fates of what was planned, check that nothing is lost, keep and print them, and move the pointers.

    Raises:
        RuntimeError: a clip has no fate in a stage, or several.
    """
    from jobs.score import current_clips

    workspace, stages = context.workspace, context.recipe.pack.stages
    rows = [row for row in workspace.table("failures").having("job_digest", [job.digest]) if row.job == job.name]
    fates = fates + packed_fates(job.items, job.finished(), {row.input_id: (row.reason, row.detail) for row in rows})
    check_sum(fates, (clip.clip_id for clip in current_clips(context)), stages)
    written = sorted(shard_id for (shard_id,) in workspace.table("shards").distinct("shard_id"))
    for stage in stages:
        ids = [item.shared[1] for item in job.items if item.shared[0] == stage]
        shards = [shard_id for planned in ids for shard_id in written if planned_id(shard_id) == planned]
        point_to(workspace, stage, shards, write_fates(workspace, stage, fates))
    show_fates(fates, stages)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # pack has no flags of its own


def run(context: "Context") -> int:
    return report(pack(context))
