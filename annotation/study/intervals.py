"""Intervals for figures of crossed answers: prompts are a sample, and so are the judges.

    answers --influence on each figure--> Crossed --sums by prompt, by judge, by (prompt, judge)--> Spreads --> Interval
            --kind of each answer-------------------resampled counts [1 + B, K]--> any figure of counts, and its ranks

Answers about one prompt share the prompt, answers of one judge share the judge, so neither are independent. A figure's
variance is that of independent prompts, plus that of independent judges, less that of independent (prompt, judge)
cells, which the first two count twice: two-way clustering (Cameron, Gelbach, Miller 2011), with
G / (G - 1) for each way, and no less than half of the first (the difference may be negative by chance). Resampling
prompts and judges and multiplying their weights (the pigeonhole bootstrap) triples the part that is each answer's own
(Owen 2007), most of it where a video has one answer; a bootstrap of one way alone forgets the other. In 200
studies with the published table as truth (1,533 prompts x 6 systems, 60 judges with a standard deviation of severity
of 0.3), nominal 95% intervals hold the truth of 94.6% of the rates and 94.9% of the differences; the pigeonhole's hold
99% and 100%, those over prompts alone 85% and 95%. With 300 prompts and 10 judges these are 96% and 96%.
What a bootstrap with this variance would draw is drawn from its covariance. 11 ms for 9,198 answers and 18 figures.

The quantile is Student's, with Satterthwaite's degrees of freedom. Shares lie in Wilson's interval at the number of
independent answers that has this variance (Dean and Pagano 2015), so they stay in their range and 0 of 20 has a width.

Below FEWEST_JUDGES, nothing can be said of judges who were not asked: then `over_judges` is false, and an interval is
of these judges, over prompts alone.

Legend: N answers, K figures (or kinds of answer), G groups, B resamples.
"""

import math
from dataclasses import dataclass

import numpy as np

FEWEST_JUDGES = 5  # effective number: judges who answered little count for less


@dataclass(frozen=True)
class Interval:
    """A figure and the interval that holds the truth in the stated share of studies; NaN where it is not defined."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


NOTHING = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Spread:
    """Variance of one figure, and what it is made of; NaN where fewer than two prompts were answered."""

    over_prompts: float  # of prompts drawn anew, and with them each answer's own noise
    over_judges: float  # of judges drawn anew, likewise; NaN below FEWEST_JUDGES
    within: float  # of (prompt, judge) cells drawn anew: noise alone
    degrees_of_freedom: float

    @classmethod
    def made_of(
        cls, over_prompts: float, over_judges: float, within: float, num_prompts: int, num_judges: float
    ) -> "Spread":
        """Of these parts, with Satterthwaite's degrees of freedom."""
        if round(num_judges) < FEWEST_JUDGES:
            over_judges = math.nan
        free = _degrees_of_freedom(over_prompts, over_judges, within, num_prompts, num_judges)
        return cls(over_prompts, over_judges, within, free)

    @property
    def variance(self) -> float:
        if math.isnan(self.over_judges):
            return self.over_prompts
        return _total(self.over_prompts, self.over_judges, self.within)

    @property
    def of_judges(self) -> float:
        """The part that more prompts and more answers of the same judges leave as it is."""
        return 0.0 if math.isnan(self.over_judges) else max(self.variance - self.over_prompts, 0.0)

    def quantile(self, confidence: float = 0.95) -> float:
        """Standard deviations to each side of the figure."""
        from scipy.special import stdtrit

        return float(stdtrit(self.degrees_of_freedom, (1 + confidence) / 2))

    def around(self, value: float, confidence: float = 0.95) -> Interval:
        """Symmetric interval of a figure that may be any number."""
        half = self.quantile(confidence) * math.sqrt(self.variance)
        return Interval(value, value - half, value + half)

    def share(self, value: float, independent: float, confidence: float = 0.95, lowest: float = 0.0) -> Interval:
        """Wilson's interval of a figure from `lowest` to 1; where nothing varies, of so many `independent` answers."""
        if math.isnan(self.variance):
            return Interval(value, math.nan, math.nan)
        width = 1 - lowest
        share = (value - lowest) / width
        variance = self.variance / width**2
        effective = share * (1 - share) / variance if variance > 0 else 0.0
        if not effective > 0:
            effective = independent
        found = _wilson(share, effective, self.quantile(confidence))
        return Interval(value, lowest + width * found.low, lowest + width * found.high)

    def chance_beyond(self, value: float) -> float:
        """Two-sided probability of a figure at least this far from 0 if it were 0 in truth."""
        from scipy.special import stdtr

        if self.variance <= 0:
            return 1.0 if value == 0 else 0.0
        return float(2 * stdtr(self.degrees_of_freedom, -abs(value) / math.sqrt(self.variance)))


