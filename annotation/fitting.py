"""Fit `suitability` to people's verdicts and say, on clips of videos it has not seen, how good it is.

    Features, kept [N], videos [N] --folds by video--> each fold: Encoder and model from the others, logits of this one
        --> logistic or boosting, the better --> scaling that helps held-out clips --> Fit: Model, chances out of fold

Two kinds of scikit-learn: logistic regression (L2, strength chosen by an inner cross-validation) and gradient boosting.
The better by cross-validated log loss is taken, of equals the logistic one. Chances are then scaled by nothing, by
Platt's line (1999) or by isotonic regression (Zadrozny and Elkan 2002), each fitted on the other folds' out-of-fold
logits: whichever has the lowest held-out log loss by more than MIN_GAIN. Clips of one video never lie on both sides of
a split, since neighbours look alike and would flatter the model. Everything is seeded: the same answers, the same bits.

Cost on one core: 0.6 s for 200 clips, 8 s for 2,000, of 20 features and 64-dimensional vectors.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from annotation.suitability import (
    LARGEST_LOGIT,
    NUM_KNOTS,
    CalibrateSettings,
    Encoder,
    Features,
    Linear,
    Model,
    Scaling,
    Trees,
    rounded,
)

KINDS = ("logistic", "boosting")
STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # C of the logistic regression: the smaller the tamer
INNER_FOLDS = 3
COMMITTEE_SIZE = 8
MIN_GAIN = 1e-3  # of log loss in nats, below which the simpler is taken
MIN_FOR_ISOTONIC = 200  # clips; with fewer its steps follow single answers
SMALLEST_CHANCE = 1e-6


@dataclass(frozen=True)
class Fit:
    """A model of all answers, and what it would have said of each clip before it had seen its video."""

    model: Model
    fold: np.ndarray  # int64 [N]
    chance: np.ndarray  # float64 [N], out of fold: by models and scalings that never saw the clip's video
    unscaled: np.ndarray  # the same before scaling
    log_losses: dict[str, float]  # kind of model -> cross-validated, in nats
    scaling_losses: dict[str, float]  # kind of scaling -> the same


def fit(features: Features, kept: np.ndarray, videos: np.ndarray, settings: CalibrateSettings) -> Fit:
    """Fit both kinds, keep the better, scale it.

    Args:
        kept: bool [N], what people decided.
        videos: [N], which video each clip is of.

    Raises:
        ValueError: the answers cannot be split; `lacking` says beforehand what is missing.
    """
    with threadpool_limits(1):
        splits = split_by_video(kept, videos, settings.folds, settings.seed)
        logits, losses = {}, {}
        for kind in KINDS:
            logits[kind] = np.zeros(len(kept))
            for train, test in splits:
                model = fit_one(kind, features.take(train), kept[train], videos[train], settings)
                logits[kind][test] = model.logits(features.take(test))
            losses[kind] = log_loss(Scaling().chance(logits[kind]), kept)
        kind = "boosting" if losses["boosting"] < losses["logistic"] - MIN_GAIN else "logistic"
        fold = np.zeros(len(kept), np.int64)
        for number, (_, test) in enumerate(splits):
            fold[test] = number
        scaling, chance, scaling_losses = _scale(logits[kind], kept, fold)
        model = replace(fit_one(kind, features, kept, videos, settings), scaling=scaling)
    return Fit(model, fold, chance, Scaling().chance(logits[kind]), losses, scaling_losses)


def fit_one(kind: str, features: Features, kept: np.ndarray, videos: np.ndarray, settings: CalibrateSettings) -> Model:
    """One model of one kind, unscaled."""
    encoder = fit_encoder(features, settings.vector_axes)
    x_NK = encoder.encode(features)
    if kind == "boosting":
        return Model(kind, encoder, _boosting(x_NK, kept, settings.seed))
    return Model(kind, encoder, linear(x_NK, kept, best_strength(x_NK, kept, videos, settings.seed)))


def committee(features: Features, kept: np.ndarray, videos: np.ndarray, settings: CalibrateSettings) -> list[Model]:
    """Small boosted models of the same answers in which each video counts by a random weight (Rubin 1981).

    Where they differ, more answers would settle something: `annotation/information.py`.
    """
    generator = np.random.default_rng(settings.seed)
    encoder = fit_encoder(features, settings.vector_axes)
    x_NK, (names, of_clip) = encoder.encode(features), np.unique(videos, return_inverse=True)
    members = []
    for member in range(COMMITTEE_SIZE):
        weight = generator.exponential(size=len(names))[of_clip]
        members.append(Model("boosting", encoder, _boosting(x_NK, kept, member, 50, 0.12, weight)))
    return members


def split_by_video(kept: np.ndarray, videos: np.ndarray, folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(train, test) places such that no video is on both sides and each train side has both classes.

    Raises:
        ValueError: no such split exists, because all of a class comes from one video.
    """
    num_videos = len(np.unique(videos))
    fewest = min(int(kept.sum()), int((~kept).sum()))
    for count in range(min(folds, num_videos, max(fewest, 2)), 1, -1):
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        splits = [(train, test) for train, test in splitter.split(np.zeros(len(kept)), kept, videos) if len(test)]
        if all(len(np.unique(kept[train])) == 2 for train, _ in splits):
            return splits
    raise ValueError(f"{len(kept)} answers of {num_videos} videos cannot be split so that each side has both verdicts")


