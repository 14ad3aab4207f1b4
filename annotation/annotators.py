"""Each annotator beside the others: severity, pace, rubber stamps, agreement, gold, and a remark where one stands out.

    Votes --same clips--> own answer less the mean of the others' --> severity (verdict, ratings)
          --times, lead times--> pace         --origins--> rubber stamps         --GoldItem--> accuracy

Nobody is measured against people who saw other clips: severity is the mean over the clips that others judged too. It is
remarked on when it is large and more than two standard errors from none. Pace counts as work the time since a person's
answer before this one, or the answer's own lead time after a pause of more than `PAUSE_S`. An answer is a rubber stamp
when drafts came back in it and every one of them as it was sent (origin `prediction`). Nothing here excludes anybody:
it tells whom to talk to.
"""

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from annotation.agreement import Answered, alpha_of_each, answered
from annotation.ballots import Votes, answer_columns, answer_types, votes
from annotation.gold import Accuracy, GoldItem, accuracies
from annotation.project import KEPT, SCREEN
from annotation.screen import RatingQuestion
from curation.records import Annotation

PAUSE_S = 600.0
STANDARD_ERRORS = 2.0
FEWEST = 20  # answers before anything but gold is remarked on
KEEPS_POINTS, RATES_LEVELS, STAMPS_SHARE, HURRIES_SHARE, CHANCE_ALPHA, GOLD_SHARE = 0.1, 0.5, 0.9, 0.4, 0.1, 0.8


@dataclass(frozen=True)
class Difference:
    """Mean of own answer less the others' mean on the same clips, its standard error (None for one clip), and clips."""

    mean: float
    error: float | None
    num_clips: int

    def beyond(self, least: float) -> bool:
        """Large, and not by luck."""
        if self.error is None or self.num_clips < FEWEST:
            return False
        return abs(self.mean) >= least and abs(self.mean) > STANDARD_ERRORS * self.error


@dataclass(frozen=True)
class Annotator:
    """One person's answers that count, beside the others'; None where nothing can be told."""

    name: str
    simulated: bool
    answers: int
    keep: int
    reject: int
    skipped: int
    keeps_more: Difference | None  # share kept, -1 to 1
    rates_higher: Difference | None  # levels, over all criteria
    median_lead_time_s: float | None
    answers_per_hour: float | None
    stamped: int  # of `drafted`
    drafted: int  # answers in which drafts came back
    alpha_verdict: float | None  # against all others
    alpha_ratings: float | None  # the mean over the criteria
    gold: Accuracy | None  # all questions together
    gold_by_question: tuple[Accuracy, ...]
    remarks: tuple[str, ...] = ()

    @property
    def stamped_share(self) -> float | None:
        return self.stamped / self.drafted if self.drafted else None


def annotators(
    annotations: pa.Table | Iterable[Annotation],
    gold: Sequence[GoldItem] = (),
    withdrawn: Collection[str] = (),
) -> list[Annotator]:
    """Everybody who answered or skipped, by name."""
    counted = votes(annotations, withdrawn)
    criteria = [name for name, question in SCREEN.questions.items() if isinstance(question, RatingQuestion)]
    shared = answered(counted, ["verdict", *criteria])
    alphas = {question: alpha_of_each(given) for question, given in shared.items()}
    keeps = _differences([shared["verdict"]], lambda label: float(label == KEPT))
    rates = _differences([shared[name] for name in criteria], float)
    measured = accuracies(counted, gold)
    tallies, paces = _tallies(counted), _paces(counted)
    found = []
    for person in np.unique(counted.person).tolist():
        name = counted.people[person].as_py()
        rated = [alphas[criterion][person] for criterion in criteria if person in alphas[criterion]]
        right = [each for each in measured if each.annotator == name]
        annotator = Annotator(
            name=name,
            **tallies[person],
            keeps_more=keeps.get(person),
            rates_higher=rates.get(person),
            median_lead_time_s=paces[person][0],
            answers_per_hour=paces[person][1],
            alpha_verdict=alphas["verdict"].get(person),
            alpha_ratings=float(np.mean(rated)) if rated else None,
            gold=right[0] if right else None,
            gold_by_question=tuple(right[1:]),
        )
        leads = [lead for other, (lead, _) in paces.items() if other != person and lead is not None]
        remarks = _remarks(annotator, float(np.median(leads)) if leads else None)
        found.append(replace(annotator, remarks=tuple(remarks)))
    return found


def _differences(shared: Sequence[Answered], number: Callable[[Any], float]) -> dict[int, Difference]:
    """Person -> own answers less the others' on the same clips, averaged over questions within a clip first."""
    clips, persons, gaps = [], [], []
    for given in shared:
        value = np.array([number(label) for label in given.labels])[given.value]
        sums, sizes = np.bincount(given.clip, weights=value), np.bincount(given.clip)
        others = (sums[given.clip] - value) / (sizes[given.clip] - 1)
        clips, persons, gaps = [*clips, given.clip], [*persons, given.person], [*gaps, value - others]
    clip, person, gap = (np.concatenate(parts) for parts in (clips, persons, gaps))
    if not len(gap):
        return {}
    pairs, place = np.unique(person * (clip.max() + 1) + clip, return_inverse=True)
    of_clip = np.bincount(place, weights=gap) / np.bincount(place)
    owner, found = pairs // (clip.max() + 1), {}
    for each in np.unique(owner).tolist():
        own = of_clip[owner == each]
        error = float(own.std(ddof=1) / np.sqrt(len(own))) if len(own) > 1 else None
        found[each] = Difference(float(own.mean()), error, len(own))
    return found


