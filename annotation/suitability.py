"""`suitability`: the chance that people keep a clip, from all that machines know of it. Here the model as numbers.

    Features: values [N, F], classes, vectors [N, D] --Encoder--> x [N, K] --linear | trees--> --Scaling--> chance [N]

The idea is that of Koala-36M's VTSS (arXiv 2410.08260) and of Wan's expert score (arXiv 2503.20314): hand-set gates on
ten scores are crude, so learn from people's answers what the scores say together. Fitting is `annotation/fitting.py`,
the only file that knows scikit-learn; a fitted model is a tree of plain numbers that this file applies with numpy, so
it is stored as JSON, never pickled, and answers the same whatever version of anything wrote it.

Every number becomes its normal score (the standard normal quantile of its rank among the training clips), so units,
outliers and skewed scores do not matter. What is missing or failed gets the median, which is 0, and an indicator.
The linear model sees squares, too, since people like neither a frozen picture nor a frantic one. Classes are one-hot.
Vectors are turned onto their first principal axes; a clip without a vector gets 0 and an indicator.

Range 0 to 1, higher is better. Legend: N clips, F scores and facts, D and P dimensions of a vector and its axes, K
features of the model, T trees, M nodes of a tree.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from curation.records import content_id

SUITABILITY = "suitability"
NUM_KNOTS = 33
DIGITS = 9  # significant, of stored numbers: what is below is the order of summation, not knowledge
LARGEST_LOGIT = 30.0


class CalibrateSettings(BaseModel, frozen=True, extra="forbid"):
    """How the machine learns from people's verdicts, and when it refuses to."""

    precision: float = Field(
        default=0.9, gt=0, lt=1, description="share of proposed clips that people would keep, wanted"
    )
    allow_simulated: bool = Field(
        default=False, description="learn from simulated answers where there are no real ones"
    )
    embedder: str | None = Field(
        default=None, description="whose vectors are features; default: that of group; empty: none"
    )
    vector_axes: int = Field(default=16, ge=0, description="principal axes of the vectors that the model sees")
    folds: int = Field(
        default=5, ge=2, description="of the cross-validation; clips of one video are always in one fold"
    )
    num_bootstraps: int = Field(default=1000, ge=100, description="resamples of the videos, for 95% intervals")
    min_answers: int = Field(default=50, ge=20, description="decided clips below which nothing is learnt")
    min_of_each: int = Field(
        default=10, ge=5, description="kept clips, and rejected clips, below which nothing is learnt"
    )
    min_videos: int = Field(default=5, ge=3, description="source videos with decided clips, likewise")
    min_videos_of_each: int = Field(
        default=3, ge=2, description="videos with kept clips, and with rejected clips, likewise"
    )
    fixed_rules: tuple[str, ...] = Field(
        default=(
            "duplicate",
            "nsfw",
            "duration_s",
            "short_side_px",
            "frame_rate",
            "num_frames",
            "aspect",
            "picture_share",
        ),
        description="gates whose bounds are policy or format, which people's verdicts say nothing of: never changed",
    )
    seed: int = 0


@dataclass(frozen=True)
class Classes:
    """What a classifying scorer said: `codes` int [N] are places in `names`, -1 for none."""

    codes: np.ndarray
    names: tuple[str, ...]


@dataclass(frozen=True)
class Features:
    """What is known of N clips."""

    names: tuple[str, ...]  # of the F columns
    values: np.ndarray  # float64 [N, F], NaN where missing or failed
    classes: Mapping[str, Classes] = field(default_factory=dict)
    vectors: np.ndarray | None = None  # float [N, D], NaN rows where there is none; None: no clip has one

    def __len__(self) -> int:
        return len(self.values)

    def take(self, places: np.ndarray) -> "Features":
        """These clips, by index or mask."""
        classes = {name: Classes(each.codes[places], each.names) for name, each in self.classes.items()}
        return Features(self.names, self.values[places], classes, _rows(self.vectors, places))


@dataclass(frozen=True)
class Encoder:
    """From features to what a model sees; everything in it was learnt from the training clips alone."""

    knots: Mapping[str, tuple[list[float], list[float]]]  # column -> rising values and their normal scores
    indicators: tuple[str, ...]  # columns that were missing for some training clips
    classes: Mapping[str, tuple[str, ...]]
    mean: list[float] = field(default_factory=list)  # [D]; empty: no vectors
    axes: list[list[float]] = field(default_factory=list)  # [P, D], each scaled to unit variance
    vectors_missing: bool = False  # for some training clips

    def names(self) -> tuple[str, ...]:
        """Of the K features, in their order; a feature's origin is what stands before the first space."""
        names = [
            *self.knots,
            *(f"{name} squared" for name in self.knots),
            *(f"{name} missing" for name in self.indicators),
        ]
        names += [f"{name} is {label}" for name, labels in self.classes.items() for label in labels]
        names += [f"embedding {index}" for index in range(len(self.axes))]
        return (*names, *(["embedding missing"] if self.vectors_missing else []))

    def encode(self, features: Features) -> np.ndarray:
        """float64 [N, K], finite."""
        size, place = len(features), {name: index for index, name in enumerate(features.names)}
        unknown = np.full(size, np.nan)
        column = {
            name: features.values[:, place[name]] if name in place else unknown
            for name in (*self.knots, *self.indicators)
        }
        scores = [np.interp(column[name], places, normal) for name, (places, normal) in self.knots.items()]
        scores = [np.where(np.isnan(score), 0.0, score) for score in scores]
        squares = [np.minimum(score**2, 4.0) - 1 for score in scores]
        parts = [*scores, *squares, *(np.isnan(column[name]).astype(float) for name in self.indicators)]
        for name, labels in self.classes.items():
            given = features.classes.get(name, Classes(np.full(size, -1), ()))
            for label in labels:
                code = given.names.index(label) if label in given.names else -2
                parts.append((given.codes == code).astype(float))
        if self.axes:
            vectors = np.full((size, len(self.mean)), np.nan) if features.vectors is None else features.vectors
            turned = (vectors - np.asarray(self.mean)) @ np.asarray(self.axes).T
            parts += list(np.where(np.isnan(turned), 0.0, turned).T)
        if self.vectors_missing:
            parts.append(
                (np.ones(size) if features.vectors is None else np.isnan(features.vectors[:, 0])).astype(float)
            )
        return np.column_stack(parts) if parts else np.zeros((size, 0))


