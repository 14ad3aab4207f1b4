"""What the report reads of a workspace, once: the tables as they stand, narrowed to the recipe's own versions.

    tables --current splitter, current scorer versions, current rules--> Snapshot

Where a table holds only rows of other settings (the recipe changed since), those are taken instead and a note says so,
so that a report never silently mixes two states nor shows an empty page over a full workspace.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from curation.gates import GateSettings
from curation.records import Annotation, Caption, Clip, Crop, Failure, Score, Shard, ShardMember, Source, Verdict, Video
from curation.shards import current_shards
from curation.split import splitter_version
from curation.tables import HumanVerdict, PushedTask, Sample, TrainRead, Workspace
from jobs.gates import current_catalogue, current_rules, judged_versions
from jobs.pack import best_captions
from jobs.score import all_crops

if TYPE_CHECKING:
    from jobs.config import Recipe

Row = TypeVar("Row")


@dataclass(frozen=True)
class Snapshot:
    """Rows by what they are looked up by; `notes` are what the reader must know about them."""

    gates: GateSettings  # with numbers in place of percentiles
    sources: list[Source]
    videos: dict[str, Video]
    clips: dict[str, Clip]
    crops: dict[str, Crop]
    scores: dict[str, dict[str, Score]]  # scorer -> clip id -> score
    verdicts: dict[str, dict[str, Verdict]]  # stage -> clip id -> verdict
    tasks: dict[str, PushedTask]
    annotations: list[Annotation]
    human: dict[str, HumanVerdict]
    captions: dict[str, Caption]
    shards: dict[str, list[Shard]]  # stage -> current shards
    members: dict[str, dict[str, ShardMember]]  # stage -> clip id -> place in a current shard
    reads: list[TrainRead]
    samples: list[Sample]
    failures: list[Failure]
    notes: list[str] = field(default_factory=list)

    def label(self, clip: Clip) -> str:
        """What a person calls a clip: its file's name and time span."""
        return f"{clip.uri.rsplit('/', 1)[-1]} {clip.start_s:.1f} to {clip.end_s:.1f} s"

    def scores_of(self, clip_id: str) -> dict[str, Score]:
        return {scorer: by_clip[clip_id] for scorer, by_clip in self.scores.items() if clip_id in by_clip}


def take_snapshot(workspace: Workspace, recipe: "Recipe") -> Snapshot:
    """Read the tables; the workspace is not changed."""
    notes: list[str] = []
    splitter = splitter_version(recipe.split)
    clips = _of_version(_records(workspace, "clips"), lambda row: row.splitter, splitter, "clips", notes)
    sources = _of_version(_records(workspace, "sources"), lambda row: row.splitter, splitter, "sources", [])
    by_id = {clip.clip_id: clip for clip in clips}
    versions = judged_versions(workspace, recipe)
    rules = current_rules(workspace, recipe, current_catalogue(workspace, recipe))
    verdicts = _of_version(
        _records(workspace, "gate_verdicts"), lambda row: row.rules_digest, rules.digest, "gate verdicts", notes
    )
    stages = {**dict.fromkeys(recipe.gates.stages), **dict.fromkeys(recipe.pack.stages)}
    shards = {stage: current_shards(workspace, stage) for stage in stages}
    return Snapshot(
        gates=rules.resolved,
        sources=sources,
        videos={video.video_id: video for video in _records(workspace, "videos")},
        clips=by_id,
        crops=all_crops(workspace, recipe),
        scores=_scores(_records(workspace, "scores"), versions, by_id, notes),
        verdicts=_by_stage((row for row in verdicts if row.clip_id in by_id), stages),
        tasks={row.clip_id: row for row in _records(workspace, "tasks")},
        annotations=sorted(_records(workspace, "annotations"), key=lambda row: (row.updated_at, row.annotation_key)),
        human={row.clip_id: row for row in _records(workspace, "human_verdicts")},
        captions=best_captions(workspace),
        shards=shards,
        members=_members(_records(workspace, "shard_members"), shards),
        reads=_records(workspace, "train_reads"),
        samples=_records(workspace, "samples"),
        failures=_records(workspace, "failures"),
        notes=notes,
    )


def _records(workspace: Workspace, table: str) -> list[Any]:
    return workspace.table(table).records()


def _of_version(
    rows: list[Row], version_of: Callable[[Row], str], wanted: str, what: str, notes: list[str]
) -> list[Row]:
    """The rows of the wanted version; where there is none, those of the version that most rows have."""
    versions = Counter(version_of(row) for row in rows)
    if not rows or wanted in versions:
        return [row for row in rows if version_of(row) == wanted]
    (most, count), *_ = sorted(versions.items(), key=lambda item: (-item[1], item[0]))
    notes.append(f"The {count} {what} shown were made under other settings ({most}) than this recipe's ({wanted}).")
    return [row for row in rows if version_of(row) == most]


def _scores(
    rows: Iterable[Score], versions: dict[str, str], clips: dict[str, Clip], notes: list[str]
) -> dict[str, dict[str, Score]]:
    by_scorer: dict[str, list[Score]] = defaultdict(list)
    for row in rows:
        if row.clip_id in clips:
            by_scorer[row.scorer].append(row)
    order = [*versions, *sorted(by_scorer.keys() - versions.keys())]
    return {
        scorer: {
            row.clip_id: row
            for row in _of_version(
                by_scorer[scorer],
                lambda row: row.version,
                versions.get(scorer, ""),
                f"{scorer} scores",
                notes if scorer in versions else [],
            )
        }
        for scorer in order
        if by_scorer[scorer]
    }


def _by_stage(rows: Iterable[Verdict], stages: Iterable[str]) -> dict[str, dict[str, Verdict]]:
    """Verdicts by stage in the order of the curriculum."""
    by_stage: dict[str, dict[str, Verdict]] = {stage: {} for stage in stages}
    for row in rows:
        by_stage.setdefault(row.stage, {})[row.clip_id] = row
    return by_stage


def _members(rows: Iterable[ShardMember], shards: dict[str, list[Shard]]) -> dict[str, dict[str, ShardMember]]:
    current = {shard.shard_id for group in shards.values() for shard in group}
    members: dict[str, dict[str, ShardMember]] = {stage: {} for stage in shards}
    for row in rows:
        if row.shard_id in current:
            members[row.stage][row.clip_id] = row
    return members