def _tallies(counted: Votes) -> dict[int, dict[str, Any]]:
    """Person -> how many answers of which kind."""
    column = answer_columns(counted, answer_types({"verdict": SCREEN.questions["verdict"]}))["verdict"]
    row = counted.newest(column.is_valid().to_numpy())
    kept = pc.call_function("equal", [column, pa.scalar(KEPT)]).fill_null(False).to_numpy()
    keeps, voted = (row >= 0) & kept[row], row >= 0
    drafted, stamped = _draft_marks(counted)
    of_row = np.repeat(counted.person, np.diff(counted.heads, append=len(counted.places)))
    simulated = counted.column("simulated").to_numpy()
    counts = {
        "simulated": (of_row, simulated),
        "answers": (counted.person, np.ones(len(row), bool)),
        "keep": (counted.person, keeps),
        "reject": (counted.person, voted & ~keeps),
        "skipped": (counted.person, counted.skipped()),
        "stamped": (of_row, stamped),
        "drafted": (of_row, drafted),
    }
    size = len(counted.people)
    totals = {name: np.bincount(owner[holds], minlength=size) for name, (owner, holds) in counts.items()}
    return {
        person: {name: int(total[person]) for name, total in totals.items()}
        | {"simulated": bool(totals["simulated"][person])}
        for person in range(size)
    }


def _draft_marks(counted: Votes) -> tuple[np.ndarray, np.ndarray]:
    """Which rows that count hold drafts, and which hold them all unchanged. bool [A]; each text is parsed once."""
    origins = pa.concat_arrays([pa.array([], pa.string()), *counted.column("origins").chunks]).dictionary_encode()
    drafted, stamped = [], []
    for text in origins.dictionary.to_pylist():
        drafts = [origin for origin in json.loads(text).values() if origin in ("prediction", "prediction-changed")]
        drafted.append(bool(drafts))
        stamped.append(bool(drafts) and "prediction-changed" not in drafts)
    place = origins.indices.to_numpy()
    return np.array(drafted, bool)[place], np.array(stamped, bool)[place]


def _paces(counted: Votes) -> dict[int, tuple[float | None, float | None]]:
    """Person -> (median lead time in s, answers per hour of work)."""
    of_row = np.repeat(counted.person, np.diff(counted.heads, append=len(counted.places)))
    leads = counted.column("lead_time_s").to_numpy()
    times = counted.column("updated_at").cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy() / 1e6
    found = {}
    for person in np.unique(of_row).tolist():
        lead = leads[of_row == person]
        when = times[of_row == person]
        order = np.argsort(when, kind="stable")
        known = lead[np.isfinite(lead)]
        median_s = float(np.median(known)) if len(known) else None
        gaps = np.diff(when[order], prepend=-np.inf)
        alone = np.where(np.isfinite(lead[order]), lead[order], median_s or 0.0)
        work_s = float(np.where(gaps <= PAUSE_S, gaps, alone).sum())
        found[person] = median_s, len(when) / work_s * 3600 if work_s > 0 else None
    return found


def _remarks(annotator: Annotator, others_s: float | None) -> list[str]:
    """What stands out, in words."""
    found, keeps, rates = [], annotator.keeps_more, annotator.rates_higher
    if keeps and keeps.beyond(KEEPS_POINTS):
        more = "more" if keeps.mean > 0 else "less"
        points = f"{100 * abs(keeps.mean):.0f} points {more}"
        found.append(f"keeps {points} than the others on the same {keeps.num_clips} clips")
    if rates and rates.beyond(RATES_LEVELS):
        higher = "higher" if rates.mean > 0 else "lower"
        found.append(f"rates {abs(rates.mean):.1f} {higher} than the others on the same {rates.num_clips} clips")
    if annotator.drafted >= FEWEST and annotator.stamped >= STAMPS_SHARE * annotator.drafted:
        found.append(f"sends {annotator.stamped / annotator.drafted:.0%} of {annotator.drafted} drafts back unchanged")
    own_s = annotator.median_lead_time_s
    if own_s is not None and others_s is not None and annotator.answers >= FEWEST and own_s < HURRIES_SHARE * others_s:
        found.append(f"answers in {own_s:.1f} s, where the others take {others_s:.1f} s")
    alpha = annotator.alpha_verdict
    if alpha is not None and keeps and keeps.num_clips >= FEWEST and alpha < CHANCE_ALPHA:
        found.append(f"hardly agrees beyond chance: alpha {alpha:.2f} on {keeps.num_clips} clips")
    if annotator.gold and annotator.gold.high < GOLD_SHARE:
        gold = annotator.gold
        found.append(f"right on {gold.share:.0%} of {gold.asked} gold answers, {gold.high:.0%} at the very best")
    return found
