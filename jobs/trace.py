"""`dailies trace CLIP_ID`: why is this clip in the training set, or not, and who said so.

The beginning of an id is enough where it is unique. `--json` prints the same for programs.
"""

import argparse
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from curation.records import Annotation, ShardMember, to_row
from curation.tables import PackFate
from jobs.lineage import JudgedStage, Lineage, lineage

if TYPE_CHECKING:
    from jobs.config import Context

COLOURS = {"keep": "green", "pass": "green", "review": "yellow", "narrow": "yellow", "unknown": "yellow"}
CAPTION_FIELDS = ("short", "dense", "background", "style", "shot_type", "lighting", "atmosphere", "camera_movement")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("clip_id", metavar="CLIP_ID", help="id of a clip, or the beginning of it")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def run(context: "Context") -> int:
    found = lineage(context.workspace, context.args.clip_id)
    if context.args.json:
        print(found.to_json())
    else:
        show(found, Console(highlight=False))
    return 0


def show(found: Lineage, console: Console) -> None:
    """Print a lineage, one section per step of the line; what has not happened yet says so."""
    clip, video = found.clip, found.video
    console.print(Text.assemble(("clip ", "bold"), (clip.clip_id, "bold cyan")))
    _section(console, "source")
    console.print(
        f"{clip.uri}  {clip.start_s:.3f} s to {clip.end_s:.3f} s ({clip.duration_s:.2f} s, {clip.num_frames} frames)",
        markup=False,
    )
    if video is not None:
        console.print(
            f"video {video.video_id}, {video.codec} {video.width}x{video.height} at {video.frame_rate:.3g} frames/s"
            + (f", titled {video.title!r}" if video.title else ""),
            markup=False,
        )
    console.print(f"split by {clip.splitter}", markup=False)
    _rows(console, "scores", ("scorer", "value", "version"), [_score(row) for row in found.scores], "not scored")
    _section(console, "gates")
    for stage in found.gates:
        _show_stage(console, stage)
    if not found.gates:
        console.print("not judged yet; `dailies route` or `dailies pack` does it", style="dim")
    _show_people(console, found)
    _show_use(console, found)


def caption_text(fields: dict[str, str]) -> str:
    """The filled fields of a caption as one line; the short one without its name."""
    filled = [(name, fields[name]) for name in CAPTION_FIELDS if fields.get(name)]
    return " | ".join(text if name == "short" else f"{name.replace('_', ' ')}: {text}" for name, text in filled)


def answers_of(annotation: Annotation) -> dict[str, str]:
    """Question -> answer as text, the verdict first, caption fields left out."""
    answers = json.loads(annotation.answers)
    named = {name: value for name, value in answers.items() if name not in CAPTION_FIELDS}
    ordered = sorted(named.items(), key=lambda item: (item[0] != "verdict", item[0]))
    return {name: ", ".join(map(str, value)) if isinstance(value, list) else str(value) for name, value in ordered}


def _show_stage(console: Console, stage: JudgedStage) -> None:
    verdict = stage.verdict
    style = COLOURS.get(verdict.decision, "red")
    head = Text.assemble((f"{verdict.stage}: ", "bold"), (str(verdict.decision), style), f"  {verdict.reason}")
    head.append(f"  (by {verdict.by}, rules {verdict.rules_digest})", "dim")
    console.print(head)
    for rule in stage.rules:
        outcome = (f"  {rule.outcome:8}", COLOURS.get(rule.outcome, "red"))
        console.print(Text.assemble(outcome, f"{rule.text}", (f"  wanted {rule.scorer} {rule.bounds}", "dim")))
    if not stage.rules:
        console.print("  no rules, or their file is gone from the workspace", style="dim")


def _show_people(console: Console, found: Lineage) -> None:
    sent = [(task.project, task.reason) for task in found.tasks]
    _rows(console, "sent to people", ("project", "why"), sent, "never sent: no stage had a question about it")
    _section(console, "answers")
    for answer in found.annotations:
        head = Text(answer.annotator, "bold")
        head.append(" (SIMULATED)" if answer.simulated else "", "magenta")
        head.append(f"  {answer.updated_at}", "dim")
        head.append("  skipped" if answer.skipped else "")
        console.print(head)
        for name, value in answers_of(answer).items():
            console.print(f"  {name}: {value}", markup=False)
    if not found.annotations:
        console.print("nobody has answered", style="dim")
    resolved = [
        (row.decision, row.reason, f"{row.by}{' (SIMULATED)' if row.simulated else ''}", row.rule)
        for row in found.human_verdicts
    ]
    _rows(console, "resolved", ("decision", "why", "by", "rule"), resolved, "not resolved")
    captions = [(row.by, caption_text(to_row(row))) for row in found.captions]
    _rows(console, "captions", ("by", "text"), captions, "no caption")


def fate_text(row: PackFate) -> str:
    """What `pack` made of a clip in one stage, as a phrase."""
    if not row.num_members:
        return f"{row.fate}: {row.reason}" if row.reason else row.fate
    text = f"{row.fate} in {row.bucket}"
    text += f", {row.num_members} members" if row.num_members > 1 else ""
    text += f", cropped by {row.cropped:.1%}" if row.cropped is not None else ""
    return f"{text}, trimmed by {row.trimmed_s:.2f} s" if row.trimmed_s is not None else text


def _show_use(console: Console, found: Lineage) -> None:
    fates = [(row.stage, fate_text(row), row.by) for row in found.fates]
    _rows(console, "fate", ("stage", "what became of it", "by"), fates, "not packed yet")
    packed = [
        (
            each.member.stage,
            each.shard.uri if each.shard else f"{each.member.shard_id} (not in the index)",
            _shown_span(each.member),
            f"{each.member.index_in_shard}",
            f"{each.member.offset_bytes}",
            each.member.kept_by,
            each.member.caption_by,
        )
        for each in found.packed
    ]
    heads = ("stage", "shard", "shows", "index", "offset in bytes", "kept by", "caption by")
    _rows(console, "packed", heads, packed, "in no shard")
    reads = [(row.run_id, row.stage, f"{row.times}", f"{row.first_step} to {row.last_step}") for row in found.reads]
    reads += [(run, "held out", "0", "measured only") for run in found.held_out_of]
    _rows(console, "training", ("run", "stage", "times read", "steps"), reads, "no training stage has read it")
    if found.failures:
        failed = [(row.job, row.reason, row.detail) for row in found.failures]
        _rows(console, "failures", ("job", "reason", "detail"), failed, "")


def _shown_span(member: ShardMember) -> str:
    if member.start_s is None or member.end_s is None:
        return ""
    if member.start_s == member.end_s:
        return f"the frame at {member.start_s:.3f} s"
    return f"{member.start_s:.3f} to {member.end_s:.3f} s"


def _score(row: object) -> tuple[str, str, str]:
    fields = to_row(row)
    value = fields["value"]
    return fields["scorer"], f"{value:.5g}" if value is not None else f"failed: {fields['error']}", fields["version"]


def _section(console: Console, title: str) -> None:
    console.print(f"\n[bold]{title}[/bold]")


def _rows(console: Console, title: str, heads: Iterable[str], rows: list[tuple[str, ...]], none: str) -> None:
    _section(console, title)
    if not rows:
        console.print(none, style="dim")
        return
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console.print(table)
