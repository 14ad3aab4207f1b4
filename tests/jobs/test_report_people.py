"""The people's part of the report: newest answers only, disagreements first, simulation never hidden."""

from dataclasses import replace

import pytest

from annotation.gold import GoldItem
from jobs.report_people import people
from jobs.report_snapshot import Snapshot, take_snapshot
from tests.jobs.finished import ANNOTATORS, empty_context, finished_context


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory) -> Snapshot:
    context = finished_context(tmp_path_factory.mktemp("finished"))
    return take_snapshot(context.workspace, context.recipe)


def test_each_annotator_is_counted_and_marked(snapshot):
    said = people(snapshot, 9)
    rows = [(row.name, row.simulated, row.answers, row.keep, row.reject, row.skipped) for row in said.annotators]
    assert rows == [(ANNOTATORS[0], True, 3, 3, 0, 0), (ANNOTATORS[1], True, 3, 2, 1, 0)]
    assert (said.simulated, said.total, said.waiting) == (6, 6, 1)
    assert said.reject_reasons == (("hardly moves", 1),)


def test_a_newer_answer_replaces_the_older_one_of_the_same_person(snapshot):
    first = snapshot.annotations[0]
    again = replace(
        first, annotation_key="again", updated_at="2026-02-01T00:00:00+00:00", answers='{"verdict": "reject"}'
    )
    said = people(replace(snapshot, annotations=[*snapshot.annotations, again]), 9)
    assert (said.annotators[0].answers, said.annotators[0].keep, said.annotators[0].reject) == (3, 2, 1)


def test_skipped_tasks_are_neither_keep_nor_reject(snapshot):
    skipped = replace(snapshot.annotations[0], skipped=True, answers="{}", origins="{}", lead_time_s=None)
    row = people(replace(snapshot, annotations=[skipped]), 9).annotators[0]
    assert (row.answers, row.keep, row.reject, row.skipped, row.median_lead_time_s) == (1, 0, 0, 1, None)


def test_ratings_are_spread_over_five_grades(snapshot):
    criteria = people(snapshot, 9).criteria
    assert len(criteria) == 7
    for criterion in criteria:
        assert [ratings.total for ratings in criterion.ratings] == [3, 2], "a rejected clip is not rated"
        assert all(1 <= ratings.mean <= 5 and len(ratings.counts) == 5 for ratings in criterion.ratings)


def test_agreement_counts_pairs(snapshot):
    agreement = dict(people(snapshot, 9).agreement)
    verdict = agreement["Verdict"]
    assert verdict.num_pairs == 3 and verdict.share == pytest.approx(2 / 3)
    assert verdict.alpha == pytest.approx(0), "five keeps and one reject: chance explains it"
    assert "Reject reasons" not in agreement, "no clip was rejected twice"


def test_each_annotator_is_set_beside_the_others(snapshot):
    clarity, motion = people(snapshot, 9).annotators
    sides = [each.keeps_more.mean for each in (clarity, motion) if each.keeps_more]
    assert sides == pytest.approx([1 / 3, -1 / 3])
    assert clarity.remarks == motion.remarks == (), "three clips are no ground for a remark"


def test_withdrawn_answers_are_neither_counted_nor_shown(snapshot):
    keys = {row.annotation_key for row in snapshot.annotations if row.annotator == ANNOTATORS[1]}
    said = people(snapshot, 9, withdrawn=keys)
    assert [each.name for each in said.annotators] == [ANNOTATORS[0]] and said.num_withdrawn == 3
    assert all(len(example.answers) == 1 for example in said.examples)


def test_gold_is_measured(snapshot):
    rejected = [row.clip_id for row in snapshot.annotations if "reject_reasons" in row.answers]
    gold = [GoldItem(clip_id, "verdict", "reject") for clip_id in rejected]
    right = {
        each.name: each.gold and (each.gold.right, each.gold.asked) for each in people(snapshot, 9, gold).annotators
    }
    assert right == {ANNOTATORS[0]: (0, 1), ANNOTATORS[1]: (1, 1)}


def test_disagreements_come_first_and_the_number_is_kept(snapshot):
    examples = people(snapshot, 2).examples
    assert [example.agreed for example in examples] == [False, True]
    assert examples[0].decision == "reject" and [len(example.answers) for example in examples] == [2, 2]


def test_nobody_has_answered(tmp_path):
    context = empty_context(tmp_path)
    said = people(take_snapshot(context.workspace, context.recipe), 9)
    assert said.annotators == () and said.examples == () and said.total == 0
