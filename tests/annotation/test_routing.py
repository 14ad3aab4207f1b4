"""Which clips go to people, and in which order."""

import pyarrow as pa

from annotation.routing import select
from curation.records import Decision, Verdict
from curation.tables import Workspace


def verdict(clip_id: str, stage: str, decision: str) -> Verdict:
    return Verdict(clip_id, stage, Decision(decision), f"{stage} says {decision}", "gates", "rules")


def routed_of(verdicts: list[Verdict], seed: int) -> list[tuple[str, str]]:
    rows = select(Workspace(".").table("gate_verdicts").rows_of(verdicts), seed)
    return [(row["clip_id"], row["reason"]) for row in rows.to_pylist()]


def test_a_clip_goes_once_with_every_stage_that_wants_it_reviewed():
    verdicts = [
        verdict("a", "video", "review"),
        verdict("a", "image", "review"),
        verdict("a", "sft", "reject"),
        verdict("b", "image", "keep"),
        verdict("c", "image", "reject"),
    ]
    assert routed_of(verdicts, seed=0) == [("a", "image: image says review; video: video says review")]


def test_the_order_is_seeded_and_does_not_follow_the_input():
    verdicts = [verdict(f"clip{number:02}", "video", "review") for number in range(20)]
    order = [clip_id for clip_id, _ in routed_of(verdicts, seed=1)]
    assert order == [clip_id for clip_id, _ in routed_of(verdicts[::-1], seed=1)]
    assert order != sorted(order)
    assert order != [clip_id for clip_id, _ in routed_of(verdicts, seed=2)]


def test_adding_a_clip_leaves_the_order_of_the_others():
    verdicts = [verdict(f"clip{number:02}", "video", "review") for number in range(6)]
    before = [clip_id for clip_id, _ in routed_of(verdicts[:-1], seed=1)]
    after = [clip_id for clip_id, _ in routed_of(verdicts, seed=1)]
    assert [clip_id for clip_id in after if clip_id != "clip05"] == before


def test_dictionary_columns_are_routed_as_text_and_nothing_gives_an_empty_plan():
    plain = Workspace(".").table("gate_verdicts").rows_of([verdict("a", "video", "review")])
    encoded = pa.table({name: plain.column(name).dictionary_encode() for name in plain.column_names})
    assert select(encoded, seed=0).equals(select(plain, seed=0))
    assert select(plain.slice(0, 0), seed=0).num_rows == select(pa.table({}), seed=0).num_rows == 0
