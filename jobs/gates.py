"""`dailies gates`: judge every clip for every stage, and show what each rule of the recipe costs.

    clips, scores --> Catalogue --percentiles become numbers--> Rules --> gate_verdicts, rules/<digest>.json
                                                                     +--> the funnel, printed or as JSON or CSV

Pure arithmetic over columns: reads no media and starts no Ray, so it runs where the verb runs; `route` and `pack` judge
by the same function. Verdicts are of one rules digest; judging again adds only clips that are new under it. A recipe
with percentiles gets new numbers, so a new digest and new verdicts for all, when the pool has changed.
"""

import argparse
import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from annotation.suitability import SUITABILITY
from curation.catalogue import Catalogue, read_catalogue
from curation.crop import crop_version
from curation.gates import Rules, bounds_text, resolve
from curation.judgement import RuleLosses, StageJudgement, judge_stages
from curation.records import Decision, UserError, Verdict
from curation.score import scorer_versions
from curation.split import splitter_version
from curation.tables import Workspace, having_texts
from jobs.calibrations import current_calibration
from jobs.group import DUPLICATE, current_grouping

if TYPE_CHECKING:
    from jobs.config import Context, Recipe

RULES_FOLDER = "rules"
COUNTS = ("clips_in", "lost_here", "lost", "lost_only_by_this", "narrow", "unknown")
HEADINGS = ("in", "lost here", "lost by it", "by it alone", "narrow", "unknown")


@dataclass(frozen=True)
class Judged:
    """All clips of a catalogue under one set of rules."""

    rules: Rules
    catalogue: Catalogue
    stages: tuple[StageJudgement, ...]

    def verdicts(self) -> pa.Table:
        """A row per stage and clip, texts as dictionaries."""
        digest = self.rules.digest
        tables = [stage.verdicts(self.catalogue.clip_ids, digest) for stage in self.stages]
        return pa.concat_tables(tables).unify_dictionaries() if tables else pa.table({})

    def records(self) -> list[Verdict]:
        """The same as records, for the few thousand clips that a job handles one by one."""
        return [Verdict(**{**row, "decision": Decision(row["decision"])}) for row in self.verdicts().to_pylist()]

    def losses(self) -> list[tuple[StageJudgement, list[RuleLosses]]]:
        """What every rule of every stage did; the bounds of a percentile say both the number and the percentile."""
        found = []
        for stage in self.stages:
            asked = self.rules.asked.stages[stage.stage].rules
            rows = zip(asked, stage.losses(), strict=True)
            found.append((stage, [_with_percentile(row, bounds_text(rule)) for rule, row in rows]))
        return found


def current_catalogue(workspace: Workspace, recipe: "Recipe") -> Catalogue:
    """The clips of the recipe's splitter, as its crop leaves them, with the current scores of its scorers."""
    crop = crop_version(recipe.score.crop)
    return read_catalogue(workspace, splitter_version(recipe.split), judged_versions(workspace, recipe), crop)


def judged_versions(workspace: Workspace, recipe: "Recipe") -> dict[str, str]:
    """Scorer -> current version of all that gates may ask for: scorers, `duplicate` and `suitability` once there."""
    made = {DUPLICATE: current_grouping(workspace, recipe), SUITABILITY: current_calibration(workspace, recipe)}
    return scorer_versions(recipe.score) | {name: version for name, version in made.items() if version}


def current_rules(workspace: Workspace, recipe: "Recipe", catalogue: Catalogue) -> Rules:
    """The recipe's gates with this catalogue's numbers in place of percentiles.

    Raises:
        UserError: a gate names a scorer that the recipe does not run, or resolves to nonsense.
    """
    versions = judged_versions(workspace, recipe)
    unknown = sorted(recipe.gates.scorers() - versions.keys())
    if DUPLICATE in unknown:
        raise UserError(f"gates ask for {DUPLICATE}, which `dailies group` finds out; run that first")
    if SUITABILITY in unknown:
        raise UserError(f"gates ask for {SUITABILITY}, which `dailies calibrate` learns from people; run that first")
    if unknown:
        raise UserError(f"gates ask for {', '.join(unknown)}, but score.scorers has only {', '.join(sorted(versions))}")
    return resolve(recipe.gates, versions, catalogue)


def current_values(
    context: "Context", clip_ids: Sequence[str] | None = None, catalogue: Catalogue | None = None
) -> dict[str, dict[str, float]]:
    """Clip id -> scorer -> value, for the current scores that have one; of these clips, or of all.

    Args:
        catalogue: the current one, where the caller has read it already.
    """
    if catalogue is None:
        catalogue = current_catalogue(context.workspace, context.recipe)
    places = np.arange(len(catalogue)) if clip_ids is None else catalogue.places(clip_ids)
    found: dict[str, dict[str, float]] = {
        clip_id: {} for clip_id in catalogue.clip_ids.take(pa.array(places)).to_pylist()
    }
    for scorer in judged_versions(context.workspace, context.recipe):
        values = catalogue.columns[scorer].values[places].tolist()
        for of_clip, value in zip(found.values(), values, strict=True):
            if value == value:  # not NaN
                of_clip[scorer] = value
    return found