@dataclass(frozen=True)
class Linear:
    """Logistic regression."""

    weights: list[float]  # [K]
    intercept: float

    def logits(self, x_NK: np.ndarray) -> np.ndarray:
        return x_NK @ np.asarray(self.weights) + self.intercept


@dataclass(frozen=True)
class Trees:
    """Gradient boosting (Friedman 2001): the start plus the sum of the leaves that a clip falls into.

    Each tree is five lists over its M nodes: left and right child (-1 in a leaf), feature, threshold, value; a clip
    goes left where its feature is at most the threshold.
    """

    start: float
    trees: list[list[list[float]]]

    def logits(self, x_NK: np.ndarray) -> np.ndarray:
        x = x_NK.astype(np.float32)  # as scikit-learn grows them
        total = np.full(len(x), self.start)
        for left, right, feature, threshold, value in self.trees:
            children = np.array([left, right], np.int64)
            of_node, bound = np.array(feature, np.int64), np.array(threshold)
            node = np.zeros(len(x), np.int64)
            while (inner := np.flatnonzero(children[0][node] >= 0)).size:
                at = node[inner]
                node[inner] = children[(x[inner, of_node[at]] > bound[at]).astype(np.int64), at]
            total += np.array(value)[node]
        return total


@dataclass(frozen=True)
class Scaling:
    """From a model's logit to a chance that holds: as it is, Platt's line, or isotonic steps joined by lines."""

    kind: str = "none"  # or "platt", "isotonic"
    logits: list[float] = field(default_factory=list)  # Platt: slope and intercept; isotonic: rising places
    chances: list[float] = field(default_factory=list)  # isotonic: at those places

    def chance(self, logits: np.ndarray) -> np.ndarray:
        if self.kind == "isotonic":
            return np.interp(logits, self.logits, self.chances)
        slope, intercept = self.logits if self.kind == "platt" else (1.0, 0.0)
        return 1 / (1 + np.exp(-np.clip(slope * logits + intercept, -LARGEST_LOGIT, LARGEST_LOGIT)))


@dataclass(frozen=True)
class Model:
    """A fitted `suitability`, with all that is needed to apply it."""

    kind: str  # "logistic" or "boosting"
    encoder: Encoder
    core: Linear | Trees
    scaling: Scaling = Scaling()

    def logits(self, features: Features) -> np.ndarray:
        """float64 [N], before scaling."""
        return self.core.logits(self.encoder.encode(features))

    def chance(self, features: Features) -> np.ndarray:
        """float64 [N], 0 to 1."""
        return self.scaling.chance(self.logits(features))

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"), allow_nan=False)

    @property
    def digest(self) -> str:
        """Names the model: the version of its scores."""
        return content_id(self.to_json())

    @classmethod
    def from_json(cls, text: str | bytes) -> "Model":
        tree = json.loads(text)
        encoder = {**tree["encoder"], "indicators": tuple(tree["encoder"]["indicators"])}
        encoder["classes"] = {name: tuple(labels) for name, labels in encoder["classes"].items()}
        encoder["knots"] = {name: (knots[0], knots[1]) for name, knots in encoder["knots"].items()}
        core = (Linear if tree["kind"] == "logistic" else Trees)(**tree["core"])
        return cls(tree["kind"], Encoder(**encoder), core, Scaling(**tree["scaling"]))


def rounded(numbers: Any) -> Any:
    """Numbers, or lists of them, at DIGITS significant digits, as Python's own."""
    if isinstance(numbers, np.ndarray | list | tuple):
        return [rounded(number) for number in numbers]
    return int(numbers) if isinstance(numbers, int | np.integer) else float(f"{float(numbers):.{DIGITS}g}")


def concatenated(parts: Sequence[Features]) -> Features:
    """The clips of several parts that have the same columns and classes, one part after the other."""
    first = parts[0]
    classes = {
        name: Classes(np.concatenate([part.classes[name].codes for part in parts]), each.names)
        for name, each in first.classes.items()
    }
    vectors = [part.vectors for part in parts if part.vectors is not None]
    joined = np.concatenate(vectors) if len(vectors) == len(parts) else None
    return Features(first.names, np.concatenate([part.values for part in parts]), classes, joined)


def _rows(vectors: np.ndarray | None, places: np.ndarray) -> np.ndarray | None:
    return None if vectors is None else vectors[places]
