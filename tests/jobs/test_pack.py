"""Packing: who gets in and why not, equal bytes from equal choices, failures that spare their neighbours."""

import dataclasses

import pytest

from curation.records import Caption, UserError
from curation.shards import current_shards, read_shard
from curation.tables import HumanVerdict
from curation.video import read_member
from jobs.config import Context
from jobs.pack import PackSettings, StageBucket, best_captions, best_part, choose, pack, plan
from tests.jobs.catalogue import clips_in, context_of, find_crops


def test_what_is_left_out_is_counted_with_its_reason(tmp_path):
    context = context_of(tmp_path, [20.0, 7.0, 1.0, None])
    clips = clips_in(context)
    people = HumanVerdict(clips[1].clip_id, "keep", "", 2, True, "simulated-a,simulated-b", "majority")
    context.workspace.table("human_verdicts").append("resolved", [people])
    members, left_out = choose(context)
    kept = {member.clip.clip_id: member.kept_by for member in members}
    assert kept == {clips[0].clip_id: "gates", clips[1].clip_id: "simulated-a,simulated-b"}
    assert left_out == {("video", "rejected by gates"): 1, ("video", "waiting for people"): 1}


def test_in_a_people_stage_nothing_enters_without_a_person(tmp_path):
    context = context_of(tmp_path, [20.0, 20.0, 20.0, 20.0], people=True)
    clips = clips_in(context)
    answers = [
        HumanVerdict(clip.clip_id, decision, "", 1, False, "ann@example.org", "majority")
        for clip, decision in zip(clips, ("keep", "reject"), strict=False)
    ]
    context.workspace.table("human_verdicts").append("resolved", answers)
    members, left_out = choose(context)
    assert [member.clip.clip_id for member in members] == [clips[0].clip_id]
    assert left_out == {("video", "rejected by people"): 1, ("video", "waiting for people"): 2}


def test_a_persons_caption_is_preferred_to_a_draft(tmp_path):
    context = context_of(tmp_path, [20.0] * 4)
    clip = clips_in(context)[0]
    context.workspace.table("captions").append("people", [Caption(clip.clip_id, "people", "1", "a person's words")])
    assert best_captions(context.workspace)[clip.clip_id].short == "a person's words"


def test_a_models_draft_is_preferred_to_bare_facts_whatever_its_name(tmp_path):
    context = context_of(tmp_path, [20.0] * 4)
    clip = clips_in(context)[0]
    for name in ("a", "z"):
        context.workspace.table("captions").append("draft", [Caption(clip.clip_id, f"draft:{name}", "1", name)])
        assert best_captions(context.workspace)[clip.clip_id].short == name


def test_a_clip_is_trimmed_to_what_people_marked(tmp_path):
    clip = clips_in(context_of(tmp_path, [20.0] * 4))[0]
    said = HumanVerdict(clip.clip_id, "keep", "", 1, False, "ann", "rule")
    assert best_part(clip, None) == best_part(clip, said) == clip
    trimmed = best_part(
        clip, dataclasses.replace(said, best_start_s=0.25 * clip.duration_s, best_end_s=0.75 * clip.duration_s)
    )
    assert trimmed.duration_s == pytest.approx(clip.duration_s / 2, rel=0.05) and trimmed.clip_id == clip.clip_id
    to_the_end = best_part(clip, dataclasses.replace(said, best_start_s=0.25 * clip.duration_s))
    assert to_the_end.end_pts == clip.end_pts and to_the_end.start_pts == trimmed.start_pts
    assert best_part(clip, dataclasses.replace(said, best_start_s=9e9)) == clip


def test_the_plan_does_not_depend_on_the_order_of_the_catalogue(tmp_path):
    context = context_of(tmp_path, [20.0] * 4)
    members, _ = choose(context)
    assert plan(members, context.recipe.pack) == plan(members[::-1], context.recipe.pack)
    assert [len(item.inputs) for item in plan(members, context.recipe.pack)] == [3, 1]


def test_a_packed_stage_without_gates_is_refused(tmp_path):
    context = context_of(tmp_path, [20.0] * 4)
    settings = PackSettings(stages={"videos": StageBucket()})
    wrong = Context(context.recipe.model_copy(update={"pack": settings}), context.workspace, context.args)
    with pytest.raises(UserError, match=r"pack\.stages names videos, which have no gates; stages with gates: video"):
        pack(wrong)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_shards_hold_what_was_chosen_and_the_same_bytes_again(tmp_path):
    digests = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        context = context_of(folder, [20.0] * 4)
        tally = pack(context)
        assert tally.holds and (tally.results, tally.pending) == (4, 0)
        shards = current_shards(context.workspace, "video")
        items = [item for shard in shards for item in read_shard(context.workspace, shard)]
        assert [item.clip_id for item in items] == sorted(clip.clip_id for clip in clips_in(context))
        assert read_member(items[0].video).shape == (9, 64, 64, 3)
        assert items[0].meta["caption"]["short"].startswith("shot ")
        assert items[0].meta["crop"] is None
        digests.append([item.video for item in items])
        assert pack(context).new_results == 0
    assert digests[0] == digests[1]


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_members_have_no_bars_and_their_facts_name_the_crop(tmp_path):
    context = context_of(tmp_path, [20.0, 20.0], num_shots=2, bar_px=24)
    crops = find_crops(context)
    assert pack(context).results == 2
    items = [
        item for shard in current_shards(context.workspace, "video") for item in read_shard(context.workspace, shard)
    ]
    for item in items:
        crop, frames = crops[item.clip_id], read_member(item.video)
        assert crop.reason == "letterbox" and item.meta["crop"] == [crop.left, crop.top, crop.width, crop.height]
        assert frames.shape == (9, 64, 64, 3)
        assert min(frames[:, 0].mean(axis=(1, 2)).min(), frames[:, -1].mean(axis=(1, 2)).min()) > 40


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_clip_too_short_for_its_bucket_is_a_failure_and_the_others_are_packed(tmp_path):
    context = context_of(tmp_path, [20.0] * 4)
    long = PackSettings(stages={"video": StageBucket(num_frames=17, frame_rate=8)}, clips_per_shard=4)
    clip = clips_in(context)[0]
    stretched = dataclasses.replace(
        clip, clip_id="0stretched", end_pts=clip.start_pts + 4 * (clip.end_pts - clip.start_pts)
    )
    context.workspace.table("clips").append("long", [stretched])
    score = next(row for row in context.workspace.table("scores").records() if row.clip_id == clip.clip_id)
    context.workspace.table("scores").append("long", [dataclasses.replace(score, clip_id="0stretched")])
    context.workspace.table("captions").append("long", [Caption("0stretched", "draft:facts", "1", "long")])
    tally = pack(Context(context.recipe.model_copy(update={"pack": long}), context.workspace, context.args))
    assert tally.holds and (tally.results, sum(tally.failures.values())) == (1, 4)
    (shard,) = current_shards(context.workspace, "video")
    assert [item.clip_id for item in read_shard(context.workspace, shard)] == ["0stretched"]
