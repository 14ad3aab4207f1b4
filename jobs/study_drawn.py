"""Figures with their intervals, ready for a page: the number, what it may be, and where both lie on a drawn track.

    Interval --Track (one scale for a column)--> Drawn: "41.3", "38.9 to 43.8", percents of the track's width

One scale per column is what lets the eye compare: intervals that overlap on the page overlap in truth. Tracks are
spans of a table's cell placed by percents, so a page of thousands of intervals needs no pictures.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from annotation.study.intervals import Interval

MARGIN = 0.04  # of the scale, at both ends
NARROWEST = 0.02  # of a figure's unit: a scale is at least that wide


@dataclass(frozen=True)
class Drawn:
    """One figure. Places are percents of the track's width; `left` is None where there is no interval to draw."""

    value: str
    reach: str = ""
    dot: float | None = None
    left: float | None = None
    width: float = 0.0
    mark: float | None = None  # what the column's figures are held to
    settled: bool = False  # the interval does not hold 0

    @property
    def title(self) -> str:
        return f"{self.value} ({self.reach})" if self.reach else self.value


@dataclass(frozen=True)
class Track:
    """A column's common scale, in the figures' own unit; shown times `factor` with `decimals`."""

    low: float
    high: float
    factor: float = 100.0
    decimals: int = 1
    signed: bool = False
    mark: float | None = None  # the value that figures are held to: no difference, chance

    @property
    def marked(self) -> float | None:
        """Where that value lies, in percents; None where there is none, or the scale does not hold it."""
        return None if self.mark is None or not self.low < self.mark < self.high else self.place(self.mark)

    @property
    def ends(self) -> tuple[str, str]:
        decimals = 0 if self.factor * (self.high - self.low) >= 5 else self.decimals
        return self._text(self.low, decimals), self._text(self.high, decimals)

    def place(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 2)

    def drawn(self, figure: Interval) -> Drawn:
        """Where the figure is not defined, a dash and nothing drawn."""
        if math.isnan(figure.value):
            return Drawn("–")
        if math.isnan(figure.low):
            return Drawn(self._text(figure.value, self.decimals), dot=self.place(figure.value), mark=self.marked)
        left = self.place(figure.low)
        return Drawn(
            self._text(figure.value, self.decimals),
            f"{self._text(figure.low, self.decimals)} to {self._text(figure.high, self.decimals)}",
            self.place(figure.value),
            left,
            round(self.place(figure.high) - left, 2),
            self.marked,
            self.signed and figure.excludes_zero,
        )

    def _text(self, value: float, decimals: int) -> str:
        rounded = round(self.factor * value, decimals) + 0.0  # -0.0 becomes 0.0
        return f"{'+' if self.signed and rounded > 0 else ''}{rounded:.{decimals}f}".replace("-", "−")


def track(
    figures: Iterable[Interval],
    *,
    factor: float = 100.0,
    decimals: int = 1,
    signed: bool = False,
    mark: float | None = None,
    within: tuple[float, float] = (-math.inf, math.inf),
) -> Track:
    """The scale that holds all these intervals and the mark.

    Args:
        signed: differences, which are held to 0.
        mark: what figures are held to.
        within: what the figures can be at all.
    """
    given = [each for figure in figures for each in (figure.value, figure.low, figure.high) if math.isfinite(each)]
    mark = 0.0 if signed else mark
    if mark is not None:
        given.append(mark)
    low, high = (min(given), max(given)) if given else (0.0, 1.0)
    margin = max(MARGIN * (high - low), NARROWEST / 2)
    return Track(max(low - margin, within[0]), min(high + margin, within[1]), factor, decimals, signed, mark)
