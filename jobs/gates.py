"""Judging by the gates: scores -> gate_verdicts. Pure arithmetic, so it runs where the verb runs, without Ray."""

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from curation.gates import judge_clip, rules_digest
from curation.records import Decision, Score, UserError, Verdict
from curation.score import scorer_versions

if TYPE_CHECKING:
    from jobs.config import Context


def current_scores(context: "Context") -> dict[str, dict[str, Score]]:
    """Clip id -> scorer -> the score of the recipe's current scorer version."""
    versions = scorer_versions(context.recipe.score)
    by_clip: dict[str, dict[str, Score]] = defaultdict(dict)
    for score in context.workspace.table("scores").records():
        if versions.get(score.scorer) == score.version:
            by_clip[score.clip_id][score.scorer] = score
    return by_clip


def current_values(context: "Context") -> dict[str, dict[str, float]]:
    """Clip id -> scorer -> value, for the scores that have one."""
    return {
        clip_id: {scorer: score.value for scorer, score in scores.items() if score.value is not None}
        for clip_id, scores in current_scores(context).items()
    }


def current_rules(context: "Context") -> str:
    """Digest of the recipe's gates and the scorer versions they judge.

    Raises:
        UserError: a gate names a scorer that the recipe does not run.
    """
    versions, gates = scorer_versions(context.recipe.score), context.recipe.gates
    unknown = sorted(gates.scorers() - versions.keys())
    if unknown:
        raise UserError(f"gates ask for {', '.join(unknown)}, but score.scorers has only {', '.join(sorted(versions))}")
    return rules_digest(gates, versions)


def judge(context: "Context") -> list[Verdict]:
    """Verdicts of every current clip under the current rules; new ones are appended to `gate_verdicts`."""
    from jobs.score import current_clips

    digest, scores = current_rules(context), current_scores(context)
    table = context.workspace.table("gate_verdicts")
    verdicts = [
        verdict
        for clip in current_clips(context)
        for verdict in judge_clip(context.recipe.gates, digest, clip, scores.get(clip.clip_id, {}))
    ]
    known = {(clip_id, stage) for clip_id, stage, rules in table.distinct() if rules == digest}
    new = [verdict for verdict in verdicts if (verdict.clip_id, verdict.stage) not in known]
    table.append(f"{digest}-{len(known)}", new)
    return verdicts


def print_decisions(verdicts: list[Verdict]) -> None:
    """One line per stage: how many clips are kept, reviewed and rejected."""
    counts = Counter((verdict.stage, verdict.decision) for verdict in verdicts)
    for stage in dict.fromkeys(verdict.stage for verdict in verdicts):
        parts = ", ".join(f"{counts[stage, decision]} {decision.value}" for decision in Decision)
        print(f"gates {stage}: {parts}", flush=True)