@dataclass(frozen=True)
class Spreads:
    """Covariances of K figures by way of drawing anew, float64 [K, K] each."""

    over_prompts: np.ndarray
    over_judges: np.ndarray
    within: np.ndarray
    num_prompts: int
    num_judges: float  # effective

    def of(self, contrast_K: np.ndarray) -> Spread:
        """Spread of a weighted sum of the figures."""
        used = np.flatnonzero(contrast_K)
        weights, chosen = contrast_K[used], np.ix_(used, used)
        prompts, judges, within = (
            float(weights @ each[chosen] @ weights) for each in (self.over_prompts, self.over_judges, self.within)
        )
        return Spread.made_of(prompts, judges, within, self.num_prompts, self.num_judges)

    def one(self, figure: int) -> Spread:
        """Spread of one figure."""
        return self.of(np.eye(1, len(self.over_prompts), figure)[0])

    @property
    def covariance(self) -> np.ndarray:
        """Of all figures together, [K, K]: positive semi-definite, by the nearest such matrix."""
        total = self.over_prompts
        if not np.isnan(self.over_judges).any():
            total = total + self.over_judges - self.within
        size, direction = np.linalg.eigh(total)
        return (direction * np.maximum(size, 0.0)) @ direction.T

    def draws(self, value_K: np.ndarray, num_bootstraps: int, seed: int) -> np.ndarray:
        """Figures as other prompts and judges might have given them, float64 [B, K]: multivariate Student's.

        Of a single prompt nothing can be said: all NaN.
        """
        if np.isnan(self.over_prompts).any():
            return np.full((num_bootstraps, len(value_K)), np.nan)
        generator = np.random.default_rng(seed)
        size, direction = np.linalg.eigh(self.covariance)
        root = direction * np.sqrt(np.maximum(size, 0.0))
        prompts, judges, within = (float(np.trace(each)) for each in (self.over_prompts, self.over_judges, self.within))
        free = Spread.made_of(prompts, judges, within, self.num_prompts, self.num_judges).degrees_of_freedom
        normal = generator.standard_normal((num_bootstraps, len(value_K))) @ root.T
        return value_K + normal * np.sqrt(free / generator.chisquare(free, (num_bootstraps, 1)))


class Crossed:
    """Answers by prompt, by judge, and by both."""

    def __init__(self, prompt_N: np.ndarray, judge_N: np.ndarray) -> None:
        self.prompt_N, self.num_prompts = _numbered(prompt_N)
        self.judge_N, self.num_judges = _numbered(judge_N)
        cells = self.prompt_N * max(self.num_judges, 1) + self.judge_N
        self.cell_N, self.num_cells = _numbered(cells)
        answers = np.bincount(self.judge_N).astype(np.float64) if len(judge_N) else np.zeros(1)
        self.effective_judges = float(answers.sum() ** 2 / max(float((answers**2).sum()), 1.0))  # Kish 1965

    @property
    def over_judges(self) -> bool:
        """Whether there are judges enough for an interval that speaks of judges who were not asked."""
        return round(self.effective_judges) >= FEWEST_JUDGES

    def spreads(self, influence_NK: np.ndarray) -> Spreads:
        """Of figures that are sums (or, to first order, ratios of sums) to which each answer adds its influence."""
        sums = [
            _group_sums(influence_NK, group_N, number)
            for group_N, number in (
                (self.prompt_N, self.num_prompts),
                (self.judge_N, self.num_judges),
                (self.cell_N, self.num_cells),
            )
        ]
        return self._spreads(*sums)

    def ratios(self, above_NK: np.ndarray, below_NK: np.ndarray) -> tuple[np.ndarray, Spreads]:
        """Sums of the one over sums of the other, [K], NaN where the latter is 0; an answer may count in several."""
        total = below_NK.sum(0, dtype=np.float64)
        safe = np.where(total > 0, total, np.nan)
        value_K = above_NK.sum(0, dtype=np.float64) / safe
        return value_K, self.spreads((above_NK - np.nan_to_num(value_K) * below_NK) / np.nan_to_num(safe, nan=1.0))

    def resampled_counts(self, kind_N: np.ndarray, num_kinds: int, num_bootstraps: int, seed: int) -> np.ndarray:
        """How many answers are of each kind, as they are and then per resample: float64 [1 + B, K], none below 0.

        Resamples have the number of answers of the study, so they vary in shares of kinds, not in size.
        """
        counts = np.bincount(kind_N, minlength=num_kinds).astype(np.float64)
        share = counts / max(len(kind_N), 1)
        sums = []
        for group_N, number in (
            (self.prompt_N, self.num_prompts),
            (self.judge_N, self.num_judges),
            (self.cell_N, self.num_cells),
        ):
            given = np.bincount(group_N * num_kinds + kind_N, minlength=number * num_kinds).reshape(number, num_kinds)
            sums.append(given - given.sum(1, keepdims=True) * share)
        drawn = self._spreads(*sums).draws(counts, num_bootstraps, seed)
        return np.concatenate([counts[None], np.maximum(drawn, 0.0)])

    def _spreads(self, prompts_GK: np.ndarray, judges_GK: np.ndarray, cells_GK: np.ndarray) -> Spreads:
        prompts, judges, cells = (_scatter(each) for each in (prompts_GK, judges_GK, cells_GK))
        if not self.over_judges:
            judges = np.full_like(prompts, np.nan)
        return Spreads(prompts, judges, cells, self.num_prompts, self.effective_judges)


