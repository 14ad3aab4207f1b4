"""Packing: who gets in and why not, equal bytes from equal choices, failures that spare their neighbours."""

import dataclasses
from collections import Counter

import cv2
import pytest

from curation.records import Caption, Clip, Failure, Span, UserError, content_id
from curation.scorers.sharpness import laplacian_variance
from curation.shards import current_plan, current_shards, open_shard, read_shard
from curation.split import SplitSettings, split_video
from curation.tables import HumanVerdict
from curation.transcode import write_member
from curation.video import read_member
from jobs.config import Context
from jobs.pack import (
    Candidate,
    PackSettings,
    PackWorker,
    StageBuckets,
    account,
    best_captions,
    best_part,
    choose,
    pack,
    pack_job,
    place_all,
    plan,
    planned_id,
    source_rate,
)
from jobs.pack_fates import Fate
from tests.footage import texture, write_video
from tests.jobs.catalogue import clips_in, context_of, find_crops


def test_what_is_left_out_is_counted_with_its_reason(tmp_path):
    context = context_of(tmp_path, [20.0, 7.0, 1.0, None])
    clips = clips_in(context)
    people = HumanVerdict(clips[1].clip_id, "keep", "", 2, True, "simulated-a,simulated-b", "majority")
    context.workspace.table("human_verdicts").append("resolved", [people])
    candidates, left_out = choose(context)
    kept = {candidate.clip.clip_id: candidate.kept_by for candidate in candidates}
    assert kept == {clips[0].clip_id: "gates", clips[1].clip_id: "simulated-a,simulated-b"}
    told = {fate.clip_id: (fate.fate, fate.reason, fate.by) for fate in left_out}
    assert told == {
        clips[2].clip_id: (Fate.REJECTED_BY_GATES, "sharpness < 10", "gates"),
        clips[3].clip_id: (Fate.WAITING, "sharpness failed", ""),
    }


def test_in_a_people_stage_nothing_enters_without_a_person(tmp_path):
    context = context_of(tmp_path, [20.0, 20.0, 20.0, 20.0], people=True)
    clips = clips_in(context)
    answers = [
        HumanVerdict(clip.clip_id, decision, "", 1, False, "ann@example.org", "majority")
        for clip, decision in zip(clips, ("keep", "reject"), strict=False)
    ]
    context.workspace.table("human_verdicts").append("resolved", answers)
    candidates, left_out = choose(context)
    assert [candidate.clip.clip_id for candidate in candidates] == [clips[0].clip_id]
    assert Counter(fate.fate for fate in left_out) == {Fate.REJECTED_BY_PEOPLE: 1, Fate.WAITING: 2}
    assert {fate.by for fate in left_out if fate.fate == Fate.REJECTED_BY_PEOPLE} == {"ann@example.org"}


def test_a_clip_without_a_caption_is_told_so(tmp_path):
    context = context_of(tmp_path, [20.0] * 4)
    (tmp_path / "ws" / "captions" / "film.parquet").unlink()
    candidates, left_out = choose(context)
    assert candidates == [] and [fate.fate for fate in left_out] == [Fate.NO_CAPTION] * 4


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
    members, _ = place_all(choose(context)[0], context.recipe.pack.stages)
    assert plan(members, context.recipe.pack) == plan(members[::-1], context.recipe.pack)
    assert [len(item.inputs) for item in plan(members, context.recipe.pack)] == [3, 1]


def test_a_packed_stage_without_gates_is_refused(tmp_path):
    context = context_of(tmp_path, [20.0] * 4)
    settings = PackSettings(stages={"videos": StageBuckets()})
    wrong = Context(context.recipe.model_copy(update={"pack": settings}), context.workspace, context.args)
    with pytest.raises(UserError, match=r"pack\.stages names videos, which have no gates; stages with gates: video"):
        pack(wrong)


def with_pack(context, settings):
    return Context(context.recipe.model_copy(update={"pack": settings}), context.workspace, context.args)


