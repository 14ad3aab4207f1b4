"""How many answers does the machine need when it chooses what people are asked, and how many when chance does?

    python -m tests.bench.active_loop [--seeds 5] [--clips 12000] [--rules proposal random ...] [--plot FILE.png]

Made-up annotators with a known taste (`annotation/tastes.py`: five, each with their own weights, bias, noise and slips;
one of them answers each clip) judge a synthetic pool of films, concepts, twelve correlated scores and 32-dimensional
vectors, a fifth of it good. Half of the films are never asked about: on them it is measured, against the true taste,
what share of the clips that the machine would propose is good when it proposes half of the good ones (`--recall`).
Both ways start with the same 60 random answers; then batches of a sixth of what is answered, but at least 25:

    random     clips drawn from all
    proposal   the committee differs on whether the clip belongs to the proposal, x unlike the rest of the batch
    learnable  the committee differs on the chance, x unlike
    answer     the one model is unsure, x unlike

The model is the boosting of `annotation/fitting.py` in every arm, fitted to the same number of answers. A curve is
smoothed by isotonic regression (more answers do not make it worse) and the answers at which it reaches `--precision`
are interpolated. The figure is that of the first of `--rules` over random's, mean over seeds. An arm that never gets
there counts with its last number of answers, and is counted in `never`: for random that makes the ratio look worse
than it is, for the others better.

Precision 0.9 at recall 0.5: learnable 0.52 (seeds 0 to 4, up to 1,000 answers; rule chosen there) and 0.52 (seeds 5 to
9, fresh, two of five not there at 1,200), proposal 0.58, answer at least 0.57 (two of five never). At 0.8 it saves
less: the first hundred answers teach about the same whoever chooses them.
"""

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.isotonic import IsotonicRegression
from threadpoolctl import threadpool_limits

from annotation.fitting import committee, fit_one
from annotation.information import answer_bits, choose_batch, learnable_bits, proposal_bits
from annotation.suitability import CalibrateSettings, Features, Model, Scaling
from annotation.tastes import SCORES, Pool, crowd_answers, make_judges, make_pool, truth

GOOD_SHARE, NUM_JUDGES = 0.2, 5
FIRST, SMALLEST_BATCH, GROWTH = 60, 25, 6
SETTINGS = CalibrateSettings()
RULES = ("proposal", "learnable", "answer", "random")


@dataclass(frozen=True)
class World:
    """A pool, what people say of it, what is true, and which half may be asked about."""

    pool: Pool
    features: Features
    answers: np.ndarray
    good: np.ndarray
    may_ask: np.ndarray


@dataclass(frozen=True)
class Curve:
    """Precision at the recall after so many answers."""

    answers: list[int]
    precision: list[float]

    def reaches(self, precision: float) -> float | None:
        """Answers at which the smoothed curve gets there."""
        rising = IsotonicRegression().fit_transform(self.answers, self.precision)
        above = np.flatnonzero(rising >= precision)
        if not len(above):
            return None
        last = int(above[0])
        if last == 0:
            return float(self.answers[0])
        share = (precision - rising[last - 1]) / (rising[last] - rising[last - 1])
        return float(self.answers[last - 1] + share * (self.answers[last] - self.answers[last - 1]))


def make_world(num_clips: int, seed: int) -> World:
    pool, judges = make_pool(num_clips, seed), make_judges(NUM_JUDGES, seed)
    good, bar = truth(pool, judges, GOOD_SHARE, seed)
    features = Features(SCORES, pool.scores, {}, pool.vectors)
    may_ask = pool.films <= pool.films.max() // 2
    return World(pool, features, crowd_answers(pool, judges, bar, seed), good, may_ask)


def precision_at(chance: np.ndarray, good: np.ndarray, recall: float) -> float:
    """Share of good clips among the best-ranked ones that hold this share of the good."""
    found = np.cumsum(good[np.argsort(-chance, kind="stable")])
    count = int(np.searchsorted(found, recall * good.sum()))
    return float(found[count] / (count + 1))


