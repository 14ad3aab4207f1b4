"""How far people agree, per question: share of equal pairs, and Krippendorff's alpha with its interval over clips.

    Votes --clips with two or more answers--> Answered --patterns--> counts [K, V], times [K]
                                                                          |--> alpha = 1 - D_o / D_e
                                       multinomial draws [1000, K] @ coincidences [K, F] --> interval

Alpha is 1 where everybody always says the same, 0 where answers on a clip are as far apart as answers of any two clips,
below 0 where people contradict each other. Choices are nominal; several choices at once are one answer, equal or not.
Ratings are ordinal: steps between rare grades weigh less. No alpha where everybody gave one and the same answer to
everything, since chance then explains it all. There is no line that alpha has to pass: published agreement on video is
0.24 to 0.41, far below the 0.667 that is asked of text; a pilot of one's own says what is usual.

Clips on which people said the same share one coincidence matrix, so half a million clips are some fifty patterns, and
drawing clips with replacement is one multinomial draw and one matrix product per resample.

Method: K. Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), sections C and D, his symbols; percentile
interval: B. Efron and R. Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13.
Legend: N answers, K patterns, V values of a question, R resamples.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from annotation.ballots import Votes, answer_columns, answer_types, votes
from annotation.project import SCREEN
from annotation.screen import ChoiceQuestion, RatingQuestion
from curation.records import Annotation

RESAMPLES = 1000
INTERVAL_PERCENT = (2.5, 97.5)
PUBLISHED_ALPHA = (0.24, 0.41)  # of people who judge video
NOT_A_GATE = (
    f"published agreement on video is {PUBLISHED_ALPHA[0]:g} to {PUBLISHED_ALPHA[1]:g}, so alpha is no hard gate here; "
    "a pilot shows what to expect"
)


@dataclass(frozen=True)
class Agreement:
    """How far people agree on one question; None where that cannot be told.

    `share` is that of equal answers among the pairs of people on one clip; `low` and `high` hold alpha in 95 of 100
    resamples of the clips.
    """

    question: str
    num_clips: int  # with two or more answers
    num_pairs: int
    share: float | None
    alpha: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Answered:
    """One question's answers on the clips that have at least two: everything int64 [N], ordered by clip."""

    clip: np.ndarray
    person: np.ndarray
    value: np.ndarray  # index into labels
    labels: tuple[str | float, ...]  # ascending
    ordinal: bool


@dataclass(frozen=True)
class _Patterns:
    """Clips by what was said of them, whoever said it."""

    counts: np.ndarray  # int64 [K, V], how often each value was given
    times: np.ndarray  # int64 [K], clips of this pattern
    of_answer: np.ndarray  # int64 [N]


def agreements(
    annotations: pa.Table | Iterable[Annotation], withdrawn: Collection[str] = (), seed: int = 0
) -> list[Agreement]:
    """Agreement on every choice and rating of the screen, in its order."""
    counted = votes(annotations, withdrawn)
    return [agreement(name, each, seed) for name, each in answered(counted).items()]


def percent_agreement(annotations: pa.Table | Iterable[Annotation], question: str) -> Agreement:
    """Agreement on one question of the screen."""
    return agreement(question, answered(votes(annotations), [question])[question])


def answered(counted: Votes, names: Collection[str] | None = None) -> dict[str, Answered]:
    """Question -> its answers on clips that have two; of all choices and ratings of the screen, or of these."""
    asked = {name: question for name, question in SCREEN.questions.items() if names is None or name in names}
    judged = {name: each for name, each in asked.items() if isinstance(each, ChoiceQuestion | RatingQuestion)}
    columns = answer_columns(counted, answer_types(judged))
    return {name: comparable(counted, column) for name, column in columns.items()}


def comparable(counted: Votes, column: pa.ChunkedArray) -> Answered:
    """The newest answer of each vote in this column of the rows that count, on clips with at least two."""
    row = counted.newest(column.is_valid().to_numpy())
    vote = np.flatnonzero(row >= 0)
    several = np.bincount(counted.clip[vote], minlength=len(counted.clip_ids)) > 1
    vote = vote[several[counted.clip[vote]]]
    given = column.take(pa.array(row[vote]))
    if pa.types.is_list(given.type):
        given = pc.call_function("binary_join", [given, "; "])
    ordinal = pa.types.is_floating(given.type)
    labels = sorted(given.unique().to_pylist())
    value = pc.call_function("index_in", [given], pc.SetLookupOptions(value_set=pa.array(labels, given.type)))
    return Answered(counted.clip[vote], counted.person[vote], value.to_numpy().astype(np.int64), tuple(labels), ordinal)


