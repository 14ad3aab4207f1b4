"""Which clips go to people, and in which order."""

from annotation.routing import select
from curation.records import Decision, Verdict


def verdict(clip_id: str, stage: str, decision: str) -> Verdict:
    return Verdict(clip_id, stage, Decision(decision), f"{stage} says {decision}", "gates", "rules")


def test_a_clip_goes_once_with_every_stage_that_wants_it_reviewed():
    verdicts = [
        verdict("a", "video", "review"),
        verdict("a", "image", "review"),
        verdict("a", "sft", "reject"),
        verdict("b", "image", "keep"),
        verdict("c", "image", "reject"),
    ]
    (routed,) = select(verdicts, seed=0)
    assert routed.clip_id == "a"
    assert routed.reason == "image: image says review; video: video says review"


def test_the_order_is_seeded_and_does_not_follow_the_input():
    verdicts = [verdict(f"clip{number:02}", "video", "review") for number in range(20)]
    order = [routed.clip_id for routed in select(verdicts, seed=1)]
    assert order == [routed.clip_id for routed in select(reversed(verdicts), seed=1)]
    assert order != sorted(order)
    assert order != [routed.clip_id for routed in select(verdicts, seed=2)]


def test_adding_a_clip_leaves_the_order_of_the_others():
    verdicts = [verdict(f"clip{number:02}", "video", "review") for number in range(6)]
    before = [routed.clip_id for routed in select(verdicts[:-1], seed=1)]
    after = [routed.clip_id for routed in select(verdicts, seed=1)]
    assert [clip_id for clip_id in after if clip_id != "clip05"] == before
