"""How good chances are that were given out of fold: AUC, reliability, and what a threshold would propose.

    chance, kept, videos, fold --> Resamples of whole videos --> figures with 95% intervals --> enough? or how many more

Intervals are percentiles of a bootstrap that draws videos, not clips (the cluster bootstrap: Field and Welsh 2007),
because the clips of a video share its fate: drawing clips would make intervals too narrow. A resample is a weight per
clip, so every figure is a weighted sum over all resamples at once.

The operating point is the chance from which clips are proposed: the lowest at which the wanted share of the proposed
would be kept. For each fold it is found on the other folds, so precision and recall are of clips that neither the
model nor the threshold has seen. `lacking` says whether answers can support a model at all, and how many more could.

Legend: N clips, B resamples, V videos.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from annotation.suitability import CalibrateSettings

NUM_BINS = 10
FEWEST_PROPOSED = 10  # clips a threshold must propose, else its precision is luck
FOR_POWER = ((1.96 + 0.84) / 1.96) ** 2
NO_CLOSER = 0.01  # of AUC to 0.5, where no number of answers is worth naming


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95% interval; NaN where it is not defined."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True)
class Bin:
    """Clips that were given chances between `low` and `high`."""

    low: float
    high: float
    clips: int
    mean_chance: float
    kept_share: Estimate


@dataclass(frozen=True)
class Proposal:
    """What a way of proposing clips does to the answered ones."""

    name: str
    precision: Estimate  # share of the proposed that people kept
    recall: Estimate  # share of the kept that are proposed
    proposed_share: Estimate  # share of all that are proposed
    proposed: int


class Resamples:
    """Weights of N clips in B resamples of their videos."""

    def __init__(self, videos: np.ndarray, num_bootstraps: int, seed: int) -> None:
        names, of_clip = np.unique(videos, return_inverse=True)
        generator = np.random.default_rng(seed)
        drawn = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), num_bootstraps)
        self.weights_VB = drawn.T.astype(np.float64)
        self.of_clip, self.num_videos = of_clip, len(names)

    def sums(self, values_N: np.ndarray) -> np.ndarray:
        """Sum of a number over the clips, for all of them as they are and then for each resample: float64 [1 + B]."""
        of_video = np.bincount(self.of_clip, values_N.astype(np.float64), self.num_videos)
        return np.concatenate([[of_video.sum()], of_video @ self.weights_VB])

    def ratio(self, above_N: np.ndarray, below_N: np.ndarray) -> Estimate:
        """Sum of the one over the sum of the other."""
        below = self.sums(below_N)
        return estimate(np.divide(self.sums(above_N), below, out=np.full(len(below), np.nan), where=below > 0))

    def each(self, figure: Callable[[np.ndarray], float]) -> Estimate:
        """A figure of weights float64 [N] that is no ratio of sums."""
        found = [figure(np.ones(len(self.of_clip)))]
        found += [figure(weights[self.of_clip]) for weights in self.weights_VB.T]
        return estimate(np.array(found))


def estimate(values: np.ndarray) -> Estimate:
    """The first value, with the interval of the others; resamples in which the figure is not defined do not count."""
    others = values[1:][~np.isnan(values[1:])]
    low, high = np.quantile(others, (0.025, 0.975)) if len(others) else (np.nan, np.nan)
    return Estimate(float(values[0]), float(low), float(high))


def auc(chance: np.ndarray, kept: np.ndarray, resamples: Resamples) -> Estimate:
    """Chance that a kept clip is ranked above a rejected one, ties counting half."""
    order = np.argsort(chance, kind="stable")
    _, place = np.unique(chance[order], return_inverse=True)
    good, size = kept[order].astype(np.float64), int(place.max()) + 1

    def figure(weights: np.ndarray) -> float:
        goods = np.bincount(place, weights[order] * good, size)
        bads = np.bincount(place, weights[order] * (1 - good), size)
        pairs = goods.sum() * bads.sum()
        return float((goods * (np.cumsum(bads) - bads / 2)).sum() / pairs) if pairs else math.nan

    return resamples.each(figure)


def reliability(chance: np.ndarray, kept: np.ndarray, resamples: Resamples) -> list[Bin]:
    """In ten bins of chance: how many clips, and how many of them people kept; bins without clips are left out."""
    bins = []
    of_clip = bin_of(chance)
    for number in np.unique(of_clip).tolist():
        here = of_clip == number
        share = resamples.ratio(here & kept, here)
        bins.append(Bin(number / NUM_BINS, (number + 1) / NUM_BINS, int(here.sum()), float(chance[here].mean()), share))
    return bins


def calibration_error(chance: np.ndarray, kept: np.ndarray, resamples: Resamples) -> Estimate:
    """Expected calibration error (Naeini et al. 2015): mean distance of kept share and chance, over the bins.

    Its interval lies above 0 even for perfect chances, as every bin's share is noisy.
    """
    of_clip, differences = bin_of(chance), chance - kept
    per_bin = [np.abs(resamples.sums(np.where(of_clip == number, differences, 0.0))) for number in range(NUM_BINS)]
    return estimate(np.sum(per_bin, axis=0) / resamples.sums(np.ones(len(chance))))


def bin_of(chance: np.ndarray) -> np.ndarray:
    return np.minimum((chance * NUM_BINS).astype(np.int64), NUM_BINS - 1)


def operating_point(chance: np.ndarray, kept: np.ndarray, precision: float) -> float:
    """The lowest chance from which the wanted share of clips was kept; where none has it, that of the best share.

    At least FEWEST_PROPOSED clips, or all kept ones if they are fewer, must lie above.
    """
    order = np.argsort(-chance, kind="stable")
    counted, good = np.arange(1, len(order) + 1), np.cumsum(kept[order])
    last_of_ties = np.append(np.diff(chance[order]) < 0, True)
    allowed = last_of_ties & (counted >= min(FEWEST_PROPOSED, max(int(good[-1]), 1)))
    shares = np.where(allowed, good / counted, -1.0)
    reached = np.flatnonzero(shares >= precision)
    return float(chance[order][reached[-1] if len(reached) else int(np.argmax(shares))])


def proposed_out_of_fold(chance: np.ndarray, kept: np.ndarray, fold: np.ndarray, precision: float) -> np.ndarray:
    """Which clips would be proposed, each judged by the operating point of the other folds: bool [N]."""
    proposed = np.zeros(len(chance), bool)
    for number in np.unique(fold):
        here = fold == number
        proposed[here] = chance[here] >= operating_point(chance[~here], kept[~here], precision)
    return proposed


def proposal(name: str, proposed: np.ndarray, kept: np.ndarray, resamples: Resamples) -> Proposal:
    """Precision, recall and share of a set of proposed clips, bool [N]."""
    both = proposed & kept
    return Proposal(
        name,
        precision=resamples.ratio(both, proposed),
        recall=resamples.ratio(both, kept),
        proposed_share=resamples.ratio(proposed, np.ones(len(kept))),
        proposed=int(proposed.sum()),
    )


def lacking(kept: np.ndarray, videos: np.ndarray, settings: CalibrateSettings) -> list[str]:
    """What the answers lack before anything can be fitted, a sentence each."""
    found = []
    if len(kept) < settings.min_answers:
        found.append(f"{settings.min_answers - len(kept)} more answers ({len(kept)} of {settings.min_answers})")
    num_videos = len(np.unique(videos))
    if num_videos < settings.min_videos:
        wanted = settings.min_videos
        found.append(f"answers from {wanted - num_videos} more source videos ({num_videos} of {wanted})")
    for name, of_class in (("kept", kept), ("rejected", ~kept)):
        count, num_videos = int(of_class.sum()), len(np.unique(videos[of_class]))
        if count < settings.min_of_each:
            found.append(f"{settings.min_of_each - count} more {name} clips ({count} of {settings.min_of_each})")
        if num_videos < settings.min_videos_of_each:
            wanted = settings.min_videos_of_each
            found.append(f"{name} clips from {wanted - num_videos} more videos ({num_videos} of {wanted})")
    return found


def unsupported(ranking: Estimate, num_answers: int, num_videos: int) -> str | None:
    """Why an AUC whose interval reaches 0.5 supports no model, and how many answers could; None where it does.

    An interval narrows with the root of the number of videos, so for its end to be 0.5 on average it takes
    (half-width below / distance to 0.5) squared times as many, and FOR_POWER times that to end above in 4 of 5 cases.
    """
    if ranking.low > 0.5:
        return None
    said = f"out of fold, the AUC is {ranking}: no better than chance as far as these answers can tell"
    distance = ranking.value - 0.5
    if not distance > NO_CLOSER:
        return (
            f"{said}. More answers of this kind will not help unless the AUC rises: look first at whether people agree "
            "with each other, and whether any score measures what they look at"
        )
    factor = ((ranking.value - ranking.low) / distance) ** 2 * FOR_POWER
    answers, videos = math.ceil(num_answers * factor) - num_answers, math.ceil(num_videos * factor) - num_videos
    more = f"about {answers} more answers from {videos} more videos"
    return f"{said}. If it stays, {more} would most likely show that it is real"
