"""Where every clip went: the accounting of `pack`, of every clip and stage, none left out and none counted twice.

    clips x stages = used + rejected + waiting + no caption + too short + too slow + too small + in no bucket
                     + cannot decode + not finished

A bucket or a stage in which nothing landed is said aloud, since a trainer that finds it empty would learn nothing there
and never say so. The rows stay in the table `pack_fates`, for `trace`; which of them are the current ones is written
beside the names of the current shards.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from statistics import fmean

from rich.console import Console
from rich.table import Table
from rich.text import Text

from curation.buckets import StageBuckets
from curation.records import content_id
from curation.tables import PackFate, Workspace

MAX_REASONS = 5
WIDTH = 120  # of the printed table where there is no terminal


class Fate(StrEnum):
    """What can become of a clip in a stage. Exactly one of these does."""

    USED = "used"
    REJECTED_BY_GATES = "rejected by gates"
    WAITING = "waiting for people"
    REJECTED_BY_PEOPLE = "rejected by people"
    NO_CAPTION = "no caption"
    TOO_SHORT = "too short"
    TOO_SLOW = "too slow"
    TOO_SMALL = "too small"
    NO_BUCKET = "in no bucket"
    NOT_DECODED = "cannot decode"
    UNFINISHED = "not finished"


def unused(clip_id: str, stage: str, fate: Fate, reason: str, by: str = "") -> PackFate:
    """The row of a clip that gives no member."""
    return PackFate(clip_id, stage, "", fate, reason, by, "", 0, None, None)


def check_sum(fates: Iterable[PackFate], clip_ids: Iterable[str], stages: Iterable[str]) -> None:
    """See that every clip has exactly one fate in every stage.

    Raises:
        RuntimeError: some clip has none, or several: an error of Dailies.
    """
    found = Counter((fate.stage, fate.clip_id) for fate in fates)
    stages = list(stages)
    expected = {(stage, clip_id) for clip_id in clip_ids for stage in stages}
    lost, unknown = expected - found.keys(), found.keys() - expected
    twice = [key for key, count in found.items() if count > 1]
    if lost or unknown or twice:
        named = ", ".join(f"{stage}/{clip_id}" for stage, clip_id in sorted([*lost, *unknown, *twice])[:MAX_REASONS])
        raise RuntimeError(
            f"pack lost count: {len(expected)} clips x stages, of which {len(lost)} have no fate and {len(twice)} "
            f"have several, and {len(unknown)} that are no clips have one: {named}; please report this"
        )


def write_fates(workspace: Workspace, stage: str, fates: Sequence[PackFate]) -> str:
    """Keep the fates of one stage; returns their digest, which names them."""
    ordered = sorted((fate for fate in fates if fate.stage == stage), key=lambda fate: fate.clip_id)
    plan = content_id(stage, *ordered)
    workspace.table("pack_fates").append(f"{stage}-{plan}", [replace(fate, plan=plan) for fate in ordered])
    return plan


def show_fates(fates: Sequence[PackFate], stages: Mapping[str, StageBuckets], console: Console | None = None) -> None:
    """Print the table, then the buckets and the most frequent reasons of each stage."""
    console = console or Console(highlight=False)
    console = console if console.is_terminal else Console(file=console.file, width=WIDTH, highlight=False)
    by_stage = {stage: [fate for fate in fates if fate.stage == stage] for stage in stages}
    console.print(_table(by_stage))
    for stage, buckets in stages.items():
        _show_stage(console, stage, buckets, by_stage[stage])


def warnings(stage: str, buckets: StageBuckets, fates: Sequence[PackFate]) -> list[str]:
    """What of a stage is empty, in words."""
    if not any(fate.fate == Fate.USED for fate in fates):
        reasons = ", ".join(f"{count} {fate}" for fate, count in _counted(fate.fate for fate in fates))
        return [f"NOTHING WAS PACKED for stage {stage}: {reasons or 'there are no clips'}"]
    filled = _bucket_counts(fates)
    empty = [bucket.name for bucket in buckets.buckets() if bucket.name not in filled]
    if not empty:
        return []
    return [f"stage {stage} has empty buckets, {len(empty)} of {len(filled) + len(empty)}: {', '.join(empty)}"]


def _table(by_stage: Mapping[str, Sequence[PackFate]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("where every clip went")
    for stage in by_stage:
        table.add_column(stage, justify="right")
    counts = {stage: Counter(fate.fate for fate in fates) for stage, fates in by_stage.items()}
    for fate in Fate:
        if fate is Fate.USED or any(count[fate] for count in counts.values()):
            style = "green" if fate is Fate.USED else ""
            table.add_row(Text(f"  {fate}", style), *(f"{count[fate]}" for count in counts.values()))
    table.add_row(Text("= clips", "bold"), *(f"{count.total()}" for count in counts.values()))
    return table


def _show_stage(console: Console, stage: str, buckets: StageBuckets, fates: Sequence[PackFate]) -> None:
    used = [fate for fate in fates if fate.fate == Fate.USED]
    console.print()
    if used:
        console.print(Text.assemble((f"{stage}: ", "bold"), _how_used(used)), soft_wrap=True)
        for name, count in sorted(_bucket_counts(used).items()):
            console.print(f"  {count:6}  in {name}")
    for fate in Fate:
        out = [each for each in fates if each.fate == fate and fate is not Fate.USED]
        # The numbers of one clip are no kind to be counted, so such a fate shows its first clip instead.
        if fate in (Fate.TOO_SHORT, Fate.TOO_SLOW, Fate.TOO_SMALL, Fate.NO_BUCKET, Fate.NOT_DECODED) and out:
            console.print(Text(f"  {len(out):6}  {fate}, e.g. {out[0].clip_id}: {out[0].reason}"), soft_wrap=True)
        elif out:
            told = _counted(each.reason for each in out if each.reason)
            kinds = ", ".join(f"{count} {reason}" for reason, count in told[:MAX_REASONS])
            more = f", and {len(told) - MAX_REASONS} other reasons" if len(told) > MAX_REASONS else ""
            console.print(Text(f"  {len(out):6}  {fate}{f': {kinds}{more}' if kinds else ''}"), soft_wrap=True)
    for warning in warnings(stage, buckets, fates):
        console.print(Text(f"WARNING: {warning}", "bold red"), soft_wrap=True)


def _how_used(used: Sequence[PackFate]) -> str:
    cropped = [fate.cropped for fate in used if fate.cropped is not None]
    trimmed = [fate.trimmed_s for fate in used if fate.trimmed_s is not None]
    text = f"{_number(len(used), 'clip')} used, {_number(sum(fate.num_members for fate in used), 'member')}"
    text += f"; cropped by {fmean(cropped):.1%} on average, {max(cropped):.1%} at most"
    if trimmed:
        text += f"; trimmed by {fmean(trimmed):.2f} s on average, {max(trimmed):.2f} s at most"
    return text


def _bucket_counts(fates: Iterable[PackFate]) -> Counter[str]:
    """Clips in each bucket; a clip that is packed in several sizes counts in each."""
    return Counter(name for fate in fates for name in fate.bucket.split(",") if name)


def _counted(texts: Iterable[str]) -> list[tuple[str, int]]:
    return sorted(Counter(texts).items(), key=lambda item: (-item[1], item[0]))


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
