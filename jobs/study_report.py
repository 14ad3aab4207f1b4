"""`dailies study report`: what a blind study found, as one page with its videos beside it, and as CSV and Parquet.

    study_* tables --judges--> left out, by the stated rule
          |--votes without them, votes of all--> results --study_report_pages--> study_report/<study>/report.html
          |--neighbours in rank, one-sided prompts-----------------------------> study_report/<study>/videos/
          +--study_export---------------------------------> figures, judges, answers, each .csv and .parquet

Here, and only here, systems get their names back. The same tables give the same bytes.
"""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from annotation.study.axes import Design
from annotation.study.judges import alphas, judges, left_out, side_bias
from annotation.study.rows import COUNTED, given, pair_votes, pass_votes
from annotation.study.settings import CheckSettings, StudySettings
from annotation.study.votes import PairVotes, PassVotes
from curation.records import UserError
from curation.study_records import ItemKind, StudyPrompt, StudyVideo
from curation.tables import Measurement, Workspace
from jobs import study_export as export
from jobs.report_measures import measures
from jobs.study_figures import Result, kinds_of, result
from jobs.study_players import examples, exhibits
from jobs.study_report_pages import Findings, page_values

if TYPE_CHECKING:
    from jobs.config import Recipe

FILES = (
    (export.FIGURES, "every figure with its interval"),
    (export.JUDGES, "every judge and check"),
    (export.ANSWERS, "every answer, unblinded"),
)
KIND_WORDS = {
    ItemKind.RANDOM: "drawn at random",
    ItemKind.ADAPTIVE: "chosen by earlier answers",
    ItemKind.REPEAT: "repeats",
    ItemKind.GOLD: "of known answer",
    ItemKind.IDENTICAL: "identical pairs",
}


@dataclass(frozen=True)
class Rows:
    """One study's rows as they stand in the workspace."""

    prompts: pa.Table
    videos: pa.Table
    items: pa.Table
    answers: pa.Table

    @property
    def all(self) -> tuple[pa.Table, pa.Table, pa.Table, pa.Table]:
        return self.prompts, self.videos, self.items, self.answers


def read_rows(workspace: Workspace, study: str) -> Rows:
    """The tables of one study.

    Raises:
        UserError: there is no such study.
    """
    names = ("study_prompts", "study_videos", "study_items", "study_answers")
    tables = {name: workspace.table(name).read() for name in names}
    if study not in (known := tables["study_prompts"]["study"].unique().to_pylist()):
        listed = ", ".join(sorted(known)) or "none"
        raise UserError(
            f"no study {study!r} in {workspace.uri}; there are: {listed}. Name one (study.name), or begin with "
            "`dailies study create`"
        )
    return Rows(*(tables[name].filter(pc.field("study") == study) for name in names))


def write_study_report(workspace: Workspace, recipe: "Recipe") -> str:
    """Write the page and the files beside it; returns where the page lies.

    Raises:
        UserError: there is no such study.
    """
    settings, folder = recipe.study, export.folder_of(recipe.study.name)
    rows = read_rows(workspace, settings.name)
    found_judges = judges(given(rows.items, rows.answers), settings.checks)
    out = left_out(found_judges)
    votes = _votes(rows, settings.design, out)
    prompts: list[StudyPrompt] = _records(rows.prompts, StudyPrompt)
    kinds, many = kinds_of(prompts, settings.categories)
    counted = result(votes, kinds, settings)
    everybody = result(_votes(rows, settings.design, ()), kinds, settings) if out else None
    agreement = alphas(votes, settings.seed)
    shown = exhibits(
        workspace,
        folder,
        examples(votes, _neighbours(counted), recipe.report.num_study_pairs),
        {prompt.prompt_id: prompt for prompt in prompts},
        _records(rows.videos, StudyVideo),
    )
    simulated = rows.answers.filter(pc.field("simulated"))
    findings = Findings(
        study=settings.name,
        design=settings.design,
        num_prompts=rows.prompts.num_rows,
        systems=votes.systems,
        counted=counted,
        everybody=everybody,
        judges=found_judges,
        agreement=agreement,
        exhibits=shown,
        num_answers=rows.answers.num_rows,
        num_simulated=simulated.num_rows,
        simulated=frozenset(simulated["judge"].unique().to_pylist()),
        side_a=side_bias(votes) if isinstance(votes, PairVotes) else None,
        rule=stated_rule(settings.checks, settings.design),
        notes=tuple(f"Column {column} is not reported by: too many values to be kinds." for column in many),
        accounts=_accounts(rows, votes.systems, out),
        missing=_missing(workspace, rows, votes.systems),
        method=_method(rows, settings),
    )
    _write_files(workspace, folder, rows, findings)
    workspace.write_bytes(_page(workspace, findings).encode(), *folder, export.PAGE)
    return (
        workspace.path(*folder, export.PAGE) if workspace.is_local else "/".join((workspace.uri, *folder, export.PAGE))
    )


def stated_rule(checks: CheckSettings, design: Design) -> str:
    """By which rule a judge is left out, in one sentence."""
    parts = [
        f"fewer than {checks.least_gold:.0%} of known answers right",
        f"fewer than {checks.least_repeat:.0%} of repeats answered alike",
    ]
    if design is Design.PAIRWISE:
        parts.append(f"fewer than {checks.least_identical:.0%} of identical pairs called a tie")
    parts.append(f"agreement (kappa) with the others below {checks.least_agreement:g}")
    return (
        f"A judge is left out who has {', '.join(parts)}, each by more than chance explains (one-sided 95 %) and on "
        f"{checks.fewest_checks} items or more, or a median below {checks.least_seconds:g} s for an item."
    )


