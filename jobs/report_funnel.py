"""What became of everything, counted: the accounting of each job, the funnel of each stage, the failures by reason.

    listed files = split + failures + pending        clips = scored + failures + pending
    stage: clips -> kept by gates + sent to people + stopped by gates -> packed -> read by training

Every number comes from rows; nothing here is estimated.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curation.gates import Finding, GateRule, StageGates, bounds_text, decide, findings
from curation.records import Decision, Failure, UserError, Video, content_id
from curation.score import versions
from curation.split import splitter_version
from jobs.footage import list_footage
from jobs.report_snapshot import Snapshot

if TYPE_CHECKING:
    from jobs.config import Recipe

MAX_LISTED_FAILURES = 50


@dataclass(frozen=True)
class Equation:
    """inputs = results + failures + pending, of one job; `pending` is None where the inputs cannot be listed now."""

    job: str
    unit: str
    results: int
    failures: Mapping[str, int]
    pending: int | None

    @property
    def inputs(self) -> int:
        return self.results + sum(self.failures.values()) + (self.pending or 0)

    @property
    def failures_text(self) -> str:
        return ", ".join(f"{count} {reason}" for reason, count in sorted(self.failures.items()))


@dataclass(frozen=True)
class GateCount:
    """What one rule did in one stage; `only` counts the clips that this rule alone stopped or sent to people."""

    scorer: str
    bounds: str
    rejected: int
    rejected_only: int
    review: int
    review_only: int


@dataclass(frozen=True)
class Step:
    """A bar of the funnel."""

    name: str
    count: int
    kind: str  # all, keep, review, reject: its colour


@dataclass(frozen=True)
class StageFunnel:
    """One curation stage from all clips to what training read."""

    stage: str
    people: bool
    steps: tuple[Step, ...]
    gates: tuple[GateCount, ...]
    num_clips: int
    outcomes: Mapping[str, int]  # keep, review, reject, and unjudged where clips have no verdict
    people_said: Mapping[str, int]  # keep, reject, waiting: of the clips sent to people
    packed: int
    bucket: str
    trained_on: int

    def share(self, count: int) -> float:
        """Percent of all clips."""
        return 100 * count / self.num_clips if self.num_clips else 0.0


@dataclass(frozen=True)
class FileCount:
    """One listed file and what is left of it."""

    name: str
    video: Video | None
    clips: int
    packed: int


@dataclass(frozen=True)
class FailureGroup:
    """Failures of one job with one reason."""

    job: str
    reason: str
    count: int
    listed: tuple[Failure, ...]


def equations(snapshot: Snapshot, recipe: "Recipe") -> list[Equation]:
    """The accounting of split, score and pack, from the tables; jobs that have done nothing are left out."""
    found = []
    split_failures = _settled(snapshot, "split", content_id(splitter_version(recipe.split)))
    if snapshot.sources or split_failures:
        done = {source.input_id for source in snapshot.sources}
        found.append(_equation("split", "files", done, split_failures, _listed(recipe)))
    score_failures = _settled(snapshot, "score", content_id(*sorted(versions(recipe.score).items())))
    scored = set(snapshot.clips).intersection(*snapshot.scores.values()) if snapshot.scores else set()
    if scored or score_failures:
        found.append(_equation("score", "clips", scored, score_failures, set(snapshot.clips)))
    packed = {f"{stage}/{clip_id}" for stage, members in snapshot.members.items() for clip_id in members}
    pack_failures = {row.input_id.partition("@")[0]: row.reason for row in snapshot.failures if row.job == "pack"}
    if packed or pack_failures:
        failed = {key: reason for key, reason in pack_failures.items() if key not in packed}
        found.append(_equation("pack", "stage clips", packed, failed, packed | failed.keys()))
    return found


def stage_funnels(snapshot: Snapshot, recipe: "Recipe", run_id: str | None) -> list[StageFunnel]:
    """The funnel of every stage that has gates or shards; reads are those of one training run."""
    funnels = []
    for stage in snapshot.members:
        bucket = recipe.pack.stages.get(stage)
        readers = {training.name for training in recipe.train.stages if stage in training.shards}
        read = {row.clip_id for row in snapshot.reads if row.run_id == run_id and row.stage in readers}
        funnels.append(_stage_funnel(snapshot, stage, bucket.name if bucket else "", read))
    return funnels


def failure_groups(failures: list[Failure]) -> list[FailureGroup]:
    """Failures by job and reason, most frequent first, each with the first of its files."""
    groups: dict[tuple[str, str], list[Failure]] = defaultdict(list)
    for failure in sorted(failures, key=lambda row: (row.label, row.input_id)):
        groups[failure.job, failure.reason].append(failure)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return [FailureGroup(job, reason, len(rows), tuple(rows[:MAX_LISTED_FAILURES])) for (job, reason), rows in ordered]


def file_counts(snapshot: Snapshot) -> list[FileCount]:
    """Every split file by name, with how many of its clips are packed in some stage."""
    packed = {clip_id for members in snapshot.members.values() for clip_id in members}
    by_video = Counter(clip.video_id for clip in snapshot.clips.values())
    packed_by_video = Counter(clip.video_id for clip_id, clip in snapshot.clips.items() if clip_id in packed)
    return [
        FileCount(
            source.uri.rsplit("/", 1)[-1],
            snapshot.videos.get(source.video_id),
            by_video[source.video_id],
            packed_by_video[source.video_id],
        )
        for source in sorted(snapshot.sources, key=lambda source: source.uri)
    ]


def rule_findings(snapshot: Snapshot, gates: StageGates, clip_id: str) -> list[tuple[GateRule, Finding]]:
    """What every rule of a stage says of a clip's scores as they are now."""
    found = findings(gates, snapshot.clips[clip_id], snapshot.scores_of(clip_id), snapshot.crops.get(clip_id))
    return list(zip(gates.rules, found, strict=True))


