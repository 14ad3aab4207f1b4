"""Routing to the real Label Studio: the review band, once, with drafts and proxies."""

import threading

import pytest

from annotation.captions import BY_FACTS
from annotation.client import Client
from annotation.connection import MEDIA, connect
from annotation.media_server import make_server
from annotation.routing import Routed
from curation.records import GroupMember
from jobs import route
from jobs.config import Context
from jobs.gates import judge
from jobs.group import POINTERS, _pointer
from jobs.route import RouteTally
from tests.footage import Encoding, moving_texture
from tests.jobs.catalogue import clips_in, context_of
from tests.jobs.reviewed import reviewed_context


def test_nothing_to_review_needs_no_server(tmp_path, capsys):
    context = context_of(tmp_path, [20.0, 20.0, 1.0, 1.0])
    assert route.run(context) == 0
    assert "0 clips = 0 pushed + 0 already there + 0 failed" in capsys.readouterr().out
    assert not context.workspace.exists("label_studio")


def test_the_equation_does_not_hold_when_a_clip_is_lost():
    assert RouteTally(clips=3, pushed=1, there=1, failed=1, on_server=2).holds
    for lost in (RouteTally(3, 1, 1, 0, 2), RouteTally(3, 2, 1, 0, 2)):
        assert not lost.holds
        assert "DOES NOT HOLD" in str(lost)


def with_settings(context: Context, annotation: dict[str, object]) -> Context:
    """The context with other settings of the people's part."""
    settings = type(context.recipe.annotation).model_validate(annotation)
    recipe = context.recipe.model_copy(update={"annotation": settings})
    return Context(recipe, context.workspace, context.args)


def test_the_plan_knows_concepts_scores_gold_and_what_was_sent(tmp_path):
    context = context_of(tmp_path, [20.0, 7.0, 6.0, None])
    kept, first, second, unscored = [clip.clip_id for clip in clips_in(context)]
    members = [GroupMember(clip_id, "g1", "", 0.0, 5, 1.0) for clip_id in (first, second)]
    context.workspace.table("groups").append("g1", members)
    context.workspace.write_bytes(b"g1", POINTERS, _pointer(context.recipe))
    (tmp_path / "gold.csv").write_text(f"clip_id,question,answer\n{kept},verdict,keep\n")
    routing = {"strata_scores": ["sharpness"], "quantiles": 2, "gold_share": 0.25}
    context = with_settings(context, {"gold": str(tmp_path / "gold.csv"), "routing": routing})
    made = route.plan_of(context, judge(context), {})
    assert {clip_id: (task.stratum, task.reason[:5]) for clip_id, task in made.tasks().items()} == {
        first: ("concept 5, score 2 of 2", "video"),
        second: ("concept 5, score 1 of 2", "video"),
        unscored: ("no concept, no score", "video"),
        kept: ("no concept, score 2 of 2", "gold"),
    }
    again = route.plan_of(context, judge(context), {first: Routed("video: as before")})
    assert again.there.to_pylist() == [first] and first not in again.tasks()