def _votes(rows: Rows, design: Design, out: Sequence[str]) -> PairVotes | PassVotes:
    return (pair_votes if design is Design.PAIRWISE else pass_votes)(*rows.all, leave_out=out)


def _neighbours(found: Result) -> list[Any]:
    place = {each.system: number for number, each in enumerate(found.standings)}
    return [each for each in found.contests if abs(place[each.first] - place[each.second]) == 1]


def _records(table: pa.Table, record: type) -> list[Any]:
    return [record(**row) for row in table.to_pylist()]


def _accounts(rows: Rows, systems: Sequence[str], out: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """What was made, asked and answered, as sums that must hold."""
    prompts, videos = rows.prompts.num_rows, rows.videos.num_rows
    slots = prompts * len(systems)
    asked = Counter(rows.items["kind"].to_pylist())
    known = given(rows.items, rows.answers)
    counting = known.kind(*COUNTED)
    gone = np.isin(known.judge_M, [known.judges.index(name) for name in out])
    fates = {
        "counted": int((counting & ~gone).sum()),
        "of judges left out": int((counting & gone).sum()),
        "on checks": int((~counting).sum()),
        "skipped or answered anew": rows.answers.num_rows - len(known.item_M),
    }
    return (
        ("videos", f"{slots:,} prompts x systems = {videos:,} shown + {slots - videos:,} without a video"),
        ("questions", _sum(rows.items.num_rows, {words: asked[kind.value] for kind, words in KIND_WORDS.items()})),
        ("answers", _sum(rows.answers.num_rows, fates)),
    )


def _sum(total: int, parts: Mapping[str, int]) -> str:
    return f"{total:,} = " + " + ".join(f"{number:,} {words}" for words, number in parts.items() if number or not total)


def _missing(workspace: Workspace, rows: Rows, systems: Sequence[str]) -> tuple[tuple[str, str, str], ...]:
    """(system, prompt, reason) wherever a system has no video of a prompt."""
    made = set(zip(rows.videos["system"].to_pylist(), rows.videos["prompt_id"].to_pylist(), strict=True))
    failures = sorted(workspace.table("failures").having("job", ["study"]), key=lambda row: row.failed_at)
    reasons = {row.label: f"{row.reason}: {row.detail}" if row.detail else row.reason for row in failures}
    texts = dict(zip(rows.prompts["prompt_id"].to_pylist(), rows.prompts["prompt"].to_pylist(), strict=True))
    return tuple(
        (system, text, reasons.get(f"{system} {prompt_id}", "not made yet"))
        for system in systems
        for prompt_id, text in sorted(texts.items())
        if (system, prompt_id) not in made
    )


def _method(rows: Rows, settings: StudySettings) -> str:
    """What everybody was shown, and what the intervals are."""
    pairwise = settings.design is Design.PAIRWISE
    shown = Counter(
        f"{width} x {height} px, {num_frames / rate:.1f} s at {rate:.4g} Hz"
        for width, height, num_frames, rate in zip(
            *(rows.videos[name].to_pylist() for name in ("width", "height", "num_frames", "frame_rate")), strict=True
        )
    )
    size = "; ".join(f"{text}" if len(shown) == 1 else f"{number} of {text}" for text, number in shown.most_common())
    return (
        f"Shown without sound at {size}. One video per system and prompt, none picked. Intervals hold 95 % over "
        "prompts and judges, by two-way clustered variance"
        f"{f'; strengths and ranks by {settings.bootstraps:,} resamples of both' if pairwise else ''}."
    )


def _write_files(workspace: Workspace, folder: tuple[str, ...], rows: Rows, found: Findings) -> None:
    rate = export.NET_WIN_RATE if found.design is Design.PAIRWISE else export.PASS_RATE
    figures = export.figure_rows(export.COUNTED, rate, found.counted, found.agreement)
    if found.everybody is not None:
        figures += export.figure_rows(export.EVERYBODY, rate, found.everybody)
    out = left_out(found.judges)
    for name, table in (
        (export.FIGURES, export.table_of(export.FigureRow, figures)),
        (export.JUDGES, export.table_of(export.JudgeRow, map(export.judge_row, found.judges))),
        (export.ANSWERS, export.unblinded(rows.items, rows.videos, rows.answers, out)),
    ):
        export.write_both(workspace, table, folder, name)


def _measured(workspace: Workspace, study: str) -> list[Measurement]:
    """Of the study's own videos: a system may have been measured in another study too."""
    rows = workspace.table("measurements").having("subject_kind", ["system"])
    return [row for row in rows if json.loads(row.protocol).get("set") == f"study {study}"]


def _page(workspace: Workspace, found: Findings) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from jobs.report import PLAYER

    ranked = tuple(each.system for each in found.counted.standings)
    values: Mapping[str, Any] = page_values(found) | {
        "measures": measures(_measured(workspace, found.study), list(dict.fromkeys(ranked + found.systems))),
        "files": FILES,
        "player": PLAYER,
        "player_hash": base64.b64encode(hashlib.sha256(PLAYER.encode()).digest()).decode(),
    }
    environment = Environment(loader=PackageLoader("jobs", "."), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("study.html.jinja").render(values)
