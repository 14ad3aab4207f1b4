"""The report's charts, as SVG text that sits in the page: histograms with their gates, people, losses, measures.

Drawn by matplotlib's object API, without dates or random ids, so the same rows give the same bytes. Lines and letters
are drawn in stand-in colours that are then replaced by the page's CSS variables, so one picture serves light and dark.
"""

import html
import io
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from annotation.agreement import PUBLISHED_ALPHA, Agreement
from annotation.annotators import Annotator
from curation.gates import GateRule

INK, FAINT, BAR, KEEP, REVIEW, REJECT, TRAIN, HELD_OUT = (
    "#010101", "#020202", "#030303", "#040404", "#050505", "#060606", "#070707", "#080808",
)  # fmt: skip
_CSS = {
    INK: "var(--ink)",
    FAINT: "var(--faint)",
    BAR: "var(--bar)",
    KEEP: "var(--keep)",
    REVIEW: "var(--review)",
    REJECT: "var(--reject)",
    TRAIN: "var(--train)",
    HELD_OUT: "var(--held-out)",
}
MAX_BINS = 40
MAX_LABEL_CHARACTERS = 60
PANELS_PER_ROW = 4
SMOOTHING_SHARE = 0.04  # of a stage's steps: the width of the running mean
STYLE: dict[Any, Any] = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "text.parse_math": False,
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "grid.alpha": 0.5,
}


@dataclass(frozen=True)
class Curve:
    """Losses of one training stage: every step, and the held-out measurements."""

    stage: str
    steps: Sequence[int]
    losses: Sequence[float]
    held_out_steps: Sequence[int]
    held_out_losses: Sequence[float]


def histogram(scorer: str, unit: str, values: Sequence[float], rules: Mapping[str, GateRule]) -> str:
    """How a score is spread over the clips, and below it what each stage's gate makes of every value.

    Args:
        values: one per clip, finite.
        rules: stage -> its rule on this scorer; stages without one are left out.
    """
    bounds = [
        bound
        for rule in rules.values()
        for bound in (rule.min, rule.max, rule.review_min, rule.review_max)
        if bound is not None
    ]
    logarithmic = _spread_out(values)
    low, high = _range([*values, *(bound for bound in bounds if bound > 0 or not logarithmic)], logarithmic)
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": f"histogram {scorer}"}):
        figure = Figure(figsize=(6.2, 2.3 + 0.24 * len(rules)), layout="constrained")
        upper, lower = figure.subplots(
            2, 1, sharex=True, height_ratios=(8, max(0.4, 1.25 * len(rules))), gridspec_kw={"hspace": 0.02}
        )
        num_bins = min(MAX_BINS, 10 + len(values) // 4)
        edges = np.geomspace(low, high, num_bins + 1) if logarithmic else np.linspace(low, high, num_bins + 1)
        upper.hist(np.clip(values, low, high), bins=edges.tolist(), color=BAR)
        upper.set_ylabel("clips")
        upper.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        upper.grid(axis="y")
        upper.set_axisbelow(True)
        for bound in bounds:
            upper.axvline(max(bound, low), color=INK, linewidth=0.8, linestyle=(0, (2, 3)))
        _gate_strips(lower, rules, low, high)
        if logarithmic:
            lower.set_xscale("log")
            lower.xaxis.set_major_formatter(FuncFormatter(_plain))
            lower.xaxis.set_minor_formatter(NullFormatter())
        lower.set_xlim(low, high)
        lower.set_xlabel(textwrap.fill(f"{scorer}: {unit}" if unit else scorer, MAX_LABEL_CHARACTERS))
        return as_svg(figure, f"Histogram of {scorer} over {len(values)} clips")


def loss_curve(curve: Curve) -> str:
    """Training loss per step (dots), its running mean (line) and the held-out loss (diamonds), over steps."""
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": f"loss {curve.stage}"}):
        figure = Figure(figsize=(6.2, 3.0), layout="constrained")
        axes = figure.subplots()
        if curve.steps:
            axes.plot(curve.steps, curve.losses, ".", color=TRAIN, markersize=3, alpha=0.35, label="each step")
            width = max(1, round(SMOOTHING_SHARE * len(curve.steps)))
            mean = running_mean(curve.losses, width)
            axes.plot(curve.steps, mean, color=TRAIN, linewidth=1.6, label=f"mean of the last {width} steps")
        if curve.held_out_steps:
            style = {"color": HELD_OUT, "linewidth": 1.2, "marker": "D", "markersize": 5}
            axes.plot(curve.held_out_steps, curve.held_out_losses, label="held-out clips", **style)
        everything = [*curve.losses, *curve.held_out_losses]
        if min(everything) > 0 and max(everything) / min(everything) > 30:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FuncFormatter(_plain))
            axes.yaxis.set_minor_formatter(NullFormatter())
        else:
            axes.set_ylim(bottom=min(0.0, *everything))
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("loss")
        axes.grid()
        axes.legend(frameon=False, labelcolor=INK, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0)
        return as_svg(figure, f"Loss of training stage {curve.stage}")


