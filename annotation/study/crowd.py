"""A simulated crowd: judges of known habits answer about systems of known quality.

    Published rates --quantiles--> latent quality of every (system, prompt, axis) --+--> pass / fail (absolute)
    Judges: severity, noise, side bias, tie band, careless, pace -------------------+--> A / tie / B (pairwise)

What a judge feels of a video on an axis is standard normal around the system's level, made of four parts: the prompt's
difficulty (shared by all systems), the video's own luck, the judge's severity, and noise of the moment; VARIANCES says
how much of each. It passes where it is above 0, so the level is the normal quantile of the published rate. Of each part
a share r is common to all three axes; r is found for each system so that the share passing all three is the published
overall. (Independent axes give less: 39.3 for 41.3, facts of arXiv 2412.03603, table 3.)

A comparison is of what is felt of two videos: severity and difficulty cancel, the judge's bias to one side does not,
and within the judge's tie band nobody wins. The overall comparison weighs the three axes alike around the quantile of
the overall rate. Careless judges answer by chance. So truth is known: the published rates, and
`Crowd.net_win` in closed form.

It proves the statistics (tests/bench/study_crowd.py) and answers a study where nobody is at the screen (`--simulate`,
on the embedded server only).

Legend: S systems, P prompts, J judges, N answers, A the three axes, K those and the overall, F a value common to the
axes and one of each.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from annotation.study.axes import ALL_AXES, AXES, FAIL, PASS, TIE, A, B
from annotation.study.votes import PairVotes, PassVotes
from curation.records import content_id
from curation.study_records import StudyAnswer, StudyItem, StudyVideo

VARIANCES = {"prompt": 0.25, "video": 0.45, "severity": 0.05, "noise": 0.25}
NOT_OF_BOTH = VARIANCES["video"] + VARIANCES["noise"]  # what two videos of a prompt, seen by one judge, do not share
NOISE_ALIKE = 0.3  # of the noise between two videos, what is left where both are the same
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Published:
    """Shares of videos that pass, as a paper prints them."""

    system: str
    text_alignment: float
    motion_quality: float
    visual_quality: float
    overall: float


HUNYUAN_TABLE = (
    Published("HunyuanVideo", 0.618, 0.665, 0.957, 0.413),
    Published("CNTopA", 0.626, 0.617, 0.956, 0.377),
    Published("CNTopB", 0.601, 0.629, 0.977, 0.375),
    Published("Gen-3 alpha", 0.477, 0.547, 0.975, 0.274),
    Published("Luma 1.6", 0.576, 0.442, 0.941, 0.248),
    Published("CNTopC", 0.484, 0.472, 0.963, 0.246),
)


@dataclass(frozen=True)
class Judges:
    """Habits of J judges."""

    names: tuple[str, ...]
    severity_JF: np.ndarray  # standard normal, common to the axes and of each; the strict are below 0
    side_bias_J: np.ndarray  # added to what is felt of side A, in standard deviations of a single video
    tie_band_J: np.ndarray  # differences smaller than this are a tie
    careless_J: np.ndarray  # bool: answers by chance
    seconds_J: np.ndarray  # median per item


def make_judges(
    names: Sequence[str], seed: int, careless: Sequence[int] = (), side_bias: Mapping[int, float] | None = None
) -> Judges:
    """Judges with habits drawn at random; those given by number are careless, or prefer side A (below 0: B)."""
    generator = np.random.default_rng([seed, 1])
    number = len(names)
    careless_J, side_bias_J = np.zeros(number, dtype=bool), np.zeros(number)
    careless_J[list(careless)] = True
    for judge, bias in (side_bias or {}).items():
        side_bias_J[judge] = bias
    severity_JF = generator.standard_normal((number, 1 + len(AXES)))
    tie_band_J = generator.uniform(0.2, 0.5, number)
    seconds_J = np.where(careless_J, 2.0, generator.lognormal(np.log(14), 0.3, number))
    return Judges(tuple(names), severity_JF, side_bias_J, tie_band_J, careless_J, seconds_J)


@dataclass(frozen=True)
class Moments:
    """What chance adds to N answers."""

    first_NF: np.ndarray  # standard normal, of the video alone or on side A
    second_NF: np.ndarray  # on side B
    guess_NK: np.ndarray  # from 0 to 1, of careless judges
    pace_N: np.ndarray  # standard normal

    @classmethod
    def drawn(cls, generator: np.random.Generator, number: int) -> "Moments":
        width = 1 + len(AXES)
        normal = generator.standard_normal((number, 2 * width + 1))
        guess_NK = generator.random((number, len(ALL_AXES)))
        return cls(normal[:, :width], normal[:, width : 2 * width], guess_NK, normal[:, -1])

    @classmethod
    def of(cls, seeds: Sequence[int]) -> "Moments":
        """Each answer's from a seed of its own."""
        parts = [cls.drawn(np.random.default_rng(seed), 1) for seed in seeds]
        names = ("first_NF", "second_NF", "guess_NK", "pace_N")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


