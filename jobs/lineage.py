"""Everything the workspace knows of one clip: why it is in the training set, or not, and who said so.

    clip_id --> clips, videos, scores, gate_verdicts (+ the rules' thresholds, saved under their digest),
                tasks, annotations, human_verdicts, captions, pack_fates, shard_members, shards, train_reads, failures

Read only. `trace` prints it, `report` shows it.
"""

import difflib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from pyarrow import fs as pafs
from pydantic import ValidationError

from curation.gates import CROP, Rules, bounds_text, findings
from curation.records import (
    Annotation,
    Caption,
    Clip,
    Crop,
    Failure,
    Score,
    Shard,
    ShardMember,
    UserError,
    Verdict,
    Video,
)
from curation.shards import current_plan
from curation.tables import HumanVerdict, PackFate, PushedTask, TrainRead, Workspace

MAX_NAMED = 5


@dataclass(frozen=True)
class RuleFinding:
    """What one rule of a stage's gates said of the clip."""

    scorer: str
    bounds: str
    outcome: str  # pass, narrow, fail or unknown
    text: str


@dataclass(frozen=True)
class JudgedStage:
    """One gate verdict; `rules` is empty if no saved recipe has these rules."""

    verdict: Verdict
    rules: tuple[RuleFinding, ...]


@dataclass(frozen=True)
class Packed:
    """Where a copy of the clip lies; `held_out_of` names the training runs that measured with it and never learned."""

    member: ShardMember
    shard: Shard | None


@dataclass(frozen=True)
class Lineage:
    """The history of one clip, in the order in which it happened."""

    clip: Clip
    video: Video | None
    scores: tuple[Score, ...]
    gates: tuple[JudgedStage, ...]
    tasks: tuple[PushedTask, ...]
    annotations: tuple[Annotation, ...]
    human_verdicts: tuple[HumanVerdict, ...]
    captions: tuple[Caption, ...]
    fates: tuple[PackFate, ...]  # what the last `pack` of each stage made of the clip
    packed: tuple[Packed, ...]
    reads: tuple[TrainRead, ...]
    held_out_of: tuple[str, ...]
    failures: tuple[Failure, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)


def lineage(workspace: Workspace, clip_id: str) -> Lineage:
    """Collect the history of a clip.

    Args:
        clip_id: the id, or the beginning of it if no other clip begins so.

    Raises:
        UserError: no clip, or more than one, begins with `clip_id`.
    """
    clip = find_clip(workspace, clip_id)
    clip_id = clip.clip_id

    def rows(table: str) -> list[Any]:
        return workspace.table(table).having("clip_id", [clip_id])

    videos = workspace.table("videos").having("video_id", [clip.video_id])
    scores = tuple(rows("scores"))
    members = rows("shard_members")
    shards = {shard.shard_id: shard for shard in workspace.table("shards").records()} if members else {}
    failures = [row for row in workspace.table("failures").records() if clip_id in row.input_id]
    return Lineage(
        clip=clip,
        video=videos[0] if videos else None,
        scores=scores,
        gates=_gates(workspace, clip, scores),
        tasks=tuple(rows("tasks")),
        annotations=tuple(sorted(rows("annotations"), key=lambda row: row.updated_at)),
        human_verdicts=tuple(rows("human_verdicts")),
        captions=tuple(rows("captions")),
        fates=tuple(row for row in rows("pack_fates") if row.plan == current_plan(workspace, row.stage)),
        packed=tuple(Packed(member, shards.get(member.shard_id)) for member in members),
        reads=tuple(rows("train_reads")),
        held_out_of=_held_out_of(workspace, clip_id),
        failures=tuple(failures),
    )


def find_clip(workspace: Workspace, given: str) -> Clip:
    """The clip of an id, or the one whose id begins with `given`.

    Raises:
        UserError: there is none, or there are several; the message names what is near.
    """
    clip_ids = sorted(clip_id for (clip_id,) in workspace.table("clips").distinct("clip_id"))
    if not clip_ids:
        raise UserError(f"no clip {given!r}: {workspace.uri} has no clips yet; run `dailies split` first")
    found = [clip_id for clip_id in clip_ids if given and clip_id.startswith(given)]
    if len(found) == 1 or given in found:
        (clip,) = workspace.table("clips").having("clip_id", [given if given in found else found[0]])
        return clip
    total = f"{len(clip_ids)} clip{'s' if len(clip_ids) > 1 else ''}"
    if found:
        named = ", ".join(found[:MAX_NAMED]) + (", ..." if len(found) > MAX_NAMED else "")
        raise UserError(f"{len(found)} of {total} begin with {given!r}: {named}; give more of the id")
    near = difflib.get_close_matches(given, clip_ids, n=MAX_NAMED, cutoff=0.5) or clip_ids[:MAX_NAMED]
    like = "nearest" if near != clip_ids[: len(near)] or len(clip_ids) <= MAX_NAMED else "the first"
    raise UserError(f"no clip {given!r} among the {total} of {workspace.uri}; {like}: {', '.join(near)}")


def _gates(workspace: Workspace, clip: Clip, scores: Iterable[Score]) -> tuple[JudgedStage, ...]:
    verdicts = workspace.table("gate_verdicts").having("clip_id", [clip.clip_id])
    crops = {crop.version: crop for crop in workspace.table("crops").having("clip_id", [clip.clip_id])}
    known = {digest: _saved_rules(workspace, digest) for digest in sorted({row.rules_digest for row in verdicts})}
    judged = []
    for verdict in verdicts:
        rules = known[verdict.rules_digest]
        found = _findings(rules, verdict.stage, clip, scores, crops.get(rules.versions.get(CROP, ""))) if rules else ()
        judged.append(JudgedStage(verdict, found))
    order = [stage for rules in known.values() if rules for stage in rules.resolved.stages]
    return tuple(sorted(judged, key=lambda each: order.index(each.verdict.stage) if each.rules else len(order)))


def _saved_rules(workspace: Workspace, digest: str) -> Rules | None:
    """The rules behind a digest; None if they were lost or are of an older Dailies that no longer validates.

    Verdicts keep their reasons all the same, only the thresholds cannot be shown.
    """
    if not workspace.exists("rules", f"{digest}.json"):
        return None
    try:
        return Rules.model_validate_json(workspace.read_bytes("rules", f"{digest}.json"))
    except ValidationError:
        return None


def _findings(
    rules: Rules, stage: str, clip: Clip, scores: Iterable[Score], crop: Crop | None
) -> tuple[RuleFinding, ...]:
    judged = {score.scorer: score for score in scores if rules.versions.get(score.scorer) == score.version}
    gates = rules.resolved.stages[stage]
    return tuple(
        RuleFinding(found.scorer, bounds_text(rule), found.outcome.value, found.text)
        for rule, found in zip(gates.rules, findings(gates, clip, judged, crop), strict=True)
    )


def _held_out_of(workspace: Workspace, clip_id: str) -> tuple[str, ...]:
    selector = pafs.FileSelector(workspace.path("checkpoints"), allow_not_found=True)
    runs = [info.base_name for info in workspace.fs.get_file_info(selector) if info.type == pafs.FileType.Directory]
    held_out = []
    for run in sorted(runs):
        if workspace.exists("checkpoints", run, "run.json"):
            facts = json.loads(workspace.read_bytes("checkpoints", run, "run.json"))
            if clip_id in facts.get("held_out", []):
                held_out.append(run)
    return tuple(held_out)
