"""What do agreement, the table of annotators, resolving and calibration say of a crowd whose truth is known?

    python -m tests.bench.crowd [--people 60] [--clips 6000] [--answers 2] [--gold 400] [--seed 0]

The made-up pool and annotators of `annotation/tastes.py` (each with own weights, bias, noise and slips) answer the
screen's verdict and two ratings; three of them are careless (half of their verdicts are a coin), two are far more
lenient than the rest, two send every draft back unchanged. Everything then goes through the code that real answers go
through: Krippendorff's alpha with intervals, the remarks on every annotator, the majority's verdicts, and `suitability`
fitted to them, judged on films it has not seen and against the hidden truth. The last line is JSON for programs.
"""

import argparse
import json
import time
from dataclasses import replace

import numpy as np
import pyarrow as pa

from annotation.agreement import agreements
from annotation.annotators import annotators
from annotation.fitting import Fit, fit
from annotation.gold import GoldItem
from annotation.project import KEPT, REJECTED
from annotation.reliability import Resamples, auc, calibration_error, proposal, proposed_out_of_fold
from annotation.resolve import resolve_rows
from annotation.suitability import CalibrateSettings, Features
from annotation.tastes import SCORES, Judge, Pool, answers, liking, make_judges, make_pool, truth
from curation.records import Annotation
from curation.tables import schema_of
from tests.annotation.crowd import START

CARELESS, LENIENT, STAMPERS = ("judge-3", "judge-17", "judge-31"), ("judge-8", "judge-22"), ("judge-5", "judge-40")
COIN_SHARE, LENIENT_BIAS, GOOD_SHARE, RATING_NOISE = 0.5, 0.9, 0.4, 0.7
SETTINGS = CalibrateSettings()


def crowd(count: int, seed: int) -> list[Judge]:
    """The judges with the odd ones among them."""
    return [
        replace(judge, slips=COIN_SHARE / 2)
        if judge.name in CARELESS
        else replace(judge, bias=LENIENT_BIAS)
        if judge.name in LENIENT
        else judge
        for judge in make_judges(count, seed)
    ]


