"""The history of one clip: complete, true to the rules of its day, and found by the beginning of its id."""

import json

import pytest

from curation.gates import GateRule, GateSettings, StageGates
from curation.records import Clip, Score, UserError
from curation.tables import Workspace
from jobs.config import Context, save_recipe
from jobs.gates import judge
from jobs.lineage import find_clip, lineage
from tests.jobs.finished import ANNOTATORS, RUN, SCORERS, finished_context, ordered_clips


@pytest.fixture(scope="module")
def context(tmp_path_factory) -> Context:
    return finished_context(tmp_path_factory.mktemp("finished"))


def a_clip(clip_id: str) -> Clip:
    return Clip(clip_id, "video", "film.mp4", 0, 10, 1, 10, 0.0, 1.0, 10, 64, 64, 10.0, "content 1")


def test_a_packed_clip_tells_its_whole_story(context):
    clip = ordered_clips(context.workspace)[0]
    found = lineage(context.workspace, clip.clip_id)
    assert found.clip == clip and found.video is not None and found.video.uri.endswith("film.mp4")
    assert {score.scorer: score.value for score in found.scores} == {"sharpness": 120.0, "motion": 0.2}
    assert [(stage.verdict.stage, stage.verdict.decision) for stage in found.gates] == [
        ("image", "keep"),
        ("video", "keep"),
        ("sft", "review"),
    ]
    assert [row.annotator for row in found.annotations] == list(ANNOTATORS)
    assert all(row.simulated for row in found.annotations)
    assert found.human_verdicts[0].decision == "keep"
    assert {each.member.stage: each.shard.uri for each in found.packed if each.shard} == {
        stage: f"shards/{stage}/{stage}-1.tar" for stage in ("image", "video", "sft")
    }
    assert {caption.by for caption in found.captions} == {"draft:facts", "people (simulated)"}


def test_thresholds_come_with_the_verdict(context):
    clip = ordered_clips(context.workspace)[3]
    video = next(stage for stage in lineage(context.workspace, clip.clip_id).gates if stage.verdict.stage == "video")
    assert video.verdict.reason == "sharpness < 20"
    assert [(rule.scorer, rule.outcome, rule.bounds) for rule in video.rules] == [
        ("sharpness", "narrow", "at least 20, a person decides from 15"),
        ("motion", "pass", "at least 0.05; at most 0.6"),
    ]


def test_verdicts_of_former_rules_keep_their_own_thresholds(tmp_path):
    first = finished_context(tmp_path)
    gates = GateSettings(stages={"image": StageGates(rules=(GateRule(scorer="sharpness", min=500),))})
    second = Context(first.recipe.model_copy(update={"gates": gates}), first.workspace, first.args)
    save_recipe(second.recipe, second.workspace)
    judge(second)
    found = lineage(first.workspace, ordered_clips(first.workspace)[0].clip_id)
    bounds = {
        (stage.verdict.decision, stage.rules[0].bounds) for stage in found.gates if stage.verdict.stage == "image"
    }
    assert bounds == {("keep", "at least 10"), ("reject", "at least 500")}


def test_without_readable_rules_the_verdict_stays_and_the_thresholds_are_gone(tmp_path):
    context = finished_context(tmp_path)
    for name in context.workspace.file_names("rules"):
        context.workspace.write_bytes(b'{"from": "another age"}', "rules", name)
    found = lineage(context.workspace, ordered_clips(context.workspace)[0].clip_id)
    assert len(found.gates) == 3 and all(stage.rules == () for stage in found.gates)


def test_training_reads_and_held_out_clips_are_told_apart(context):
    members = {row.clip_id for row in context.workspace.table("shard_members").records()}
    packed = [clip.clip_id for clip in ordered_clips(context.workspace) if clip.clip_id in members]
    read, held_out = lineage(context.workspace, packed[0]), lineage(context.workspace, packed[-1])
    assert [(row.stage, row.first_step, row.last_step) for row in read.reads] == [("sft", 1, 40), ("vae", 1, 40)]
    assert read.held_out_of == () and held_out.reads == () and held_out.held_out_of == (RUN,)


def test_scores_of_other_versions_are_listed_but_not_judged_by(tmp_path):
    context = finished_context(tmp_path)
    clip = ordered_clips(context.workspace)[0]
    context.workspace.table("scores").append("old", [Score(clip.clip_id, "sharpness", "0 old", 1.0, None)])
    found = lineage(context.workspace, clip.clip_id)
    assert len(found.scores) == len(SCORERS.scorers) + 1
    assert found.gates[0].rules[0].text == "sharpness 120"


def test_the_beginning_of_an_id_is_enough_where_it_is_unique(tmp_path):
    workspace = Workspace(str(tmp_path))
    workspace.table("clips").append("all", [a_clip("aa11"), a_clip("aa22"), a_clip("bb33"), a_clip("bb3344")])
    assert find_clip(workspace, "aa1").clip_id == "aa11"
    assert find_clip(workspace, "bb33").clip_id == "bb33", "a whole id wins over longer ones that begin with it"
    with pytest.raises(UserError, match="2 of 4 clips begin with 'aa': aa11, aa22; give more of the id"):
        find_clip(workspace, "aa")


def test_an_unknown_id_says_how_many_there_are_and_which_are_near(tmp_path):
    workspace = Workspace(str(tmp_path))
    with pytest.raises(UserError, match=f"no clip 'x': {tmp_path} has no clips yet; run `dailies split` first"):
        find_clip(workspace, "x")
    workspace.table("clips").append("all", [a_clip("aa11"), a_clip("aa22"), a_clip("bb33")])
    with pytest.raises(UserError, match=f"no clip 'aa12' among the 3 clips of {tmp_path}; nearest: aa"):
        find_clip(workspace, "aa12")
    with pytest.raises(UserError, match="no clip '' among"):
        find_clip(workspace, "")


def test_json_is_readable_by_programs(context):
    clip = ordered_clips(context.workspace)[0]
    tree = json.loads(lineage(context.workspace, clip.clip_id).to_json())
    assert tree["clip"]["clip_id"] == clip.clip_id
    assert tree["gates"][0]["rules"][0]["bounds"] == "at least 10"