def judge(context: "Context", dry_run: bool = False) -> Judged:
    """Every current clip under the current rules; verdicts that are new go to `gate_verdicts`, unless it is a dry run.

    Raises:
        UserError: see `current_rules`.
    """
    catalogue = current_catalogue(context.workspace, context.recipe)
    judged = judge_catalogue(catalogue, current_rules(context.workspace, context.recipe, catalogue))
    if not dry_run:
        write_verdicts(context.workspace, judged)
    return judged


def judge_catalogue(catalogue: Catalogue, rules: Rules) -> Judged:
    return Judged(rules, catalogue, tuple(judge_stages(rules, catalogue)))


def write_verdicts(workspace: Workspace, judged: Judged) -> None:
    """Save the rules under their digest, then append the verdicts of clips that have none under them."""
    digest, table = judged.rules.digest, workspace.table("gate_verdicts")
    if not workspace.exists(RULES_FOLDER, f"{digest}.json"):
        workspace.write_bytes(judged.rules.model_dump_json(indent=1).encode(), RULES_FOLDER, f"{digest}.json")
    known = [*table.parts(["clip_id", "stage"], encoded=["stage"], only={"rules_digest": digest})]
    for stage in judged.stages:
        rows = [having_texts(part, {"stage": stage.stage}).column("clip_id") for part in known]
        judged_ids = pa.chunked_array([chunk for row in rows for chunk in row.chunks], pa.string())
        new = np.ones(len(judged.catalogue), bool)
        new[judged.catalogue.places(judged_ids)] = False
        chosen = None if new.all() else np.flatnonzero(new)
        stem = f"{digest}-{len(judged_ids)}-{stage.stage}"
        if new.any():
            table.append_rows(stem, stage.verdicts(judged.catalogue.clip_ids, digest, chosen))


def print_decisions(judged: Judged) -> None:
    """One line per stage: how many clips are kept, reviewed and rejected."""
    for stage in judged.stages:
        print(f"gates {stage.stage}: {_counted(stage)}", flush=True)


def print_funnel(judged: Judged) -> None:
    """A table per stage: what each rule did, in the order of the rules."""
    for stage, losses in judged.losses():
        people = ", people choose among what passes" if stage.gates.people else ""
        print(f"\nstage {stage.stage}: {len(judged.catalogue)} clips{people}")
        print("".join(f"{heading:>13}" for heading in HEADINGS) + "   rule")
        for row in losses:
            print("".join(f"{getattr(row, count):>13}" for count in COUNTS) + f"   {row.scorer}: {row.bounds}")
        print(_counted(stage))
    print(
        "\nin, lost here: after the rules above it. lost by it: rejected clips that name the rule, whatever the others "
        "say.\nby it alone: clips that would not be rejected without it. narrow, unknown: doubtful at this rule, over "
        f"all clips.\nrules {judged.rules.digest}",
        flush=True,
    )


def funnel_tree(judged: Judged) -> dict[str, Any]:
    """The funnel for other programs, as JSON holds it."""
    stages = []
    for stage, losses in judged.losses():
        counts = {str(decision): count for decision, count in stage.counts().items()}
        stages.append({"stage": stage.stage, "people": stage.gates.people, **counts, "rules": [*map(asdict, losses)]})
    rules = judged.rules.resolved.model_dump(exclude_defaults=True)
    return {"rules_digest": judged.rules.digest, "clips": len(judged.catalogue), "stages": stages, "resolved": rules}


def funnel_csv(judged: Judged) -> str:
    """The funnel for a spreadsheet: one line per stage and rule."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(("stage", "scorer", "bounds", *COUNTS))
    for stage, losses in judged.losses():
        writer.writerows((stage.stage, *asdict(row).values()) for row in losses)
    return sink.getvalue()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="show the funnel, write nothing to the workspace")
    parser.add_argument("--json", metavar="FILE", help="write the funnel for programs")
    parser.add_argument("--csv", metavar="FILE", help="write the funnel for a spreadsheet")


def run(context: "Context") -> int:
    judged = judge(context, context.args.dry_run)
    print_funnel(judged)
    if context.args.json:
        Path(context.args.json).write_text(json.dumps(funnel_tree(judged), indent=1) + "\n")
    if context.args.csv:
        Path(context.args.csv).write_text(funnel_csv(judged))
    if context.args.dry_run:
        print("dry run: nothing was written", flush=True)
    return 0


def _counted(stage: StageJudgement) -> str:
    return ", ".join(f"{count} {decision.value}" for decision, count in stage.counts().items())


def _with_percentile(row: RuleLosses, asked: str) -> RuleLosses:
    return row if asked == row.bounds else RuleLosses(**{**asdict(row), "bounds": f"{row.bounds} ({asked})"})