def run(world: World, rule: str, recall: float, limit: int, seed: int) -> Curve:
    """Ask, fit, measure, until the limit."""
    generator = np.random.default_rng(seed)
    asked = np.zeros(len(world.pool), bool)
    asked[generator.choice(np.flatnonzero(world.may_ask), FIRST, replace=False)] = True
    curve = Curve([], [])
    while True:
        places = np.flatnonzero(asked)
        taught = world.features.take(places), world.answers[places], world.pool.films[places]
        model = fit_one("boosting", *taught, SETTINGS)
        held_out = np.flatnonzero(~world.may_ask)
        chance = model.logits(world.features.take(held_out))
        curve.answers.append(len(places))
        curve.precision.append(precision_at(chance, world.good[held_out], recall))
        if len(places) >= limit:
            return curve
        waiting, size = world.may_ask & ~asked, min(max(SMALLEST_BATCH, len(places) // GROWTH), limit - len(places))
        if rule == "random":
            asked[generator.choice(np.flatnonzero(waiting), size, replace=False)] = True
        else:
            bits = _bits(rule, world, taught, model, recall)
            asked[choose_batch(bits, world.pool.vectors, size, waiting, seed)] = True


def _bits(
    rule: str, world: World, taught: tuple[Features, np.ndarray, np.ndarray], model: Model, recall: float
) -> np.ndarray:
    if rule == "answer":
        return answer_bits(model.chance(world.features)[None])
    members = committee(*taught, SETTINGS)
    x_NK = members[0].encoder.encode(world.features)
    chances = np.array([Scaling().chance(member.core.logits(x_NK)) for member in members])
    return learnable_bits(chances) if rule == "learnable" else proposal_bits(chances, recall * GOOD_SHARE)


def measure(options: argparse.Namespace) -> dict[str, list[Curve]]:
    """Every rule on every seed, `--jobs` at a time."""
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    tasks = [(options, rule, seed) for seed in seeds for rule in options.rules]
    curves: dict[str, list[Curve]] = {rule: [] for rule in options.rules}
    with ProcessPoolExecutor(options.jobs) as workers:
        for (_, rule, seed), curve in zip(tasks, workers.map(measure_one, tasks), strict=True):
            curves[rule].append(curve)
            reached = curve.reaches(options.precision)
            said = f"never, up to {curve.answers[-1]}" if reached is None else f"after {reached:.0f} answers"
            print(f"seed {seed}, {rule}: {options.precision} {said}", flush=True)
    return curves


def measure_one(task: tuple[argparse.Namespace, str, int]) -> Curve:
    options, rule, seed = task
    limit = options.limit * (2 if rule == "random" else 1)
    with threadpool_limits(1):
        return run(make_world(options.clips, seed), rule, options.recall, limit, seed)


def answers_needed(curves: Sequence[Curve], precision: float) -> list[float]:
    return [curve.reaches(precision) or float(curve.answers[-1]) for curve in curves]


def summary(curves: dict[str, list[Curve]], precision: float) -> dict[str, dict[str, float]]:
    """Each rule's answers, and their ratio to random's: mean over seeds, and its deviation."""
    random = np.array(answers_needed(curves["random"], precision))
    found = {}
    for rule, of_rule in curves.items():
        needed = np.array(answers_needed(of_rule, precision))
        ratio = needed / random
        never = sum(curve.reaches(precision) is None for curve in of_rule)
        spread = float(ratio.std(ddof=1)) if len(ratio) > 1 else 0.0
        found[rule] = {"answers": needed.mean(), "ratio": ratio.mean(), "deviation": spread, "never": never}
    return {rule: {name: round(float(number), 3) for name, number in each.items()} for rule, each in found.items()}


def plot(curves: dict[str, list[Curve]], options: argparse.Namespace) -> None:
    """Mean curves with each seed's own behind them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, (rule, of_rule) in enumerate(curves.items()):
        grid = np.array(of_rule[0].answers)
        for curve in of_rule:
            axes.plot(curve.answers, curve.precision, color=f"C{number}", alpha=0.2, linewidth=0.8)
        axes.plot(grid, np.mean([curve.precision for curve in of_rule], axis=0), color=f"C{number}", label=rule)
    axes.axhline(options.precision, color="0.5", linewidth=0.8, linestyle="--")
    axes.set(xscale="log", xlabel="answers", ylabel=f"precision at recall {options.recall}, films never asked about")
    axes.set_title(f"{options.seeds} seeds, {NUM_JUDGES} simulated annotators", fontsize=10)
    ticks = [60, 100, 200, 400, 800, 1600, 3200]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.legend()
    figure.savefig(options.plot)


def main() -> None:
    parser = argparse.ArgumentParser(description="Answers needed with and without choosing what to ask.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--clips", type=int, default=12_000)
    parser.add_argument("--precision", type=float, default=0.9)
    parser.add_argument("--recall", type=float, default=0.5)
    parser.add_argument("--limit", type=int, default=1200, help="answers at most; twice as many for random")
    parser.add_argument("--rules", nargs="+", choices=RULES, default=["learnable", "random"])
    parser.add_argument("--jobs", type=int, default=1, help="processes, each with one thread")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    options.rules = list(dict.fromkeys([*options.rules, "random"]))
    curves = measure(options)
    for precision in sorted({0.8, 0.85, 0.9, options.precision}):
        print(f"precision {precision}: {json.dumps(summary(curves, precision))}")
    if options.plot:
        plot(curves, options)
    mine = summary(curves, options.precision)[options.rules[0]]
    print(json.dumps({"answers_ratio": mine["ratio"], "deviation": mine["deviation"], "seeds": options.seeds}))


if __name__ == "__main__":
    main()
