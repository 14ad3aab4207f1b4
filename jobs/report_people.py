"""What people said: each annotator beside the others, how far they agree, and examples side by side.

annotations less withdrawn --annotation.annotators--> a row per person --+
                           --annotation.agreement---> alpha per question +--> People
                           --annotation.ballots-----> ratings, examples -+
"""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from annotation.agreement import NOT_A_GATE, Agreement, agreements
from annotation.annotators import Annotator, annotators
from annotation.ballots import Ballot, ballots
from annotation.gold import GoldItem
from annotation.project import SCREEN
from annotation.screen import MAX_RATING, RatingQuestion
from curation.records import Annotation
from jobs.report_snapshot import Snapshot
from jobs.trace import answers_of, caption_text


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
    num_withdrawn: int = 0  # answers that were deleted on the server and count no more

    @property
    def about_alpha(self) -> str:
        return NOT_A_GATE

    @property
    def simulated(self) -> int:
        return sum(annotator.answers for annotator in self.annotators if annotator.simulated)

    @property
    def total(self) -> int:
        return sum(annotator.answers for annotator in self.annotators)


def people(
    snapshot: Snapshot,
    num_examples: int,
    gold: Sequence[GoldItem] = (),
    withdrawn: Collection[str] = (),
    seed: int = 0,
) -> People:
    """Count what counts of each person for each clip (see annotation.ballots); the seed draws the intervals."""
    by_clip = ballots(snapshot.annotations, withdrawn)
    votes = [vote for clip_votes in by_clip.values() for vote in clip_votes]
    reasons = Counter(reason for vote in votes for reason in vote.answers.get("reject_reasons", []))
    titles = {name: question.title for name, question in SCREEN.questions.items()}
    agreement = agreements(snapshot.annotations, withdrawn, seed)
    return People(
        annotators=tuple(annotators(snapshot.annotations, gold, withdrawn)),
        criteria=tuple(_criteria(votes)),
        agreement=tuple((titles[each.question], each) for each in agreement if each.num_pairs),
        reject_reasons=tuple(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        waiting=len(snapshot.tasks.keys() - snapshot.human.keys()),
        examples=tuple(_examples(snapshot, by_clip, num_examples)),
        num_withdrawn=len(withdrawn),
    )


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


def _examples(snapshot: Snapshot, by_clip: dict[str, list[Ballot]], num_examples: int) -> list[Example]:
    """Clips on which people differ first, then the others, both by id."""
    examples = []
    for clip_id, votes in by_clip.items():
        if clip_id not in snapshot.clips:
            continue
        said = {vote.answers.get("verdict", "skipped") for vote in votes}
        human = snapshot.human.get(clip_id)
        answers = tuple(_said(vote) for vote in votes)
        decision, reason = (human.decision, human.reason) if human else ("waiting", "more answers are wanted")
        examples.append(Example(clip_id, len(said) == 1, decision, reason, answers))
    return sorted(examples, key=lambda each: (each.agreed, each.decision, each.clip_id))[:num_examples]


def _said(vote: Ballot) -> tuple[Annotation, dict[str, str], str]:
    """What counts of one person, as one row: of the fast and the full pass together."""
    row = replace(vote.annotation, skipped=vote.skipped, answers=json.dumps(vote.answers))
    return row, answers_of(row), caption_text(_texts(vote.answers))


def _texts(answers: dict[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in answers.items()}