def wilson(hits: float, tries: float, confidence: float = 0.95) -> Interval:
    """Interval of a share of independent tries (Wilson 1927)."""
    from scipy.special import ndtri

    return _wilson(hits / tries, tries, float(ndtri((1 + confidence) / 2))) if tries else NOTHING


def clustered_share(hits_G: np.ndarray, tries_G: np.ndarray, confidence: float = 0.95) -> Interval:
    """Share of hits among tries that come in independent groups, such as the axes of one item."""
    tries = float(tries_G.sum())
    answered = int((tries_G > 0).sum())
    if not tries:
        return NOTHING
    share = float(hits_G.sum()) / tries
    scale = answered / max(answered - 1, 1)
    variance = scale * float(((hits_G - share * tries_G) ** 2).sum()) / tries**2
    return Spread(variance, math.nan, variance, max(answered - 1, 1)).share(share, answered, confidence)


def _wilson(share: float, tries: float, quantile: float) -> Interval:
    squared = quantile**2 / tries
    middle = (share + squared / 2) / (1 + squared)
    half = quantile / (1 + squared) * math.sqrt(max(share * (1 - share), 0.0) / tries + squared / (4 * tries))
    return Interval(share, min(middle - half, share), max(middle + half, share))


def _numbered(group_N: np.ndarray) -> tuple[np.ndarray, int]:
    """Groups as numbers from 0 without gaps, int64 [N], and how many there are."""
    distinct, number_N = np.unique(group_N, return_inverse=True)
    return number_N.astype(np.int64), len(distinct)


def _group_sums(values_NK: np.ndarray, group_N: np.ndarray, num_groups: int) -> np.ndarray:
    """Sums over each group's answers, float64 [G, K]."""
    order = np.argsort(group_N, kind="stable")
    starts = np.searchsorted(group_N[order], np.arange(num_groups))
    if not num_groups:
        return np.zeros((0, values_NK.shape[1]))
    return np.add.reduceat(values_NK[order].astype(np.float64), starts, axis=0)


def _scatter(sums_GK: np.ndarray) -> np.ndarray:
    """Covariance [K, K] of the sum of independent groups; NaN for a single one."""
    groups = len(sums_GK)
    if groups < 2:
        return np.full((sums_GK.shape[1],) * 2, np.nan)
    return groups / (groups - 1) * (sums_GK.T @ sums_GK)


def _total(over_prompts: float, over_judges: float, within: float) -> float:
    return max(over_prompts + over_judges - within, over_prompts / 2)


def _degrees_of_freedom(
    over_prompts: float, over_judges: float, within: float, num_prompts: int, num_judges: float
) -> float:
    """Satterthwaite's, for a variance that is a sum of those of prompts and of judges."""
    if math.isnan(over_judges):
        return max(num_prompts - 1.0, 1.0)
    total = _total(over_prompts, over_judges, within)
    noise = over_prompts**2 / max(num_prompts - 1, 1) + over_judges**2 / max(num_judges - 1, 1)
    return max(total**2 / noise, 1.0) if noise > 0 else max(num_prompts - 1.0, 1.0)