def crowd_chart(people: Sequence[Annotator]) -> str:
    """One row per annotator: what they keep and how they rate beside the others, and drafts sent back unchanged."""
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "crowd"}):
        figure = Figure(figsize=(12.4, 1.1 + 0.3 * len(people)), layout="constrained")
        keeps, rates, stamps = figure.subplots(1, 3, sharey=True)
        places = range(len(people))
        for axes, differences, scale in (
            (keeps, [each.keeps_more for each in people], 100),
            (rates, [each.rates_higher for each in people], 1),
        ):
            axes.axvline(0, color=INK, linewidth=0.8)
            for place, each in zip(places, differences, strict=True):
                if each is not None:
                    reach = 2 * scale * (each.error or 0)
                    axes.errorbar(scale * each.mean, place, xerr=reach, fmt="o", color=TRAIN, markersize=5)
        stamps.barh(places, [100 * (each.stamped_share or 0) for each in people], height=0.55, color=BAR)
        stamps.set_xlim(0, 100)
        keeps.set_xlabel("keeps more than the others, points")
        rates.set_xlabel("rates higher than the others, levels")
        stamps.set_xlabel("drafts sent back unchanged, %")
        keeps.set_yticks(places, [each.name.split("@")[0] for each in people])
        keeps.set_ylim(len(people) - 0.5, -0.5)
        for axes in (keeps, rates, stamps):
            axes.grid(axis="x")
            axes.set_axisbelow(True)
            axes.tick_params(axis="y", length=0)
        return as_svg(figure, f"{len(people)} annotators beside each other")


def agreement_chart(rows: Sequence[tuple[str, Agreement]]) -> str:
    """Alpha per question with its interval, over the band of agreement that is published for video."""
    known = [(title, (each.low, each.high), each.alpha) for title, each in rows if each.alpha is not None]
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "agreement"}):
        figure = Figure(figsize=(6.2, 1.0 + 0.3 * len(known)), layout="constrained")
        axes = figure.subplots()
        axes.axvspan(*PUBLISHED_ALPHA, color=FAINT, alpha=0.4)
        axes.axvline(0, color=INK, linewidth=0.8)
        for place, (_, interval, alpha) in enumerate(known):
            axes.plot(finite(interval), [place] * len(finite(interval)), color=TRAIN, linewidth=1.6)
            axes.plot([alpha], [place], "o", color=TRAIN, markersize=5)
        axes.set_yticks(range(len(known)), [title for title, *_ in known])
        axes.set_ylim(len(known) - 0.5, -0.5)
        axes.set_xlim(right=1)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("Krippendorff's alpha, 95 % interval; grey: published for video")
        axes.grid(axis="x")
        return as_svg(figure, f"Agreement, questions: {len(known)}")