def add_longer_copy(context, clip, clip_id, **changes):
    """A clip of four times the length, with the score and the caption that it needs."""
    end_pts = clip.start_pts + 4 * (clip.end_pts - clip.start_pts)
    changes = {"clip_id": clip_id, "end_pts": end_pts, "num_frames": 4 * clip.num_frames} | changes
    workspace = context.workspace
    workspace.table("clips").append(clip_id, [dataclasses.replace(clip, **changes)])
    score = next(row for row in workspace.table("scores").records() if row.clip_id == clip.clip_id)
    workspace.table("scores").append(clip_id, [dataclasses.replace(score, clip_id=clip_id)])
    workspace.table("captions").append(clip_id, [Caption(clip_id, "draft:facts", "1", "long")])


def planned(context, settings):
    """The engine items of a workspace."""
    members, fates = place_all(choose(context)[0], settings.stages)
    return plan(members, settings), fates


def test_a_shard_holds_one_bucket_and_one_window_so_no_clip_twice(tmp_path):
    context = context_of(tmp_path, [20.0] * 4)
    settings = PackSettings(stages={"video": StageBuckets(sizes=(64, 96), aspects=("1:1",), num_frames=5, windows=2,
                                                          frame_rate=12, every_size=True)})  # fmt: skip
    items, _ = planned(context, settings)
    assert [item.label for item in items] == [
        "video 64x64x5@12 shard 0", "video 64x64x5@12 shard 0 of window 1",
        "video 96x96x5@12 shard 0", "video 96x96x5@12 shard 0 of window 1"]  # fmt: skip
    assert all(len({member.of.clip.clip_id for member in item.inputs.values()}) == 4 for item in items)
    assert len({item.shared[1] for item in items}) == 4


def test_members_say_which_part_of_the_source_they_show(tmp_path):
    context = context_of(tmp_path, [20.0] * 4)
    stages = {"video": StageBuckets(width=64, height=64, durations=(1, 9), frame_rate=12)}
    (item,), _ = planned(context, PackSettings(stages=stages))
    outcome = PackWorker(context.workspace.uri)(item)
    (shard,), rows = outcome.rows["shards"], outcome.rows["shard_members"]
    opened = open_shard(context.workspace, shard)
    for number, row in enumerate(rows):
        clip = next(clip for clip in clips_in(context) if clip.clip_id == row.clip_id)
        facts = opened.facts(number)
        assert (facts["member_start_s"], facts["member_end_s"]) == (row.start_s, row.end_s)
        assert clip.start_s <= row.start_s < row.end_s <= clip.end_s
        assert row.end_s - row.start_s == pytest.approx(9 / 12, abs=1e-3)
        assert {"clip_id", "caption", "width", "height", "num_frames", "frame_rate", "scores"} <= facts.keys()
        assert read_member(bytes(opened.read(number, "mp4"))).shape == (9, 64, 64, 3)


def test_an_image_is_the_sharpest_frame_and_says_when(tmp_path):
    """One picture, out of focus but for its last quarter second."""
    sharp = texture(3, (320, 180))
    frames = [sharp if index >= 42 else cv2.GaussianBlur(sharp, (0, 0), 4) for index in range(48)]
    video, _ = split_video(str(write_video(tmp_path / "film.mp4", frames)), SplitSettings(detector="adaptive"))
    clip = Clip.of(video, Span(video.start_pts, video.end_pts, video.time_base_num, video.time_base_den), 48, "test")
    found = Candidate(clip, clip, None, "video", Caption(clip.clip_id, "draft:facts", "1", "x"), "gates", {})
    (member,), _ = place_all([found], {"video": StageBuckets(width=128, height=128)})
    item = member.item()
    assert item.meta["member_start_s"] == item.meta["member_end_s"] >= 42 / 24
    packed, middle = (read_member(each)[0] for each in (item.video, write_member(clip, 128, 128, 1, 8)))
    assert laplacian_variance(packed[..., 1]) > 4 * laplacian_variance(middle[..., 1])


def test_what_a_dead_worker_left_is_packed_into_shards_of_its_own(tmp_path):
    """The engine gives such inputs back one by one; none may overwrite the planned shard with itself alone."""
    context = context_of(tmp_path, [20.0] * 4)
    (item, _), _ = planned(context, context.recipe.pack)
    outcomes = [PackWorker(context.workspace.uri)(item.only([key])) for key in item.inputs]
    shards = [shard for outcome in outcomes for shard in outcome.rows["shards"]]
    assert len({shard.uri for shard in shards}) == 3
    assert {planned_id(shard.shard_id) for shard in shards} == {item.shared[1]}
    assert sum(len(list(read_shard(context.workspace, shard))) for shard in shards) == 3


