"""Two passes put together: what the fast pass keeps goes to the full pass, and only the full pass keeps for good.

    fast answers --resolve--> rejected: decided
                          +-> kept: promoted --full answers--> decided, by everybody's newest answer to each question

A clip that the fast pass kept is in no training set before as many people as wanted have seen it again; one that it
rejected is done. Answers of other projects (a recipe without a fast pass, an older title) count as full ones.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from annotation.project import KEPT
from annotation.resolve import MAJORITY, Resolved, resolve_rows
from annotation.rules import ResolveSettings


@dataclass(frozen=True)
class Passed:
    """What all passes decided, and the ids of the clips that the fast pass kept, rising."""

    resolved: Resolved
    promoted: list[str]


def resolve_passes(
    annotations: pa.Table,
    fast_title: str,
    answers_wanted: int | Mapping[str, int],
    settings: ResolveSettings = MAJORITY,
    withdrawn: Collection[str] = (),
    known: Mapping[str, str] | None = None,
) -> Passed:
    """Verdicts and captions of the clips that are through; arguments as of `resolve_rows`.

    Args:
        fast_title: project of the fast pass; empty: there is none.
    """

    def resolved(rows: pa.Table) -> Resolved:
        return resolve_rows(rows, answers_wanted, settings, withdrawn, known)

    if not fast_title:
        return Passed(resolved(annotations), [])
    is_fast = pc.field("project") == fast_title
    fast, full, both = (
        resolved(rows) for rows in (annotations.filter(is_fast), annotations.filter(~is_fast), annotations)
    )
    keeps = pc.field("decision") == KEPT
    promoted = fast.verdicts.filter(keeps).column("clip_id").combine_chunks()
    seen_again = full.verdicts.column("clip_id").combine_chunks()
    through = pc.field("clip_id").isin(seen_again) | (~keeps & ~pc.field("clip_id").isin(promoted))
    verdicts = both.verdicts.filter(through)
    captions = both.captions.filter(pc.field("clip_id").isin(verdicts.column("clip_id").combine_chunks()))
    waiting = fast.num_waiting_for_adjudicator + full.num_waiting_for_adjudicator
    return Passed(Resolved(verdicts, captions, waiting), promoted.to_pylist())