def agreement(question: str, given: Answered, seed: int = 0) -> Agreement:
    """Share, alpha and its interval; the same seed draws the same clips."""
    patterns = _patterns(given)
    counts, times = patterns.counts, patterns.times
    sizes = counts.sum(1)
    num_pairs = int((times * sizes * (sizes - 1)).sum()) // 2
    if not num_pairs:
        return Agreement(question, 0, 0, None, None, None, None)
    equal = int((times[:, None] * counts * (counts - 1)).sum()) // 2
    marginals, coincidences = counts.astype(float), _coincidences(counts, given.ordinal)
    (alpha,) = _alpha(times[None] @ marginals, times[None] @ coincidences, given.ordinal)
    draws = np.random.default_rng(seed).multinomial(times.sum(), times / times.sum(), size=RESAMPLES).astype(float)
    alphas = _alpha(draws @ marginals, draws @ coincidences, given.ordinal)
    alphas = alphas[np.isfinite(alphas)]
    low, high = np.percentile(alphas, INTERVAL_PERCENT).tolist() if len(alphas) else (None, None)
    known = None if np.isnan(alpha) else float(alpha)
    return Agreement(question, int(times.sum()), num_pairs, equal / num_pairs, known, low, high)


def alpha_of_each(given: Answered) -> dict[int, float]:
    """Person (index) -> alpha of that person against all others, over the clips they share; defined ones only.

    Each of a person's answers is compared with every other answer on the clip, each with weight 1 / (m_u - 1), and
    others are not compared among themselves: a person who answers by chance has alpha 0 however well the rest agree.
    """
    if not len(given.value):
        return {}
    patterns = _patterns(given)
    num_values, num_patterns = len(given.labels), len(patterns.times)
    keys = (given.person * num_patterns + patterns.of_answer) * num_values + given.value
    distinct, times = np.unique(keys, return_counts=True)
    person, pattern = np.divmod(distinct // num_values, num_patterns)
    own = np.eye(num_values)[distinct % num_values]
    others = patterns.counts[pattern] - own
    others /= others.sum(1, keepdims=True)
    if given.ordinal:
        pairs = own[:, :, None] * others[:, None, :]
        coincidences = (pairs + pairs.transpose(0, 2, 1)).reshape(len(own), -1)
    else:
        coincidences = 2 * (own * others).sum(1, keepdims=True)
    found = {}
    for each in np.unique(person).tolist():
        weights = np.where(person == each, times, 0).astype(float)[None]
        (alpha,) = _alpha(weights @ (own + others), weights @ coincidences, given.ordinal)
        if np.isfinite(alpha):
            found[each] = float(alpha)
    return found


def _patterns(given: Answered) -> _Patterns:
    """Two clips are of one pattern when the sums of their answers' random 64-bit names are equal."""
    num_values = len(given.labels)
    starts = np.flatnonzero(np.diff(given.clip, prepend=-1))
    if not len(starts):
        return _Patterns(np.zeros((0, num_values), np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))
    names = np.random.default_rng(0).integers(1 << 63, size=num_values, dtype=np.uint64)
    sums = np.add.reduceat(names[given.value], starts)
    _, first, of_clip, times = np.unique(sums, return_index=True, return_inverse=True, return_counts=True)
    of_answer = np.repeat(of_clip, np.diff(starts, append=len(given.clip)))
    shown = np.isin(given.clip, given.clip[starts[first]])
    counts = np.zeros((len(first), num_values), np.int64)
    np.add.at(counts, (of_answer[shown], given.value[shown]), 1)
    return _Patterns(counts, times, of_answer)


def _coincidences(counts: np.ndarray, ordinal: bool) -> np.ndarray:
    """One clip's coincidences: o_ck as [K, V * V]; nominal answers need only their trace, [K, 1]."""
    m_u = counts.sum(1, keepdims=True)
    if not ordinal:
        return (counts * (counts - 1)).sum(1, keepdims=True) / (m_u - 1)
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(counts.shape[1], dtype=np.int64)
    return pairs.reshape(len(counts), -1) / (m_u - 1)


def _alpha(n_c: np.ndarray, coincidences: np.ndarray, ordinal: bool) -> np.ndarray:
    """Alpha [R] of marginals [R, V] and summed coincidences [R, F]; NaN where only one value was given."""
    n = n_c.sum(1)
    if ordinal:
        middles = np.cumsum(n_c, axis=1) - n_c / 2  # sum of n_g over g = c .. k, less (n_c + n_k) / 2
        delta = (middles[:, None, :] - middles[:, :, None]) ** 2
        observed = (coincidences.reshape(delta.shape) * delta).sum((1, 2))
        expected = (n_c[:, :, None] * n_c[:, None, :] * delta).sum((1, 2)) / (n - 1)
    else:
        observed = n - coincidences[:, 0]
        expected = (n**2 - (n_c**2).sum(1)) / (n - 1)
    undefined = expected <= 0
    return np.where(undefined, np.nan, 1 - observed / np.where(undefined, 1, expected))
