"""What the report reads: the recipe's own versions, and a plain note where a workspace holds others."""

import pytest

from curation.gates import GateRule, GateSettings, StageGates
from curation.records import Score
from curation.score import ScoreSettings
from curation.split import SplitSettings
from jobs.config import Context
from jobs.report_snapshot import take_snapshot
from tests.jobs.finished import empty_context, finished_context, ordered_clips


@pytest.fixture(scope="module")
def context(tmp_path_factory) -> Context:
    return finished_context(tmp_path_factory.mktemp("finished"))


def test_rows_of_the_recipe_are_taken_without_a_note(context):
    snapshot = take_snapshot(context.workspace, context.recipe)
    assert snapshot.notes == []
    assert len(snapshot.clips) == 8 and len(snapshot.sources) == 2
    assert {scorer: len(scores) for scorer, scores in snapshot.scores.items()} == {"sharpness": 8, "motion": 8}
    assert list(snapshot.verdicts) == ["image", "video", "sft"]


def test_an_empty_workspace_is_an_empty_snapshot(tmp_path):
    context = empty_context(tmp_path)
    snapshot = take_snapshot(context.workspace, context.recipe)
    assert not snapshot.clips and not snapshot.notes and snapshot.members == {"image": {}, "video": {}, "sft": {}}


def test_verdicts_of_other_rules_are_shown_with_a_note(context):
    gates = GateSettings(stages={"image": StageGates(rules=(GateRule(scorer="sharpness", min=99),))})
    snapshot = take_snapshot(context.workspace, context.recipe.model_copy(update={"gates": gates}))
    assert len(snapshot.verdicts["image"]) == 8
    assert len(snapshot.notes) == 1 and snapshot.notes[0].startswith("The 24 gate verdicts shown were made under other")


def test_clips_of_another_splitter_are_shown_with_a_note(context):
    recipe = context.recipe.model_copy(update={"split": SplitSettings(trim_frames=5)})
    snapshot = take_snapshot(context.workspace, recipe)
    assert len(snapshot.clips) == 8 and "The 8 clips shown were made under other settings" in snapshot.notes[0]


def test_scores_of_an_older_version_do_not_mix_with_the_current_ones(tmp_path):
    context = finished_context(tmp_path)
    clip = ordered_clips(context.workspace)[0]
    context.workspace.table("scores").append("old", [Score(clip.clip_id, "sharpness", "0 old", 1.0, None)])
    snapshot = take_snapshot(context.workspace, context.recipe)
    score = snapshot.scores["sharpness"][clip.clip_id]
    assert score.value == 120.0


def test_scorers_that_the_recipe_no_longer_runs_come_last_and_silently(context):
    recipe = context.recipe.model_copy(update={"score": ScoreSettings(scorers=("motion",)), "gates": GateSettings()})
    snapshot = take_snapshot(context.workspace, recipe)
    assert list(snapshot.scores) == ["motion", "sharpness"]
    assert not any("sharpness" in note for note in snapshot.notes)