def _equation(job: str, unit: str, done: set[str], failed: Mapping[str, str], listed: set[str] | None) -> Equation:
    pending = None if listed is None else len(listed - done - failed.keys())
    if listed is not None:  # what was removed from the footage since is no longer an input
        done, failed = done & listed, {key: reason for key, reason in failed.items() if key in listed}
    return Equation(job, unit, len(done), Counter(failed.values()), pending)


def _settled(snapshot: Snapshot, job: str, digest: str) -> dict[str, str]:
    rows = [row for row in snapshot.failures if row.job == job]
    current = [row for row in rows if row.job_digest == digest]
    return {row.input_id: row.reason for row in current}


def _listed(recipe: "Recipe") -> set[str] | None:
    """Ids of the files that are inputs now, None where the footage is not named or not there any more."""
    try:
        return {file.input_id for file in list_footage(recipe.footage)}
    except UserError:
        return None


def _stage_funnel(snapshot: Snapshot, stage: str, bucket: str, read: set[str]) -> StageFunnel:
    verdicts, members = snapshot.verdicts.get(stage, {}), snapshot.members[stage]
    gates = snapshot.gates.stages.get(stage, StageGates(people=False, rules=()))
    outcomes = Counter(str(verdict.decision) for verdict in verdicts.values())
    sent = [clip_id for clip_id, verdict in verdicts.items() if verdict.decision == Decision.REVIEW]
    said = Counter(snapshot.human[clip_id].decision if clip_id in snapshot.human else "waiting" for clip_id in sent)
    trained_on = sum(clip_id in read for clip_id in members)
    scored = set(snapshot.clips).intersection(*snapshot.scores.values()) if snapshot.scores else set()
    steps = [Step("clips", len(snapshot.clips), "all"), Step("scored", len(scored), "all")]
    steps.append(Step("kept by the gates", outcomes["keep"], "keep"))
    steps.append(Step("sent to people", outcomes["review"], "review"))
    if sent:
        steps.append(Step("kept by people", said["keep"], "keep"))
    steps += [Step("packed", len(members), "keep"), Step("read by training", trained_on, "keep")]
    return StageFunnel(
        stage=stage,
        people=gates.people,
        steps=tuple(steps),
        gates=tuple(_gate_counts(snapshot, gates, verdicts)),
        num_clips=len(snapshot.clips),
        outcomes={kind: outcomes[kind] for kind in Decision} | {"unjudged": len(snapshot.clips) - len(verdicts)},
        people_said={answer: said[answer] for answer in ("keep", "reject", "waiting")} if sent else {},
        packed=len(members),
        bucket=bucket,
        trained_on=trained_on,
    )


def _gate_counts(snapshot: Snapshot, gates: StageGates, verdicts: Mapping[str, object]) -> list[GateCount]:
    counts: dict[GateRule, Counter[str]] = {rule: Counter() for rule in gates.rules}
    for clip_id in verdicts:
        found = rule_findings(snapshot, gates, clip_id)
        decision, causes = decide(gates, [finding for _, finding in found])
        name = "rejected" if decision is Decision.REJECT else "review"
        for (rule, _), led in zip(found, causes, strict=True):
            counts[rule][name] += led
            counts[rule][f"{name}_only"] += led and sum(causes) == 1
    names = ("rejected", "rejected_only", "review", "review_only")
    return [GateCount(rule.scorer, bounds_text(rule), *(counts[rule][name] for name in names)) for rule in gates.rules]