def test_a_clip_that_does_not_play_is_a_failure_until_it_does(tmp_path, capsys):
    context = context_of(tmp_path, [7.0, 7.0, 7.0, 7.0])
    clips, workspace = clips_in(context), context.workspace
    folder = workspace.local_path(MEDIA, "clips")
    folder.mkdir(parents=True)
    good, hevc, gone = (folder / f"{clip.clip_id}.mp4" for clip in clips[:3])
    moving_texture(good, seconds=0.5, size=(160, 96))
    options = {"preset": "ultrafast", "x265-params": "log-level=none"}
    moving_texture(hevc, seconds=0.5, size=(160, 96), encoding=Encoding(codec="libx265", options=options))
    gone.write_bytes(b"")
    page = "http://127.0.0.1:8080"
    server = make_server(folder.parent, "127.0.0.1", 0, page)
    served = with_settings(context, {"routing": {"media": "serve", "serve": {"port": server.port}}})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with Client(page, "a" * 40) as client:
            assert set(route.playable(served, client, "Playing", clips)) == {clips[0].clip_id}
            failures = [row for row in workspace.table("failures").records() if row.job == "route"]
            assert {row.input_id for row in failures} == {clips[1].clip_id, clips[2].clip_id}
            assert any("browsers do not play hevc" in row.detail for row in failures)
            assert f" s does not play: http://127.0.0.1:{server.port}/" in capsys.readouterr().out
            hevc.write_bytes(good.read_bytes())
            gone.write_bytes(good.read_bytes())
            assert len(route.playable(served, client, "Playing", clips)) == 3
        assert [row for row in workspace.table("failures").records() if row.job == "route"] == []
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.slow
@pytest.mark.live
def test_label_studios_own_route_is_tried_before_there_is_a_task(label_studio_workspace):
    context = reviewed_context(label_studio_workspace, "Pre-flight test")
    clips, workspace = clips_in(context), context.workspace
    with connect(workspace, context.recipe.annotation) as connection:
        folder = workspace.local_path(MEDIA, "clips")
        moving_texture(folder / f"{clips[0].clip_id}.mp4", seconds=0.5, size=(160, 96))
        (folder / f"{clips[1].clip_id}.mp4").write_text("no video")
        try:
            there = route.playable(context, connection.client, connection.project.title, clips[:2])
            (folder / f"{clips[1].clip_id}.mp4").unlink()
        finally:
            (folder / f"{clips[0].clip_id}.mp4").unlink()
        assert set(there) == {clips[0].clip_id} and connection.client.num_tasks(connection.project) == 0
    (failure,) = [row for row in workspace.table("failures").records() if row.input_id == clips[1].clip_id]
    assert failure.detail.startswith(f"{connection.client.url}/data/local-files/?d=clips/{clips[1].clip_id}.mp4: not a")


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.usefixtures("local_ray")
def test_the_review_band_is_pushed_once_with_drafts_and_playable_proxies(label_studio_workspace, capsys):
    context = reviewed_context(label_studio_workspace, "Route test")
    workspace = context.workspace
    kept, *review = [clip.clip_id for clip in clips_in(context)]
    assert route.run(context) == 0
    assert "route: 3 clips = 3 pushed + 0 already there + 0 failed" in capsys.readouterr().out
    rows = [row for row in workspace.table("tasks").records() if row.project == "Route test"]
    assert {row.clip_id for row in rows} == set(review) and kept not in review
    assert all(row.reason.startswith("video: ") for row in rows)
    drafts = {(row.clip_id, row.version) for row in workspace.table("captions").records() if row.by == BY_FACTS}
    assert {(row.clip_id, row.draft_version) for row in rows} <= drafts
    assert all(workspace.exists(MEDIA, "clips", f"{clip_id}.mp4") for clip_id in review)
    assert not workspace.exists(MEDIA, "clips", f"{kept}.mp4"), "nobody looks at what the gates kept"

    stems = workspace.table("tasks").stems() | workspace.table("captions").stems()
    assert route.run(context) == 0
    assert "route: 3 clips = 0 pushed + 3 already there + 0 failed" in capsys.readouterr().out
    assert workspace.table("tasks").stems() | workspace.table("captions").stems() == stems


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.usefixtures("local_ray")
def test_rows_lost_in_a_crash_after_the_push_are_made_good_without_pushing_again(label_studio_workspace, capsys):
    context = reviewed_context(label_studio_workspace, "Crash test")
    tasks = context.workspace.table("tasks")
    others = tasks.stems()
    route.run(context)
    before = tasks.distinct()
    (written,) = tasks.stems() - others
    tasks.remove(written)
    assert tasks.distinct() != before
    capsys.readouterr()
    assert route.run(context) == 0
    assert "0 pushed + 3 already there" in capsys.readouterr().out
    assert tasks.distinct() == before
    with connect(context.workspace, context.recipe.annotation) as connection:
        assert connection.client.num_tasks(connection.project) == 3