def fit_encoder(features: Features, vector_axes: int) -> Encoder:
    """Learn knots, indicators, classes and axes; a column that is constant or never there is left out."""
    knots = {}
    for name, values in zip(features.names, features.values.T, strict=True):
        known = np.sort(values[~np.isnan(values)])
        if len(known) and known[0] < known[-1]:
            knots[name] = _knots(known)
    missing = [name for name, values in zip(features.names, features.values.T, strict=True) if _some(np.isnan(values))]
    classes = {
        name: tuple(label for code, label in enumerate(each.names) if _some(each.codes == code))
        for name, each in sorted(features.classes.items())
    }
    encoder = Encoder(knots, tuple(missing), classes)
    if features.vectors is None or not vector_axes:
        return encoder
    known = features.vectors[~np.isnan(features.vectors[:, 0])].astype(np.float64)
    if len(known) < 2 * vector_axes:
        return encoder
    mean = known.mean(axis=0)
    _, deviations, axes = np.linalg.svd(known - mean, full_matrices=False)
    deviations = deviations[:vector_axes] / np.sqrt(len(known))
    used = deviations > 1e-6 * max(deviations[0], 1e-12)
    axes = axes[:vector_axes][used]
    axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    scaled = axes / deviations[used][:, None]
    return replace(
        encoder, mean=rounded(mean), axes=rounded(scaled), vectors_missing=_some(np.isnan(features.vectors[:, 0]))
    )


def linear(x_NK: np.ndarray, kept: np.ndarray, strength: float, weight: np.ndarray | None = None) -> Linear:
    """Logistic regression of one strength; `weight` float [N] counts clips more or less."""
    model = LogisticRegression(C=strength, max_iter=2000, tol=1e-6)
    model.fit(x_NK, kept, sample_weight=weight)
    return Linear(rounded(model.coef_[0]), rounded(np.ravel(model.intercept_)[0]))


def best_strength(x_NK: np.ndarray, kept: np.ndarray, videos: np.ndarray, seed: int) -> float:
    """The strength with the lowest inner cross-validated log loss; the tamest where no inner split exists."""
    try:
        splits = split_by_video(kept, videos, INNER_FOLDS, seed)
    except ValueError:
        return STRENGTHS[0]
    losses = []
    for strength in STRENGTHS:
        chance = np.full(len(kept), 0.5)
        for train, test in splits:
            chance[test] = Scaling().chance(linear(x_NK[train], kept[train], strength).logits(x_NK[test]))
        losses.append(log_loss(chance, kept))
    return STRENGTHS[int(np.argmin(losses))]


def log_loss(chance: np.ndarray, kept: np.ndarray) -> float:
    """Mean surprise of the answers, in nats."""
    said = np.clip(np.where(kept, chance, 1 - chance), SMALLEST_CHANCE, 1)
    return float(-np.log(said).mean())


