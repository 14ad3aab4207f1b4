"""A study's findings as the values that its page shows: texts, tables, and where every interval is drawn.

    Findings --standing, contest, kind, judge by judge--> dict --study.html.jinja--> page

Each column of figures has one scale (jobs/study_drawn.py). The first screen answers two questions: who leads, and is
that settled; everything below says how sure that is and what it rests on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from annotation.agreement import Agreement
from annotation.study.axes import OVERALL, Design
from annotation.study.intervals import Interval
from annotation.study.judges import Judge
from annotation.study.pages import TITLES
from annotation.study.planning import Remaining, State
from jobs.study_drawn import Drawn, track
from jobs.study_figures import Contest, Result, Slice, Standing, turned
from jobs.study_players import Exhibit
from jobs.study_report_judges import judge_values

MOST_SHADE = 42  # percent of colour behind a net win rate of 1/2 or more


@dataclass(frozen=True)
class Findings:
    """All that the page says."""

    study: str
    design: Design
    num_prompts: int
    systems: tuple[str, ...]
    counted: Result  # of the judges that count
    everybody: Result | None  # None where nobody is left out
    judges: Sequence[Judge]
    agreement: Sequence[Agreement]
    exhibits: Sequence[Exhibit]
    num_answers: int
    num_simulated: int
    simulated: frozenset[str]  # judges who are
    side_a: Interval | None  # share of it among decided answers; pairwise
    rule: str
    notes: tuple[str, ...]
    accounts: tuple[tuple[str, str], ...]  # name, equation
    missing: tuple[tuple[str, str, str], ...]  # system, prompt, reason
    method: str


def page_values(found: Findings) -> dict[str, Any]:
    """What the template reads, but for measures, scripts and files."""
    pairwise, counted = found.design is Design.PAIRWISE, found.counted
    return {
        "study": found.study,
        "subtitle": _subtitle(found),
        "headline": headline(found),
        "simulated": _simulated(found),
        "notes": [*_notes(found), *found.notes],
        "meaning": _meaning(found),
        "main_title": "net wins, points" if pairwise else "pass all three, %",
        "tallied": pairwise,
        "settled_text": _settled_text(found),
        **_standings(counted, pairwise),
        **_contests(found),
        **(_matrix(counted) if pairwise and len(counted.standings) > 2 else {"matrix": []}),
        "slices": _slices(counted, pairwise),
        "examples": found.exhibits,
        "examples_text": "For neighbours in the ranking: the prompt on which judges were most clearly for the better "
        "one, then the one on which they were most clearly for the other.",
        **judge_values(
            found.judges,
            found.simulated,
            found.agreement,
            found.side_a,
            found.rule,
            (counted, found.everybody),
            lambda figures: _rates(figures, pairwise),
        ),
        "accounts": [{"name": name, "text": text} for name, text in found.accounts],
        "missing": [{"system": system, "prompt": prompt, "reason": reason} for system, prompt, reason in found.missing],
        "method": found.method,
    }


def headline(found: Findings) -> str:
    """Who leads, by which figure, and over whom that is settled."""
    if not found.counted.standings:
        return "No answers yet."
    first, *others = found.counted.standings
    scale = track([first.axes[OVERALL]], signed=found.design is Design.PAIRWISE)
    drawn = scale.drawn(first.axes[OVERALL])
    reach = f" ({drawn.reach})" if drawn.reach else ""
    if found.design is Design.PAIRWISE:
        said = f"its wins less its losses are {drawn.value} points{reach}"
    else:
        said = f"{drawn.value} %{reach} of its videos pass all three axes"
    if not others:
        return f"{first.system}: {said}."
    against = {each.second if each.first == first.system else each.first: each for each in _of(first, found.counted)}
    behind = [name for name, each in against.items() if each.settled and each.first == first.system]
    still = [each.system for each in others if each.system not in behind]
    if not still:
        return f"{first.system} leads, and that is settled: {said}."
    if not behind:
        return f"{first.system} is ahead, but nothing is settled: {said}."
    return f"{first.system} is ahead: {said}. Settled against {_listed(behind)}; open against {_listed(still)}."


def _of(standing: Standing, result: Result) -> list[Contest]:
    return [each for each in result.contests if standing.system in (each.first, each.second)]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _subtitle(found: Findings) -> str:
    what = "which of two videos is better" if found.design is Design.PAIRWISE else "each video alone, pass or fail"
    judges = len(found.judges)
    return (
        f"Blind, {what}: {found.num_prompts:,} prompts, {len(found.systems)} systems, "
        f"{judges} judge{'' if judges == 1 else 's'}, {found.num_answers:,} answers"
    )


def _simulated(found: Findings) -> str:
    if not found.num_simulated:
        return ""
    return (
        f"{found.num_simulated:,} of {found.num_answers:,} answers were made by simulated judges, not by people: they "
        "say nothing about the systems, only that the line works."
    )


def _notes(found: Findings) -> list[str]:
    out, notes = [judge for judge in found.judges if judge.failed], []
    if found.everybody is not None:
        same = [each.system for each in found.everybody.standings] == [each.system for each in found.counted.standings]
        order = "is the same" if same else "differs"
        notes.append(
            f"{len(out)} of {len(found.judges)} judges failed the checks and are left out; with everybody the ranking "
            f"{order} (see Judges)."
        )
    if found.counted.standings and not found.counted.over_judges:
        notes.append(
            "Too few judges to speak of others: intervals say what other prompts might have given, with these judges."
        )
    return notes


def _meaning(found: Findings) -> str:
    if found.design is Design.PAIRWISE:
        return (
            "Net wins: of 100 comparisons, those won less those lost. Ranked by strength (Bradley-Terry with ties: "
            "mean 1000, 400 apart are odds of 10 to 1). May be: the ranks that 95 % of resamples leave open."
        )
    return "May be: the ranks that settled differences leave open."


def _standings(result: Result, pairwise: bool) -> dict[str, Any]:
    axes = [axis for axis in TITLES if axis != OVERALL and all(axis in each.axes for each in result.standings)]
    main = _rates((each.axes[OVERALL] for each in result.standings), pairwise)
    scales = {axis: _rates((each.axes[axis] for each in result.standings), pairwise) for axis in axes}
    strong = track((each.strength for each in result.standings if each.strength), factor=1, decimals=0)
    return {
        "main_scale": main,
        "axis_titles": [TITLES[axis].split()[0].lower() for axis in axes],
        "strengths": pairwise,
        "standings": [
            {
                "rank": each.rank,
                "ranks": f"{each.best}" if each.best == each.worst else f"{each.best} to {each.worst}",
                "system": each.system,
                "strength": strong.drawn(each.strength) if each.strength else None,
                "overall": main.drawn(each.axes[OVERALL]),
                "axes": [scales[axis].drawn(each.axes[axis]) for axis in axes],
                "answers": each.answers,
            }
            for each in result.standings
        ],
    }


def _rates(figures: Any, pairwise: bool) -> Any:
    return track(figures, signed=pairwise, within=(-1.0, 1.0) if pairwise else (0.0, 1.0))


def _contests(found: Findings) -> dict[str, Any]:
    contests = found.counted.contests
    scale = track((each.difference for each in contests), signed=True)
    return {
        "contest_scale": scale,
        "contests": [
            {
                "first": each.first,
                "second": each.second,
                "difference": scale.drawn(each.difference),
                "settled": each.settled,
                "state": "settled"
                if each.settled
                else "negligible"
                if each.remaining.state is State.NEGLIGIBLE
                else "open",
                "needs": _needs(each.remaining),
                "again": place > 0 and contests[place - 1].first == each.first,
                "counts": "won {}, tied {}, lost {}".format(*each.counts) if each.counts else "",
                "shares": _shares(each.counts),
            }
            for place, each in enumerate(contests)
        ],
    }


def _needs(still: Remaining) -> str:
    """What would settle a difference, to two digits: it rests on a guess that nothing else changes."""
    if still.state in (State.SETTLED, State.NEGLIGIBLE):
        return ""
    if still.state is not State.ANSWERS:
        return still.words
    return f"about {float(f'{still.answers:.2g}'):,.0f} more answers, {still.times:.1f} times as many"


def _shares(counts: tuple[int, int, int] | None) -> list[tuple[str, float]]:
    if counts is None:
        return []
    total = max(sum(counts), 1)
    return [
        (kind, round(100 * number / total, 2)) for kind, number in zip(("won", "tied", "lost"), counts, strict=True)
    ]


def _settled_text(found: Findings) -> str:
    contests = found.counted.contests
    settled = sum(each.settled for each in contests)
    text = f"{settled} of {len(contests)} differences settled: 0 lies outside the 95 % interval."
    if settled < len(contests):
        text += " For the open ones: what would settle them if they stay as large as they are."
    return text


def _matrix(result: Result) -> dict[str, Any]:
    names = [each.system for each in result.standings]
    scale = track([], signed=True)
    net: dict[tuple[str, str], tuple[Interval, bool]] = {}
    for each in result.contests:
        net[each.first, each.second] = each.difference, each.settled
        net[each.second, each.first] = turned(each.difference), each.settled
    rows = []
    for row in names:
        cells = []
        for column in names:
            if (row, column) not in net:
                cells.append(None)
                continue
            interval, settled = net[row, column]
            drawn = scale.drawn(interval)
            shade = round(max(-1.0, min(1.0, 2 * interval.value)) * MOST_SHADE)
            cells.append({"value": drawn.value, "title": drawn.title, "settled": settled, "shade": shade})
        rows.append((row, cells))
    return {"matrix": rows, "matrix_names": names, "matrix_title": "Net wins of each over each"}


def _slices(result: Result, pairwise: bool) -> list[tuple[str, list[str], list[tuple[str, int, list[Drawn]]]]]:
    names = [each.system for each in result.standings]
    by_column: dict[str, list[Slice]] = {}
    for each in result.slices:
        by_column.setdefault(each.column, []).append(each)
    nothing = Interval(math.nan, math.nan, math.nan)
    found = []
    for column, slices in by_column.items():
        scale = _rates((interval for each in slices for interval in each.overall.values()), pairwise)
        rows = [
            (each.value, each.prompts, [scale.drawn(each.overall.get(name, nothing)) for name in names])
            for each in slices
        ]
        found.append((column, names, rows))
    return found
