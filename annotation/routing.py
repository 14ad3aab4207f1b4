"""Which clips go to people, and in which order.

Today the gates' review band: a clip goes when at least one stage's verdict is `review`. The order is a seeded shuffle
that depends on the clip ids alone, so two runs agree, neighbours of one film do not tire the annotator in a row, and
those who stop half-way have seen a fair sample.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from curation.records import Decision, Verdict, content_id


@dataclass(frozen=True)
class Routed:
    """A clip for people, and why it needs them, stage by stage."""

    clip_id: str
    reason: str


def select(verdicts: Iterable[Verdict], seed: int) -> list[Routed]:
    """Every clip with a `review` verdict, once, in the seeded order. The verdicts must be of one set of rules."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for verdict in sorted(verdicts, key=lambda verdict: (verdict.clip_id, verdict.stage)):
        if verdict.decision == Decision.REVIEW:
            reasons[verdict.clip_id].append(f"{verdict.stage}: {verdict.reason}")
    routed = [Routed(clip_id, "; ".join(texts)) for clip_id, texts in reasons.items()]
    return sorted(routed, key=lambda item: content_id(seed, item.clip_id))