@pytest.mark.parametrize(("header", "num_frames", "rate"), [(24.0, 48, 24.0), (60.0, 48, 24.0), (0.0, 50, 25.0)])
def test_a_header_that_lies_about_the_rate_is_not_believed(tmp_path, header, num_frames, rate):
    clip = clips_in(context_of(tmp_path, [20.0], num_shots=1))[0]
    end_pts = clip.start_pts + 2 * clip.time_base_den // clip.time_base_num
    assert source_rate(dataclasses.replace(clip, end_pts=end_pts, frame_rate=header, num_frames=num_frames)) == rate


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_shards_hold_what_was_chosen_and_the_same_bytes_by_any_number_of_workers(tmp_path):
    digests = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        context = context_of(folder, [20.0] * 4)
        engine = context.recipe.engine.model_copy(update={"workers": workers, "items_per_part": 1})
        context = Context(context.recipe.model_copy(update={"engine": engine}), context.workspace, context.args)
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
    square = context.recipe.pack.stages["video"].model_copy(update={"max_crop": 0.8})  # of a picture of 320 x 132
    packed = context.recipe.pack.model_copy(update={"stages": {"video": square}})
    context = dataclasses.replace(context, recipe=context.recipe.model_copy(update={"pack": packed}))
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


def pack_here(context):
    """`pack` without its cluster: the same plan, worker and accounting, in this process."""
    job, fates = pack_job(context)
    worker = job.make_worker()
    for item in job.items:
        outcome = worker(item)
        stem = content_id(job.digest, item.key)
        failures = [Failure("pack", job.digest, key, item.label, *why) for key, *why in outcome.failures]
        context.workspace.table("failures").append(stem, failures)
        for table in job.tables:
            context.workspace.table(table).append(stem, outcome.rows.get(table, []))
    account(context, job, fates)


def test_every_clip_ends_in_one_fate_which_is_printed_and_kept(tmp_path, capsys):
    """Five clips: one fits, two are too short, one has lost its source, one is rejected."""
    context = context_of(tmp_path, [20.0, 20.0, 20.0, 1.0])
    settings = PackSettings(stages={"video": StageBuckets(sizes=(96,), durations=(21, 33), frame_rate=12)})
    context = with_pack(context, settings)
    clips = clips_in(context)
    add_longer_copy(context, clips[0], "0long")
    add_longer_copy(context, clips[0], "0lost", uri=str(tmp_path / "gone.mp4"))
    pack_here(context)
    plan_id = current_plan(context.workspace, "video")
    fates = {row.clip_id: row for row in context.workspace.table("pack_fates").records() if row.plan == plan_id}
    assert {clip_id: row.fate for clip_id, row in fates.items()} == {
        "0long": Fate.USED, "0lost": Fate.NOT_DECODED, clips[0].clip_id: Fate.TOO_SHORT,
        clips[1].clip_id: Fate.TOO_SHORT, clips[2].clip_id: Fate.TOO_SHORT,
        clips[3].clip_id: Fate.REJECTED_BY_GATES,
    }  # fmt: skip
    used = fates["0long"]
    assert (used.bucket, used.num_members, used.by) == ("112x64x33@12", 1, "gates")
    assert used.cropped == pytest.approx(1 - 112 / 64 * 180 / 320)
    assert used.trimmed_s == pytest.approx(4 * clips[0].duration_s - 33 / 12, abs=0.01)
    assert fates["0lost"].reason.startswith("not found: /") and "gone.mp4" in fates["0lost"].reason
    printed = capsys.readouterr().out
    for said in ("where every clip went", "too short", "= clips", "1  in 112x64x33@12", "empty buckets, 9 of 10"):
        assert said in printed
    (shard,) = current_shards(context.workspace, "video")
    assert [item.clip_id for item in read_shard(context.workspace, shard)] == ["0long"]
