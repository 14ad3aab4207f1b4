"""`dailies annotators`: how far people agree on each question, and each annotator beside the others.

    annotations less withdrawn --agreements--> a line per question: share, alpha, interval
                               --annotators (+ annotation.gold)--> a line per person, and remarks on who stands out

Reads only what `collect` has kept, needs no server, and decides nothing. `--json` and `--csv` write the same for
programs and spreadsheets, shares from 0 to 1 there.
"""

import argparse
import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from annotation.agreement import NOT_A_GATE, Agreement, agreements
from annotation.annotators import Annotator, Difference, annotators
from annotation.ballots import answer_rows, withdrawn_keys
from annotation.gold import GoldItem, load_gold
from annotation.project import SCREEN
from curation.tables import Workspace

if TYPE_CHECKING:
    from jobs.config import Context

LEAST_COLUMNS = 180  # figures cut off in a narrow terminal or a pipe help nobody; a wrapped line can be read
CSV_COLUMNS = (
    "name", "simulated", "answers", "keep", "reject", "skipped", "keeps_more", "keeps_more_error", "shared_clips",
    "rates_higher", "rates_higher_error", "median_lead_time_s", "answers_per_hour", "drafted", "stamped",
    "alpha_verdict", "alpha_ratings", "gold_right", "gold_asked", "gold_low", "gold_high", "remarks",
)  # fmt: skip


@dataclass(frozen=True)
class Crowd:
    """Everybody's figures, and how far they agree."""

    agreements: tuple[Agreement, ...]
    annotators: tuple[Annotator, ...]
    num_withdrawn: int
    num_gold_clips: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", metavar="FILE", help="write the figures for programs")
    parser.add_argument("--csv", metavar="FILE", help="write one line per annotator for a spreadsheet")


def run(context: "Context") -> int:
    settings = context.recipe.annotation
    gold = load_gold(settings.gold) if settings.gold else ()
    crowd = measure(context.workspace, gold, settings.seed)
    console = Console(highlight=False, soft_wrap=True)
    console.width = max(console.width, LEAST_COLUMNS)
    show(crowd, console)
    if context.args.json:
        Path(context.args.json).write_text(json.dumps(crowd_tree(crowd), indent=1, ensure_ascii=False) + "\n")
    if context.args.csv:
        Path(context.args.csv).write_text(crowd_csv(crowd.annotators))
    return 0


def measure(workspace: Workspace, gold: Sequence[GoldItem] = (), seed: int = 0) -> Crowd:
    """The figures of everybody whose answers were collected and are still on the server."""
    rows, withdrawn = answer_rows(workspace.table("annotations")), withdrawn_keys(workspace.table("withdrawals"))
    return Crowd(
        tuple(agreements(rows, withdrawn, seed)),
        tuple(annotators(rows, gold, withdrawn)),
        len(withdrawn),
        len({item.clip_id for item in gold}),
    )


def show(crowd: Crowd, console: Console) -> None:
    """Print the tables; figures that cannot be told are a dash."""
    if not crowd.annotators:
        console.print("annotators: nobody has answered; `dailies collect` pulls what there is")
        return
    _print(console, ("question", "clips", "pairs", "same answer", "alpha", "95 % interval"), _agreement_rows(crowd))
    console.print(f"{NOT_A_GATE}.\n", style="dim")
    heads = (
        "annotator", "answers", "keep", "reject", "skip", "keeps more", "rates higher", "median s", "per hour",
        "as drafted", "alpha", "of ratings", "gold right",
    )  # fmt: skip
    _print(console, heads, [_annotator_row(each) for each in crowd.annotators])
    console.print(
        "keeps more: points of share kept over the others on the same clips, and rates higher: levels over theirs, "
        "each +- 2 standard errors;\nas drafted: answers whose drafts came back unchanged; alpha: against all others.",
        style="dim",
    )
    for each in crowd.annotators:
        for remark in each.remarks:
            console.print(Text.assemble((each.name, "bold"), f" {remark}"))
    if crowd.num_withdrawn:
        console.print(f"{crowd.num_withdrawn} answers that were deleted on the server are left out")
    if crowd.num_gold_clips and not any(each.gold for each in crowd.annotators):
        console.print(f"nobody has answered any of the {crowd.num_gold_clips} gold clips")


def crowd_tree(crowd: Crowd) -> dict[str, Any]:
    """The figures as JSON holds them."""
    return {
        "note": NOT_A_GATE,
        "num_withdrawn": crowd.num_withdrawn,
        "agreement": [asdict(each) for each in crowd.agreements],
        "annotators": [asdict(each) for each in crowd.annotators],
    }


def crowd_csv(people: Sequence[Annotator]) -> str:
    """One line per annotator; what cannot be told is empty."""
    sink = io.StringIO()
    writer: csv.DictWriter[str] = csv.DictWriter(sink, CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for each in people:
        keeps, rates, gold = each.keeps_more, each.rates_higher, each.gold
        row = vars(each) | {
            "keeps_more": keeps and keeps.mean,
            "keeps_more_error": keeps and keeps.error,
            "shared_clips": keeps and keeps.num_clips,
            "rates_higher": rates and rates.mean,
            "rates_higher_error": rates and rates.error,
            "gold_right": gold and gold.right,
            "gold_asked": gold and gold.asked,
            "gold_low": gold and gold.low,
            "gold_high": gold and gold.high,
            "remarks": "; ".join(each.remarks),
        }
        writer.writerow(row)
    return sink.getvalue()


def _agreement_rows(crowd: Crowd) -> list[tuple[str, ...]]:
    return [
        (
            SCREEN.questions[each.question].title,
            f"{each.num_clips}",
            f"{each.num_pairs}",
            _number(each.share, ".0%"),
            _number(each.alpha, ".2f"),
            "-" if each.low is None or each.high is None else f"{each.low:.2f} to {each.high:.2f}",
        )
        for each in crowd.agreements
    ]


def _annotator_row(each: Annotator) -> tuple[str, ...]:
    gold = each.gold
    return (
        f"{each.name}{' (SIMULATED)' if each.simulated else ''}",
        f"{each.answers}",
        f"{each.keep}",
        f"{each.reject}",
        f"{each.skipped}",
        _difference(each.keeps_more, 100, ".0f"),
        _difference(each.rates_higher, 1, ".2f"),
        _number(each.median_lead_time_s, ".1f"),
        _number(each.answers_per_hour, ".0f"),
        "-" if each.stamped_share is None else f"{each.stamped_share:.0%} of {each.drafted}",
        _number(each.alpha_verdict, ".2f"),
        _number(each.alpha_ratings, ".2f"),
        "-" if gold is None else f"{gold.share:.0%} of {gold.asked} ({gold.low:.0%} to {gold.high:.0%})",
    )


def _difference(each: Difference | None, scale: float, form: str) -> str:
    if each is None:
        return "-"
    reach = "" if each.error is None else f" +- {2 * scale * each.error:{form}}"
    return f"{scale * each.mean:+{form}}{reach}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"


def _print(console: Console, heads: Sequence[str], rows: Sequence[tuple[str, ...]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for place, head in enumerate(heads):
        table.add_column(head, justify="right" if place else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
