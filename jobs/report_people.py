"""What people said: per annotator how many answers and of which kind, how far they agree, and examples side by side.

annotations --newest per clip and person (annotation.agreement.ballots)--> Annotator rows, ratings, examples
"""

import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from annotation.agreement import Agreement, Ballot, ballots, percent_agreement
from annotation.project import KEPT, MAX_RATING, SCREEN, ChoiceQuestion, RatingQuestion
from curation.records import Annotation
from jobs.report_snapshot import Snapshot
from jobs.trace import answers_of, caption_text


@dataclass(frozen=True)
class Annotator:
    """One person's counting answers."""

    name: str
    simulated: bool
    answers: int
    keep: int
    reject: int
    skipped: int
    median_lead_time_s: float | None
    own_words: int  # answers whose short caption is not the draft's as it came


@dataclass(frozen=True)
class Ratings:
    """How one annotator rated one criterion: `counts[i]` ratings of i + 1."""

    annotator: str
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        return sum(self.counts)

    @property
    def mean(self) -> float:
        return sum((index + 1) * count for index, count in enumerate(self.counts)) / self.total


@dataclass(frozen=True)
class Criterion:
    """A rated criterion, one row per annotator who rated it."""

    title: str
    ratings: tuple[Ratings, ...]


@dataclass(frozen=True)
class Example:
    """One clip and what each person said about it, the verdict first."""

    clip_id: str
    agreed: bool
    decision: str
    reason: str
    answers: tuple[tuple[Annotation, dict[str, str], str], ...]  # with the caption as one line


@dataclass(frozen=True)
class People:
    """The section; empty `annotators` means that nobody has answered."""

    annotators: tuple[Annotator, ...]
    criteria: tuple[Criterion, ...]
    agreement: tuple[tuple[str, Agreement], ...]
    reject_reasons: tuple[tuple[str, int], ...]
    waiting: int
    examples: tuple[Example, ...]

    @property
    def simulated(self) -> int:
        return sum(annotator.answers for annotator in self.annotators if annotator.simulated)

    @property
    def total(self) -> int:
        return sum(annotator.answers for annotator in self.annotators)


def people(snapshot: Snapshot, num_examples: int) -> People:
    """Count the newest answer of each person for each clip."""
    by_clip = ballots(snapshot.annotations)
    votes = [vote for clip_votes in by_clip.values() for vote in clip_votes]
    reasons = Counter(reason for vote in votes for reason in vote.answers.get("reject_reasons", []))
    return People(
        annotators=tuple(_annotators(votes)),
        criteria=tuple(_criteria(votes)),
        agreement=tuple(_agreement(snapshot.annotations)),
        reject_reasons=tuple(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        waiting=len(snapshot.tasks.keys() - snapshot.human.keys()),
        examples=tuple(_examples(snapshot, by_clip, num_examples)),
    )


def _annotators(votes: Sequence[Ballot]) -> list[Annotator]:
    by_person: dict[str, list[Ballot]] = defaultdict(list)
    for vote in votes:
        by_person[vote.annotation.annotator].append(vote)
    rows = []
    for name, own in sorted(by_person.items()):
        answered = [vote for vote in own if not vote.annotation.skipped]
        times = [vote.annotation.lead_time_s for vote in own if vote.annotation.lead_time_s is not None]
        keeps = sum(vote.answers.get("verdict") == KEPT for vote in answered)
        rows.append(
            Annotator(
                name=name,
                simulated=any(vote.annotation.simulated for vote in own),
                answers=len(own),
                keep=keeps,
                reject=len(answered) - keeps,
                skipped=len(own) - len(answered),
                median_lead_time_s=statistics.median(times) if times else None,
                own_words=sum(_origin(vote, "short") in ("manual", "prediction-changed") for vote in answered),
            )
        )
    return rows


def _origin(vote: Ballot, question: str) -> str:
    return json.loads(vote.annotation.origins).get(question, "")


def _criteria(votes: Sequence[Ballot]) -> list[Criterion]:
    criteria = []
    for name, question in SCREEN.questions.items():
        if not isinstance(question, RatingQuestion):
            continue
        given: dict[str, Counter[int]] = defaultdict(Counter)
        for vote in votes:
            if name in vote.answers:
                given[vote.annotation.annotator][int(vote.answers[name])] += 1
        rows = [
            Ratings(person, tuple(counts[rating] for rating in range(1, MAX_RATING + 1)))
            for person, counts in sorted(given.items())
        ]
        if rows:
            criteria.append(Criterion(question.title, tuple(rows)))
    return criteria


def _agreement(annotations: Sequence[Annotation]) -> list[tuple[str, Agreement]]:
    """Agreement on every choice and rating that two people answered for the same clip."""
    found = []
    for name, question in SCREEN.questions.items():
        if isinstance(question, RatingQuestion | ChoiceQuestion):
            agreement = percent_agreement(annotations, name)
            if agreement.num_pairs:
                found.append((question.title, agreement))
    return found


def _examples(snapshot: Snapshot, by_clip: dict[str, list[Ballot]], num_examples: int) -> list[Example]:
    """Clips on which people differ first, then the others, both by id."""
    examples = []
    for clip_id, votes in by_clip.items():
        if clip_id not in snapshot.clips:
            continue
        said = {vote.answers.get("verdict", "skipped") for vote in votes}
        human = snapshot.human.get(clip_id)
        answers = tuple(
            (vote.annotation, answers_of(vote.annotation), caption_text(_texts(vote.answers))) for vote in votes
        )
        decision, reason = (human.decision, human.reason) if human else ("waiting", "more answers are wanted")
        examples.append(Example(clip_id, len(said) == 1, decision, reason, answers))
    return sorted(examples, key=lambda each: (each.agreed, each.decision, each.clip_id))[:num_examples]


def _texts(answers: dict[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in answers.items()}