class Crowd:
    """Judges, and the systems' videos they are asked about."""

    def __init__(self, published: Sequence[Published], prompts: Sequence[str], judges: Judges, seed: int) -> None:
        self.systems, self.prompts = tuple(row.system for row in published), tuple(prompts)
        self.published, self.judges, self.seed = tuple(published), judges, seed
        normal = NormalDist()
        self.level_SK = np.array([[normal.inv_cdf(getattr(row, axis)) for axis in ALL_AXES] for row in published])
        self.common_S = np.array(
            [
                common_share(tuple(level[: len(AXES)]), row.overall)
                for level, row in zip(self.level_SK.tolist(), published, strict=True)
            ]
        )
        self._weights_SKF = np.array(
            [[self._weights(system, axis) for axis in ALL_AXES] for system in range(len(published))]
        )
        generator = np.random.default_rng([seed, 2])
        self._prompt_PF = generator.standard_normal((len(prompts), 1 + len(AXES)))
        self._video_SPF = generator.standard_normal((len(published), len(prompts), 1 + len(AXES)))

    def rate(self, system_N: np.ndarray, prompt_N: np.ndarray, judge_N: np.ndarray, moments: Moments) -> PassVotes:
        """Absolute judgements: pass or fail on the three axes, and whether all three pass."""
        felt_NA = self._felt(system_N, prompt_N, judge_N, moments.first_NF)[:, : len(AXES)]
        guessed_NA = moments.guess_NK[:, : len(AXES)] < 0.5
        passed_NA = np.where(self.judges.careless_J[judge_N, None], guessed_NA, felt_NA > 0)
        passed_NK = np.concatenate([passed_NA, passed_NA.all(1, keepdims=True)], axis=1).astype(np.int8)
        return PassVotes(
            self.systems, self.prompts, self.judges.names, ALL_AXES, system_N, prompt_N, judge_N, passed_NK
        )

    def compare(
        self, first_N: np.ndarray, second_N: np.ndarray, prompt_N: np.ndarray, judge_N: np.ndarray, moments: Moments
    ) -> PairVotes:
        """Comparisons on the three axes and overall; a video may be compared with itself."""
        ahead_NK = self._felt(first_N, prompt_N, judge_N, moments.first_NF)
        alike_N1 = (first_N == second_N)[:, None]
        seen_again_NF = np.where(alike_N1, moments.first_NF + NOISE_ALIKE * moments.second_NF, moments.second_NF)
        ahead_NK -= self._felt(second_N, prompt_N, judge_N, seen_again_NF)
        ahead_NK += self.judges.side_bias_J[judge_N, None]
        band_N1 = self.judges.tie_band_J[judge_N, None]
        answer_NK = np.where(ahead_NK > band_N1, 0, np.where(ahead_NK < -band_N1, 2, 1))
        guessed_NK = np.floor(3 * moments.guess_NK)
        answer_NK = np.where(self.judges.careless_J[judge_N, None], guessed_NK, answer_NK).astype(np.int8)
        return PairVotes(
            self.systems, self.prompts, self.judges.names, ALL_AXES, first_N, second_N, prompt_N, judge_N, answer_NK
        )

    def seconds(self, judge_N: np.ndarray, moments: Moments) -> np.ndarray:
        """How long each answer took, float64 [N]."""
        return self.judges.seconds_J[judge_N] * np.exp(0.4 * moments.pace_N)

    def net_win(self, first: int, second: int, axis: str) -> float:
        """True net win rate of one system over another, over all prompts and attentive judges without side bias.

        The judges are those of this crowd, since each has a tie band of their own.
        """
        kind = ALL_AXES.index(axis)
        difference = self.level_SK[first, kind] - self.level_SK[second, kind]
        variance = 2 * NOT_OF_BOTH + self._unlike(first, second, axis)
        normal = NormalDist(difference, float(np.sqrt(variance)))
        bands = self.judges.tie_band_J[~self.judges.careless_J]
        return float(np.mean([1 - normal.cdf(band) - normal.cdf(-band) for band in bands]))

    def _unlike(self, first: int, second: int, axis: str) -> float:
        """Variance that difficulty and severity leave in a difference, since systems take r of it in common."""
        one, other = (self._weights(system, axis) for system in (first, second))
        return float(((one - other) ** 2).sum()) * (VARIANCES["prompt"] + VARIANCES["severity"])

    def _weights(self, system: int, axis: str) -> np.ndarray:
        """By which a part's common value and its values of the axes enter what is felt on an axis; length 1."""
        common, own = np.sqrt(self.common_S[system]), np.sqrt(1 - self.common_S[system])
        weights = np.zeros(1 + len(AXES))
        for number in range(len(AXES)) if axis not in AXES else (AXES.index(axis),):
            weights[0] += common
            weights[1 + number] = own
        return weights / np.sqrt((weights**2).sum())

    def quality(self, system_N: np.ndarray, prompt_N: np.ndarray) -> np.ndarray:
        """What a judge of no severity feels of a video without noise, on the three axes and overall: float64 [N, K]."""
        parts_NF = np.sqrt(VARIANCES["prompt"]) * self._prompt_PF[prompt_N]
        parts_NF += np.sqrt(VARIANCES["video"]) * self._video_SPF[system_N, prompt_N]
        return self.level_SK[system_N] + self._on_axes(parts_NF, system_N)

    def _felt(
        self, system_N: np.ndarray, prompt_N: np.ndarray, judge_N: np.ndarray, noise_NF: np.ndarray
    ) -> np.ndarray:
        """What this judge feels of it now."""
        parts_NF = np.sqrt(VARIANCES["severity"]) * self.judges.severity_JF[judge_N]
        parts_NF += np.sqrt(VARIANCES["noise"]) * noise_NF
        return self.quality(system_N, prompt_N) + self._on_axes(parts_NF, system_N)

    def _on_axes(self, parts_NF: np.ndarray, system_N: np.ndarray) -> np.ndarray:
        return np.einsum("nf,nkf->nk", parts_NF, self._weights_SKF[system_N])


