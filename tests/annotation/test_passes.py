"""Two passes: what the fast one rejects is done, what it keeps waits for the full one."""

import dataclasses

import pyarrow as pa
import pytest

from annotation.passes import resolve_passes
from curation.records import Annotation
from curation.tables import schema_of
from tests.annotation.answers import annotation, kept, rejected

FAST, FULL = "P, fast pass", "P"
YES, NO = {"verdict": "keep"}, {"verdict": "reject", "reject_reasons": ["dull"]}


def rows(*given: tuple[str, str, str, dict | None]) -> pa.Table:
    """(project, clip, person, answers), each a minute after the one before."""
    found = [
        dataclasses.replace(
            annotation(clip, person, answers, f"2026-01-01T00:{minute:02}:00Z"),
            annotation_key=f"{project}/{clip}/{person}",
            project=project,
        )
        for minute, (project, clip, person, answers) in enumerate(given)
    ]
    return pa.Table.from_pylist([vars(row) for row in found], schema=schema_of(Annotation))


def decided(table: pa.Table, **more) -> tuple[dict[str, str], list[str]]:
    passed = resolve_passes(table, FAST, 2, **more)
    verdicts = {row["clip_id"]: row["decision"] for row in passed.resolved.verdicts.to_pylist()}
    captions = set(passed.resolved.captions.column("clip_id").to_pylist())
    assert captions <= set(verdicts)
    return verdicts, passed.promoted


FIRST = (
    (FAST, "good", "ann", YES),
    (FAST, "good", "bob", YES),
    (FAST, "bad", "ann", NO),
    (FAST, "bad", "bob", NO),
    (FAST, "torn", "ann", YES),
    (FAST, "torn", "bob", NO),
    (FAST, "half", "ann", YES),
)


def test_a_clip_kept_in_the_fast_pass_is_decided_only_by_the_full_one():
    assert decided(rows(*FIRST)) == ({"bad": "reject", "torn": "reject"}, ["good"])
    once = (*FIRST, (FULL, "good", "ann", kept()))
    assert decided(rows(*once)) == ({"bad": "reject", "torn": "reject"}, ["good"])
    verdicts, promoted = decided(rows(*once, (FULL, "good", "bob", kept())))
    assert verdicts == {"bad": "reject", "good": "keep", "torn": "reject"} and promoted == ["good"]


@pytest.mark.parametrize("people", [("ann", "bob"), ("cat", "dan")], ids=["the same people", "others"])
def test_the_full_pass_may_still_reject(people):
    second = [(FULL, "good", person, rejected("cut inside")) for person in people]
    verdicts, _ = decided(rows(*FIRST, *second))
    assert verdicts["good"] == "reject"


def test_an_answer_that_was_withdrawn_takes_the_clip_back():
    table = rows(*FIRST, (FULL, "good", "ann", kept()), (FULL, "good", "bob", kept()))
    assert "good" not in decided(table, withdrawn={"P/good/bob"})[0]
    verdicts, promoted = decided(table, withdrawn={f"{FAST}/good/bob"})
    assert "good" not in promoted and verdicts["good"] == "keep", "people have kept it in full, whoever was first"


def test_without_a_fast_pass_every_answer_is_a_full_one():
    passed = resolve_passes(rows((FULL, "a", "ann", kept()), (FULL, "a", "bob", kept())), "", 2)
    assert passed.resolved.verdicts.column("decision").to_pylist() == ["keep"] and passed.promoted == []
