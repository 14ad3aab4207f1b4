"""From many answers to one verdict and one caption per clip: pure functions of the collected annotations.

    annotations --newest per clip and person--> ballots --resolve--> human_verdicts, captions
                                                        --percent_agreement--> how often two people say the same

Rules, version 1. The newest valid answer of a person counts. A clip is decided when as many people as wanted have
answered or skipped and at least one of them answered; skipping abstains. The majority decides; a tie rejects, because a
fine-tuning set must hold only clips that can be defended. The caption is taken whole from one person, since its fields
hang together: from the winning side, whoever put most of it into own words, then the longest; the first by name if
they are still level. Its `version` is the key of that person's answer.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from typing import Any

from annotation.project import KEPT, REJECTED
from annotation.tasks import CAPTION_FIELDS
from curation.records import Annotation, Caption
from curation.tables import HumanVerdict

RULE = "majority, ties reject, version 1"
BY_PEOPLE, BY_SIMULATED = "people", "people (simulated)"


class Standing(StrEnum):
    """Where a task is: decided, set aside by everybody who saw it, or still in want of answers."""

    ANSWERED = "answered"
    SKIPPED = "skipped"
    WAITING = "waiting"


@dataclass(frozen=True)
class Ballot:
    """One person's counting answer about one clip."""

    annotation: Annotation
    answers: dict[str, Any]

    @property
    def verdict(self) -> str:
        return self.answers["verdict"]


@dataclass(frozen=True)
class Agreement:
    """Share of pairs of people, on the same clip, who gave the same answer; None where no clip has two answers."""

    question: str
    num_pairs: int
    share: float | None


def ballots(annotations: Iterable[Annotation]) -> dict[str, list[Ballot]]:
    """Clip id -> the newest answer or skip of each person, ordered by person."""
    newest: dict[tuple[str, str], Annotation] = {}
    for annotation in sorted(annotations, key=lambda row: (row.updated_at, row.annotation_key)):
        newest[annotation.clip_id, annotation.annotator] = annotation
    by_clip: dict[str, list[Ballot]] = defaultdict(list)
    for (clip_id, _), annotation in sorted(newest.items()):
        by_clip[clip_id].append(Ballot(annotation, json.loads(annotation.answers)))
    return dict(by_clip)


def standing(votes: Iterable[Ballot], answers_wanted: int) -> Standing:
    """Where a clip's task is, given the ballots on it."""
    skips = [vote.annotation.skipped for vote in votes]
    if len(skips) < answers_wanted:
        return Standing.WAITING
    return Standing.SKIPPED if all(skips) else Standing.ANSWERED


def resolve(annotations: Iterable[Annotation], answers_wanted: int) -> tuple[list[HumanVerdict], list[Caption]]:
    """Verdict and caption of every decided clip, ordered by clip id."""
    verdicts, captions = [], []
    for clip_id, votes in sorted(ballots(annotations).items()):
        if standing(votes, answers_wanted) == Standing.ANSWERED:
            answered = [vote for vote in votes if not vote.annotation.skipped]
            verdict = _decide(clip_id, answered)
            verdicts.append(verdict)
            captions.append(_caption(verdict, answered))
    return verdicts, captions


def percent_agreement(annotations: Iterable[Annotation], question: str) -> Agreement:
    """Raw agreement on one question, over all pairs of people who both answered it for the same clip."""
    same = []
    for votes in ballots(annotations).values():
        given = [vote.answers[question] for vote in votes if question in vote.answers]
        same += [first == second for first, second in combinations(given, 2)]
    return Agreement(question, len(same), sum(same) / len(same) if same else None)


def _decide(clip_id: str, answered: list[Ballot]) -> HumanVerdict:
    keeps = sum(vote.verdict == KEPT for vote in answered)
    rejects = len(answered) - keeps
    reasons = Counter(reason for vote in answered for reason in vote.answers.get("reject_reasons", []))
    named = ", ".join(reason for reason, _ in sorted(reasons.items(), key=lambda item: (-item[1], item[0])))
    count = f"{keeps} keep, {rejects} reject"
    return HumanVerdict(
        clip_id=clip_id,
        decision=KEPT if keeps > rejects else REJECTED,
        reason=f"{count}: {named}" if named else count,
        num_answers=len(answered),
        simulated=any(vote.annotation.simulated for vote in answered),
        by=", ".join(vote.annotation.annotator for vote in answered),
        rule=RULE,
    )


def _caption(verdict: HumanVerdict, answered: list[Ballot]) -> Caption:
    def rank(vote: Ballot) -> tuple[bool, int, int]:
        origins = json.loads(vote.annotation.origins)
        own = sum(origins.get(name) in ("manual", "prediction-changed") for name in CAPTION_FIELDS)
        length = sum(len(vote.answers.get(name, "")) for name in CAPTION_FIELDS)
        return vote.verdict == verdict.decision, own, length

    best = max(answered, key=rank)  # the first of equals, and they are ordered by name
    fields = {name: best.answers.get(name, "") for name in CAPTION_FIELDS}
    return Caption(
        clip_id=verdict.clip_id,
        by=BY_SIMULATED if best.annotation.simulated else BY_PEOPLE,
        version=best.annotation.annotation_key,
        **fields,
    )