@lru_cache
def common_share(levels: tuple[float, ...], overall: float) -> float:
    """Share of variance common to the axes with which so many pass on all of them.

    One-factor normal: P(all) = E over g of the product of Phi((m + sqrt(r) g) / sqrt(1 - r)), by Gauss-Hermite nodes.

    Raises:
        ValueError: no share does; the overall must lie between the axes' product and the lowest of them.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    normal = NormalDist()

    def passing(share: float) -> float:
        at = (np.array(levels)[:, None] + np.sqrt(share) * nodes) / np.sqrt(1 - share)
        each = np.array([[normal.cdf(value) for value in row] for row in at])
        return float((weights * each.prod(0)).sum() / weights.sum())

    low, high = 0.0, 0.95
    if not passing(low) <= overall <= passing(high):
        raise ValueError(
            f"{overall:.3f} cannot pass all axes where {passing(low):.3f} would if these were independent and "
            f"{passing(high):.3f} if they were nearly one; expected an overall between"
        )
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if passing(middle) < overall else (low, middle)
    return (low + high) / 2


def crowd_for(videos: Sequence[StudyVideo], judges: Sequence[str], seed: int) -> Crowd:
    """A crowd for a study of any systems: they get the published levels in order of their names, over and over."""
    systems = sorted({video.system for video in videos})
    published = [
        replace(HUNYUAN_TABLE[number % len(HUNYUAN_TABLE)], system=system) for number, system in enumerate(systems)
    ]
    prompts = sorted({video.prompt_id for video in videos})
    return Crowd(published, prompts, make_judges(judges, seed), seed)


def answers_to(crowd: Crowd, videos: Sequence[StudyVideo], asked: Sequence[tuple[StudyItem, str]]) -> list[StudyAnswer]:
    """What the judges say of items of one design, in the order given, each by the judge named beside it.

    An answer depends on the item, the judge and the crowd alone, not on what else is asked. 22,995 take 1 s.
    """
    if not asked:
        return []
    system_of = {video.media_key: crowd.systems.index(video.system) for video in videos}
    prompt_of = {prompt_id: number for number, prompt_id in enumerate(crowd.prompts)}
    judge_of = {name: number for number, name in enumerate(crowd.judges.names)}
    moments = Moments.of([int(content_id(crowd.seed, item.item_key, judge), 16) for item, judge in asked])
    prompt_N = np.array([prompt_of[item.prompt_id] for item, _ in asked])
    judge_N = np.array([judge_of[judge] for _, judge in asked])
    first_N = np.array([system_of[item.media_a] for item, _ in asked])
    if asked[0][0].media_b:
        second_N = np.array([system_of[item.media_b] for item, _ in asked])
        codes_NK = crowd.compare(first_N, second_N, prompt_N, judge_N, moments).answer_NA
        axes, words = ALL_AXES, (A, TIE, B)
    else:
        codes_NK = crowd.rate(first_N, prompt_N, judge_N, moments).passed_NA[:, : len(AXES)]
        axes, words = AXES, (FAIL, PASS)
    seconds = crowd.seconds(judge_N, moments).round(3).tolist()
    clock = dict.fromkeys(judge_of, START)
    answers = []
    for (item, judge), codes, lasted in zip(asked, codes_NK.tolist(), seconds, strict=True):
        clock[judge] += timedelta(seconds=lasted)
        said = json.dumps({axis: words[code] for axis, code in zip(axes, codes, strict=True)}, sort_keys=True)
        key, at = content_id(item.item_key, judge), clock[judge].isoformat()
        answers.append(StudyAnswer(item.study, key, item.item_key, judge, said, lasted, at, True))
    return answers