def measure_curves(title: str, panels: Mapping[str, Mapping[str, Sequence[tuple[int, float]]]]) -> str:
    """One panel per measure, in rows of PANELS_PER_ROW.

    Args:
        panels: measure -> name of the line -> its (step, value), by step.
    """
    columns = min(len(panels), PANELS_PER_ROW)
    rows = math.ceil(len(panels) / columns)
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": f"measures {title}"}):
        figure = Figure(figsize=(3.1 * columns, 2.5 * rows), layout="constrained")
        everything = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, (measure, lines) in zip(everything, panels.items(), strict=False):
            for place, (name, points) in enumerate(lines.items()):
                share = place / max(len(lines) - 1, 1)
                steps, values = zip(*points, strict=True)
                colour = TRAIN if len(lines) == 1 else INK if 0 < share < 1 else HELD_OUT if share else TRAIN
                axes.plot(steps, values, "o-", color=colour, markersize=4, linewidth=1.4, label=name)
                if len(lines) > 1:
                    axes.annotate(name, points[-1], xytext=(5, -3), textcoords="offset points", fontsize=8.5)
            axes.set_title(measure, fontsize=10.5)
            axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
            axes.margins(x=0.18 if len(lines) > 1 else 0.05, y=0.1)
            axes.set_xlabel("step")
            axes.grid()
        for axes in everything[len(panels) :]:
            axes.set_visible(False)
        return as_svg(figure, f"Measures of {title} over training steps")


def running_mean(values: Sequence[float], width: int) -> np.ndarray:
    """Mean of each value and up to `width` - 1 before it, float64 of the same length."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - width)
    return (sums[ends] - sums[starts]) / (ends - starts)


def _gate_strips(axes: Axes, rules: Mapping[str, GateRule], low: float, high: float) -> None:
    """One row per stage: red where its rule rejects, amber where a person decides, green where it passes."""
    for row, rule in enumerate(rules.values()):
        lower = low if rule.min is None else max(low, rule.min)
        upper = high if rule.max is None else min(high, rule.max)
        band_low = lower if rule.review_min is None else max(low, rule.review_min)
        band_high = upper if rule.review_max is None else min(high, rule.review_max)
        spans = {(low, high): REJECT}  # each lies over the one before; equal spans are painted once
        spans |= {(band_low, band_high): REVIEW}
        spans |= {(lower, upper): KEEP}
        for (start, end), colour in spans.items():
            axes.barh(row, end - start, left=start, height=0.62, color=colour)
    axes.set_yticks(range(len(rules)), list(rules))
    axes.set_ylim(len(rules) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)


def _plain(value: float, _position: int | None = None) -> str:
    return f"{value:g}"


def _spread_out(values: Sequence[float]) -> bool:
    """Whether positive values span so many sizes that a linear axis would crowd most of them into one bar."""
    if len(values) < 2 or min(values) <= 0:
        return False
    middle, top = np.percentile(values, (50, 98))
    return bool(top > 8 * middle)


def _range(values: Sequence[float], logarithmic: bool) -> tuple[float, float]:
    low, high = min(values), max(values)
    if logarithmic:
        return low / 1.15, high * 1.15
    margin = 0.04 * (high - low) or max(abs(high), 1.0) * 0.1
    return (max(0.0, low - margin) if low >= 0 else low - margin), high + margin


def as_svg(figure: Figure, title: str) -> str:
    """The figure as an <svg> element that scales with its box and names itself to screen readers."""
    sink = io.StringIO()
    FigureCanvasSVG(figure).print_svg(sink, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = sink.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    referenced = set(re.findall(r"#([\w-]+)", text))
    text = re.sub(r' id="([\w.-]+)"', lambda match: match[0] if match[1] in referenced else "", text)
    for stand_in, variable in _CSS.items():
        text = text.replace(stand_in, variable)
    text = re.sub(r'(<svg[^>]*?) width="[\d.]+pt" height="[\d.]+pt"', r"\1", text, count=1)
    return text.replace("<svg", f'<svg role="img" aria-label="{html.escape(title)}"', 1)


def finite(values: Sequence[float | None]) -> list[float]:
    """The values that are numbers."""
    return [value for value in values if value is not None and math.isfinite(value)]
