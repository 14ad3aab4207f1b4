"""The report's counting: every clip is somewhere, and a gate's sole victims are told from shared ones."""

import pytest

from curation.records import Failure
from jobs.config import Context
from jobs.footage import FootageSettings
from jobs.report_funnel import MAX_LISTED_FAILURES, equations, failure_groups, file_counts, stage_funnels
from jobs.report_snapshot import Snapshot, take_snapshot
from tests.jobs.finished import NASTY_NAME, RUN, empty_context, finished_context


@pytest.fixture(scope="module")
def context(tmp_path_factory) -> Context:
    return finished_context(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="module")
def snapshot(context) -> Snapshot:
    return take_snapshot(context.workspace, context.recipe)


def test_every_clip_of_a_stage_is_kept_sent_or_stopped(context, snapshot):
    for stage in stage_funnels(snapshot, context.recipe, RUN):
        assert sum(stage.outcomes.values()) == stage.num_clips == 8
        assert sum(stage.people_said.values()) == stage.outcomes["review"]
        assert stage.packed == stage.outcomes["keep"] + stage.people_said["keep"]
        assert stage.trained_on <= stage.packed


def test_gates_count_what_they_stopped_and_what_they_alone_stopped(context, snapshot):
    """Sharpness 120 60 24 17 12 4 - 300 and motion .2 .3 .01 .15 .08 .004 .11 .02 against 20 (15) and 0.05."""
    video = next(stage for stage in stage_funnels(snapshot, context.recipe, RUN) if stage.stage == "video")
    sharpness, motion = video.gates
    assert (sharpness.rejected, sharpness.rejected_only) == (2, 1)  # 12 alone, 4 together with motion
    assert (motion.rejected, motion.rejected_only) == (3, 2)
    assert (sharpness.review, sharpness.review_only) == (2, 2)  # 17 is narrow, one failed
    assert sharpness.bounds == "at least 20, a person decides from 15"


def test_reads_count_only_for_stages_that_the_training_stage_reads(context, snapshot):
    by_stage = {stage.stage: stage.trained_on for stage in stage_funnels(snapshot, context.recipe, RUN)}
    packed = {stage: len(members) for stage, members in snapshot.members.items()}
    assert by_stage["image"] == packed["image"] - 1, "one image is held out"
    assert {stage.trained_on for stage in stage_funnels(snapshot, context.recipe, "another run")} == {0}


def test_jobs_add_up(context, snapshot):
    found = {each.job: each for each in equations(snapshot, context.recipe)}
    assert (found["split"].results, dict(found["split"].failures)) == (2, {"not a video": 1})
    assert found["split"].inputs == 3 and found["split"].failures_text == "1 not a video"
    assert found["split"].pending is None, "the recipe names no footage, so nobody knows what is left"
    assert (found["score"].results, found["score"].pending) == (8, 0)
    assert found["pack"].results == sum(len(members) for members in snapshot.members.values())


def test_listed_files_that_are_neither_result_nor_failure_are_pending(context, snapshot, tmp_path):
    (tmp_path / "new.mp4").write_bytes(b"new")
    recipe = context.recipe.model_copy(update={"footage": FootageSettings(path=str(tmp_path))})
    split = equations(snapshot, recipe)[0]
    assert (split.results, split.pending, split.inputs) == (0, 1, 1), "what left the footage is no input any more"


def test_nothing_done_is_no_equation_and_no_failure(tmp_path):
    context = empty_context(tmp_path)
    empty = take_snapshot(context.workspace, context.recipe)
    assert equations(empty, context.recipe) == [] and failure_groups(empty.failures) == [] and file_counts(empty) == []


def test_failures_are_grouped_by_job_and_reason_most_frequent_first():
    rows = [Failure("split", "d", str(index), f"{index:03d}.mp4", "not a video", "") for index in range(60)]
    rows += [Failure("score", "d", "x", "film.mp4", "worker died", "")]
    first, second = failure_groups(rows)
    assert (first.reason, first.count, len(first.listed)) == ("not a video", 60, MAX_LISTED_FAILURES)
    assert first.listed[0].label == "000.mp4"
    assert (second.job, second.count) == ("score", 1)


def test_files_say_how_many_of_their_clips_are_packed(snapshot):
    counts = {each.name: (each.clips, each.packed) for each in file_counts(snapshot)}
    assert counts == {"film.mp4": (5, 5), NASTY_NAME: (3, 1)}
