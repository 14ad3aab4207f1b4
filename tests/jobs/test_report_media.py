"""What plays in the report: real video in the page, from the middle of the clip, a fair choice of clips."""

import base64
import io
from dataclasses import replace

import av
import cv2
import numpy as np
import pytest

from curation.tables import Sample
from jobs.config import Context
from jobs.report_media import clip_media, excerpt, rejects, sample_media, survivors
from jobs.report_snapshot import Snapshot, take_snapshot
from tests.jobs.finished import finished_context, ordered_clips


@pytest.fixture(scope="module")
def context(tmp_path_factory) -> Context:
    return finished_context(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="module")
def snapshot(context) -> Snapshot:
    return take_snapshot(context.workspace, context.recipe)


def decoded(uri: str, kind: str) -> bytes:
    head, _, data = uri.partition(",")
    assert head == f"data:{kind};base64"
    return base64.b64decode(data)


def test_a_clip_becomes_h264_of_the_asked_height_and_length(context):
    media = clip_media(ordered_clips(context.workspace)[0], 96, 0.5)
    with av.open(io.BytesIO(decoded(media.video, "video/mp4"))) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.height, stream.pix_fmt) == ("h264", 96, "yuv420p")
        assert len(list(container.decode(stream))) == pytest.approx(12, abs=1)
    poster = cv2.imdecode(np.frombuffer(decoded(media.poster, "image/jpeg"), np.uint8), cv2.IMREAD_COLOR)
    assert poster.shape[:2] == (media.height, media.width) == (96, 170)


def test_an_excerpt_is_the_middle(context):
    clip = ordered_clips(context.workspace)[0]
    part = excerpt(clip, 0.5)
    assert part.span.duration_s == pytest.approx(0.5)
    assert part.span.start_s - clip.span.start_s == pytest.approx(clip.span.end_s - part.span.end_s, abs=0.001)
    assert excerpt(clip, 60) == clip


def test_a_source_that_is_gone_or_changed_is_told_in_the_clips_place(context, tmp_path):
    clip = ordered_clips(context.workspace)[0]
    gone = clip_media(replace(clip, uri=str(tmp_path / "gone.mp4")), 96, 1)
    assert gone.video == "" and "cannot be shown" in gone.missing
    changed = clip_media(replace(clip, video_id="0" * 20), 96, 1)
    assert "split it again" in changed.missing


def test_a_sample_is_embedded_as_it_lies(context):
    media = sample_media(context.workspace, context.workspace.table("samples").records()[0])
    assert decoded(media.video, "video/mp4") == context.workspace.read_bytes("samples", "first.mp4")
    lost = sample_media(context.workspace, Sample("x", "samples/lost.mp4", "p", 0, "", ""))
    assert lost.missing == "samples/lost.mp4 is not in the workspace any more"


def test_survivors_are_packed_and_say_who_kept_them(snapshot):
    shown = survivors(snapshot, 99)
    assert {each.clip_id for each in shown} == {clip for members in snapshot.members.values() for clip in members}
    assert "image: kept by gates" in shown[0].why
    assert any("kept by people (simulated-" in why for each in shown for why in each.why)


def test_the_first_survivors_come_from_different_films(snapshot):
    videos = [snapshot.clips[each.clip_id].video_id for each in survivors(snapshot, 2)]
    assert len(set(videos)) == 2


def test_rejects_say_which_stages_lost_them_and_which_did_not(snapshot):
    shown = {each.clip_id: each.why for each in rejects(snapshot, 99)}
    dropped = {row.clip_id for rows in snapshot.verdicts.values() for row in rows.values() if row.decision == "reject"}
    disputed = {clip_id for clip_id, row in snapshot.human.items() if row.decision == "reject"}
    assert shown.keys() == dropped | disputed
    assert any("image: sharpness 4 < 10" in why for why in shown.values())
    assert any("image: kept by gates" in why and "video: motion 0.01 < 0.05" in why for why in shown.values())
    assert any("sft: people, 1 keep, 1 reject: hardly moves" in why for why in shown.values())


def test_rejects_begin_with_what_no_stage_wanted_and_leave_out_what_is_shown(snapshot):
    first = rejects(snapshot, 1)[0]
    assert first.why[0] == "image: sharpness 4 < 10"
    assert first.clip_id not in {each.clip_id for each in rejects(snapshot, 99, {first.clip_id})}
    assert rejects(snapshot, 0) == []