def asked_of(num_people: int, num_clips: int, num_answers: int, num_gold: int, seed: int) -> list[np.ndarray]:
    """For each person the clips they see: so many different people per clip, and every gold clip."""
    generator = np.random.default_rng([seed, 3])
    drawn = np.argsort(generator.random((num_clips, num_people)), axis=1)[:, :num_answers]
    gold = np.arange(num_clips) < num_gold
    seen = [np.flatnonzero((drawn == person).any(axis=1) & ~gold) for person in range(num_people)]
    shares = [generator.choice(num_gold, max(num_gold // 4, 1), replace=False) for _ in range(num_people)]
    return [np.sort(np.concatenate(pair)) for pair in zip(seen, shares, strict=True)]


def rows_of(pool: Pool, judge: Judge, clips: np.ndarray, bar: float, seed: int) -> list[Annotation]:
    """One annotator's answers as the table holds them."""
    generator = np.random.default_rng([seed, 4, *judge.name.encode()])
    said, felt = answers(pool, judge, bar, seed), liking(pool, judge, seed) - bar
    stamps = generator.random(len(pool)) < (1.0 if judge.name in STAMPERS else 0.2)
    rows = []
    for clip in clips.tolist():
        grades = np.clip(np.round(3 + felt[clip] + RATING_NOISE * generator.standard_normal(2)), 1, 5)
        given = {
            "verdict": KEPT if said[clip] else REJECTED,
            "lighting_quality": int(grades[0]),
            "motion_speed": int(grades[1]),
            "short": "A clip.",
        }
        origins = {"verdict": "manual", "short": "prediction" if stamps[clip] else "prediction-changed"}
        rows.append(
            Annotation(
                f"{judge.name}/{clip}", f"c{clip:06}", judge.name, False, False, json.dumps(given),
                json.dumps(origins), 8.0, START.isoformat(), "Dailies", clip,
            )
        )  # fmt: skip
    return rows


def say_agreement(rows: pa.Table) -> None:
    for each in agreements(rows):
        if each.alpha is not None:
            interval = f"[{each.low:.3f}, {each.high:.3f}]"
            print(f"alpha of {each.question}: {each.alpha:.3f} {interval}, {each.num_clips} clips")


def say_people(rows: pa.Table, gold: list[GoldItem]) -> dict[str, int]:
    """How many of the odd ones are remarked on, and how many of the others."""
    everybody = annotators(rows, gold)
    remarked = {each.name: each.remarks for each in everybody if each.remarks}
    odd = {*CARELESS, *LENIENT, *STAMPERS} & {each.name for each in everybody}
    for name in sorted(odd | set(remarked)):
        print(f"{name}{' (odd)' if name in odd else ''}: {'; '.join(remarked.get(name, ['no remark']))}")
    return {"odd": len(odd), "odd_found": len(odd & set(remarked)), "others_remarked": len(set(remarked) - odd)}


def say_fit(found: Fit, kept: np.ndarray, films: np.ndarray, good: np.ndarray) -> dict[str, float]:
    """Figures out of fold, against what people said and against the truth they tried to say."""
    resamples = Resamples(films, SETTINGS.num_bootstraps, SETTINGS.seed)
    ranking = auc(found.chance, kept, resamples)
    proposed = proposed_out_of_fold(found.chance, kept, found.fold, SETTINGS.precision)
    of_people = proposal("people", proposed, kept, resamples)
    of_truth = proposal("truth", proposed, good, resamples)
    print(f"suitability ({found.model.kind}): AUC {ranking}, calibration error "
          f"{calibration_error(found.chance, kept, resamples)}")  # fmt: skip
    print(f"at a wanted precision of {SETTINGS.precision}: precision {of_people.precision}, recall {of_people.recall}; "
          f"against the truth {of_truth.precision} and {of_truth.recall}")  # fmt: skip
    return {"auc": ranking.value, "precision": of_people.precision.value, "true_precision": of_truth.precision.value}


def main() -> None:
    parser = argparse.ArgumentParser(description="Agreement and calibration on a simulated crowd.")
    parser.add_argument("--people", type=int, default=60)
    parser.add_argument("--clips", type=int, default=6000)
    parser.add_argument("--answers", type=int, default=2, help="different people per clip")
    parser.add_argument("--gold", type=int, default=400, help="clips with a known verdict; everybody sees a quarter")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    pool, judges = make_pool(options.clips, options.seed), crowd(options.people, options.seed)
    good, bar = truth(pool, judges, GOOD_SHARE, options.seed)
    asked = asked_of(options.people, options.clips, options.answers, options.gold, options.seed)
    each = zip(judges, asked, strict=True)
    answered = [vars(row) for judge, clips in each for row in rows_of(pool, judge, clips, bar, options.seed)]
    rows = pa.Table.from_pylist(answered, schema=schema_of(Annotation))
    known = {f"c{clip:06}": KEPT if good[clip] else REJECTED for clip in range(options.gold)}
    print(f"{len(rows)} answers of {options.people} people to {options.clips} clips, {options.gold} of them gold")
    started = time.perf_counter()
    say_agreement(rows)
    figures = say_people(rows, [GoldItem(clip, "verdict", verdict) for clip, verdict in known.items()])
    verdicts = resolve_rows(rows, options.answers, known=known).verdicts
    places = np.array([int(clip_id[1:]) for clip_id in verdicts["clip_id"].to_pylist()])
    kept = np.array([decision == KEPT for decision in verdicts["decision"].to_pylist()])
    learnt = places >= options.gold
    right = float((kept[learnt] == good[places[learnt]]).mean())
    print(f"{len(places)} clips decided, {right:.3f} of those that are not gold as the truth has it")
    features = Features(SCORES, pool.scores, {}, pool.vectors).take(places)
    found = fit(features, kept, pool.films[places], SETTINGS)
    figures |= say_fit(found, kept, pool.films[places], good[places])
    print(f"{time.perf_counter() - started:.0f} s without making the answers")
    print(json.dumps({"decided_right": round(right, 3)} | {name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