def importances(model: Model, features: Features, kept: np.ndarray, seed: int) -> dict[str, float]:
    """By how much the log loss rises, in nats, when a score is shuffled among the clips (Breiman 2001), largest first.

    A score stands for all features made of it, the embedding for all its axes. Mean of 5 shuffles.
    """
    generator, x_NK = np.random.default_rng(seed), model.encoder.encode(features)
    plain = log_loss(model.scaling.chance(model.core.logits(x_NK)), kept)
    origins = np.array([name.split(" ")[0] for name in model.encoder.names()])
    found = {}
    for origin in dict.fromkeys(origins.tolist()):
        losses = []
        for _ in range(5):
            shuffled = x_NK.copy()
            order = generator.permutation(len(x_NK))
            shuffled[:, origins == origin] = x_NK[order][:, origins == origin]
            losses.append(log_loss(model.scaling.chance(model.core.logits(shuffled)), kept))
        found[origin] = float(np.mean(losses)) - plain
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _boosting(
    x_NK: np.ndarray,
    kept: np.ndarray,
    seed: int,
    steps: int = 120,
    rate: float = 0.06,
    weight: np.ndarray | None = None,
) -> Trees:
    model = GradientBoostingClassifier(
        n_estimators=steps, learning_rate=rate, max_depth=3, min_samples_leaf=8, subsample=0.7, max_features=0.4,
        random_state=seed,
    )  # fmt: skip
    model.fit(x_NK, kept, sample_weight=weight)
    trees = []
    for (regressor,) in model.estimators_:
        tree = regressor.tree_
        value = tree.value[:, 0, 0] * model.learning_rate
        lists = (tree.children_left, tree.children_right, tree.feature, tree.threshold, value)
        trees.append([rounded(each) for each in lists])
    share = np.average(kept, weights=weight)
    return Trees(rounded(np.log(share / (1 - share))), trees)


def _scale(logits: np.ndarray, kept: np.ndarray, fold: np.ndarray) -> tuple[Scaling, np.ndarray, dict[str, float]]:
    """The scaling of all out-of-fold logits, the chances it gives where it never saw the fold, and all losses."""
    ways: dict[str, Callable[[np.ndarray, np.ndarray], Scaling]] = {"none": lambda *_: Scaling(), "platt": _platt}
    if len(kept) >= MIN_FOR_ISOTONIC:
        ways["isotonic"] = _isotonic
    chances, losses = {}, {}
    for kind, way in ways.items():
        chances[kind] = np.zeros(len(kept))
        for number in np.unique(fold):
            here = fold == number
            chances[kind][here] = way(logits[~here], kept[~here]).chance(logits[here])
        losses[kind] = log_loss(chances[kind], kept)
    chosen = "none"
    for kind in ways:
        if losses[kind] < losses[chosen] - MIN_GAIN:
            chosen = kind
    return ways[chosen](logits, kept), chances[chosen], losses


def _platt(logits: np.ndarray, kept: np.ndarray) -> Scaling:
    line = linear(logits[:, None], kept, 1e3)
    return Scaling("platt", [line.weights[0], line.intercept])


def _isotonic(logits: np.ndarray, kept: np.ndarray) -> Scaling:
    steps = IsotonicRegression(y_min=1 / (len(kept) + 2), y_max=1 - 1 / (len(kept) + 2), out_of_bounds="clip")
    steps.fit(np.clip(logits, -LARGEST_LOGIT, LARGEST_LOGIT), kept.astype(float))
    return Scaling("isotonic", rounded(steps.X_thresholds_), rounded(steps.y_thresholds_))


def _knots(known: np.ndarray) -> tuple[list[float], list[float]]:
    """Values at even ranks and their normal scores; a value that repeats gets the middle of its ranks."""
    ranks = (np.arange(NUM_KNOTS) + 0.5) / NUM_KNOTS
    ranks = np.array([ranks[0] / 2, *ranks, 1 - ranks[0] / 2])
    inner = np.quantile(known, ranks[1:-1], method="inverted_cdf")
    values = np.asarray(rounded([known[0], *inner, known[-1]]))
    places, of_rank = np.unique(values, return_inverse=True)
    middle = np.bincount(of_rank, ranks) / np.bincount(of_rank)
    scores = _normal_quantile(middle)
    centre = np.interp(np.median(known), places, scores)
    return rounded(places), rounded(scores - centre)


def _normal_quantile(share: np.ndarray) -> np.ndarray:
    from scipy.special import ndtri

    return ndtri(share)


def _some(flags: np.ndarray) -> bool:
    return bool(flags.any() and not flags.all())
