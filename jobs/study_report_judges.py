"""What the study's page says of its judges: who is left out and what that changes, agreement, each judge's habits.

Judge, Agreement, results without and with those left out --> dict, for the Judges section of study.html.jinja
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from annotation.agreement import NOT_A_GATE, Agreement
from annotation.study.axes import OVERALL
from annotation.study.intervals import Interval
from annotation.study.judges import Check, Judge
from annotation.study.pages import TITLES
from jobs.study_drawn import Drawn, Track, track
from jobs.study_figures import Result, interval_of


@dataclass(frozen=True)
class JudgeCell:
    """One figure of one judge: text alone, or drawn."""

    text: str = ""
    drawn: Drawn | None = None


@dataclass(frozen=True)
class _Column:
    title: str
    known: Callable[[Judge], bool]
    cell: Callable[[Judge], JudgeCell]


def judge_values(
    judges: Sequence[Judge],
    simulated: frozenset[str],
    agreement: Sequence[Agreement],
    side_a: Interval | None,
    rule: str,
    results: tuple[Result, Result | None],
    scale: Callable[..., Track],
) -> dict[str, Any]:
    """The section's values.

    Args:
        side_a: share of side A among all decided answers; None in the absolute design.
        results: without those left out, and with everybody; the latter None where nobody is left out.
        scale: of the results' figures, as the rest of the page draws them.
    """
    columns = [column for column in _columns(judges) if any(column.known(judge) for judge in judges)]
    return {
        "rule": rule,
        "judges": [
            {
                "name": judge.name.split("@")[0],
                "simulated": judge.name in simulated,
                "cells": [column.cell(judge) for column in columns],
                "out": bool(judge.failed),
            }
            for judge in sorted(judges, key=lambda judge: (not judge.failed, judge.name))
        ],
        "judge_titles": [column.title for column in columns],
        "excluded": [(judge.name.split("@")[0], "; ".join(judge.failed)) for judge in judges if judge.failed],
        **_both(*results, scale),
        **_agreement(agreement),
        "habits": _habits(judges, side_a),
    }


def _columns(judges: Sequence[Judge]) -> list[_Column]:
    def drawn(title: str, of: Callable[[Judge], Interval], factor: float, **scaled: Any) -> _Column:
        scale = track([of(judge) for judge in judges], factor=factor, **scaled)
        return _Column(
            title, lambda judge: _known(of(judge).value), lambda judge: JudgeCell(drawn=scale.drawn(of(judge)))
        )

    def plain(title: str, of: Callable[[Judge], float], form: str) -> _Column:
        return _Column(
            title,
            lambda judge: _known(of(judge)),
            lambda judge: JudgeCell(form.format(of(judge)) if _known(of(judge)) else "–"),
        )

    def check(title: str, of: Callable[[Judge], Check]) -> _Column:
        return _Column(title, lambda judge: of(judge).items > 0, lambda judge: JudgeCell(_checked(of(judge))))

    return [
        plain("answers", lambda judge: judge.answers, "{:,}"),
        plain("seconds, median", lambda judge: judge.median_s, "{:.1f}"),
        drawn("agreement, kappa", lambda judge: judge.agreement.found, 1, decimals=2, mark=0.0),
        drawn("side A, %", lambda judge: judge.side_a, 100, decimals=0, mark=0.5),
        plain("ties", lambda judge: judge.tie_share, "{:.0%}"),
        plain("passed", lambda judge: judge.pass_share, "{:.0%}"),
        check("repeats alike", lambda judge: judge.repeats),
        check("identical tied", lambda judge: judge.identical),
        check("gold right", lambda judge: judge.gold),
    ]


def _known(value: float) -> bool:
    return not math.isnan(value)


def _checked(check: Check) -> str:
    return f"{check.found.value:.0%} of {check.items}" if check.items else "–"


def _both(counted: Result, everybody: Result | None, scale: Callable[..., Track]) -> dict[str, Any]:
    if everybody is None:
        return {"both": []}
    own = {each.system: each for each in counted.standings}
    common = scale([each.axes[OVERALL] for result in (counted, everybody) for each in result.standings])
    rows = []
    for each in everybody.standings:
        pairs = [
            (str(found.rank), common.drawn(found.axes[OVERALL])) if found else ("–", Drawn("–"))
            for found in (own.get(each.system), each)
        ]
        rows.append({"system": each.system, "results": pairs})
    order = {each.system: place for place, each in enumerate(counted.standings)}
    return {"both": sorted(rows, key=lambda row: order.get(row["system"], len(order)))}


def _agreement(rows: Sequence[Agreement]) -> dict[str, Any]:
    known = [each for each in rows if each.num_pairs]
    intervals = [interval_of(each) for each in known]
    scale = track(intervals, factor=1, decimals=2, mark=0.0, within=(-1.0, 1.0))
    return {
        "alpha_scale": scale,
        "about_alpha": f"{NOT_A_GATE[0].upper()}{NOT_A_GATE[1:]}.",
        "agreement": [
            {
                "title": TITLES.get(each.question, each.question),
                "num_items": each.num_clips,
                "share": f"{each.share or 0:.0%}",
                "alpha": scale.drawn(interval),
            }
            for each, interval in zip(known, intervals, strict=True)
        ],
    }


def _habits(judges: Sequence[Judge], side_a: Interval | None) -> str:
    parts = []
    if side_a is not None and _known(side_a.value):
        drawn = Track(0.0, 1.0).drawn(side_a)
        parts.append(f"Of the decided answers, {drawn.value} % ({drawn.reach}) were for side A.")
    if paces := [judge.median_s for judge in judges if _known(judge.median_s)]:
        parts.append(f"The typical judge took {median(paces):.1f} s for an item, the fastest {min(paces):.1f} s.")
    return " ".join(parts)
